"""What a page of the documentation tells its reader to type, as data, so that a test can do it.

A fenced block is a file where the line before it ends with the name of one, as in "`shop.sql`:"; a `console` block
holds commands after `$ `, and what they print.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PART = re.compile(r"^#+ (?P<heading>.+)$|^```(?P<kind>\w*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)
FILE_NAME = re.compile(r"`([\w./-]+)`:\s*\Z")
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)$", re.MULTILINE)
REMARK = re.compile(r"\s+# .*")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        heading: The heading that it stands under.
        kind: Its language; empty where none is named.
        file: The file whose content it is, if it is one.
        text: Its lines.
    """

    heading: str
    kind: str
    file: str | None
    text: str

    @property
    def commands(self) -> list[str]:
        """Return what a reader would type, without remarks; only a console has any."""
        typed = COMMAND.findall(self.text) if self.kind == "console" else []
        return [REMARK.sub("", command) for command in typed]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    heading = ""
    for part in PART.finditer(text):
        if part["heading"]:
            heading = part["heading"]
        else:
            name = FILE_NAME.search(text, 0, part.start())
            found.append(Block(heading, part["kind"], name[1] if name else None, part["text"]))
    return found


def headings(page: Path) -> list[str]:
    """Return the headings of a page; what only looks like one in a block is none."""
    return [part["heading"] for part in PART.finditer(page.read_text(encoding="utf-8")) if part["heading"]]
