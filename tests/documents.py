"""The files and commands in the fenced blocks of the documentation, for tests that run them.

A block is a file if the line before it ends with a file name, as in "`shop.sql`:". A `console` block has commands after
`$ `, and their output.
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
COMMENT = re.compile(r"\s+# .*")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        heading: The heading above it.
        kind: Its language, or an empty string.
        file: The name of the file that it shows, if any.
        text: Its lines.
    """

    heading: str
    kind: str
    file: str | None
    text: str

    @property
    def commands(self) -> list[str]:
        """Return the commands of a console block, without comments."""
        typed = COMMAND.findall(self.text) if self.kind == "console" else []
        return [COMMENT.sub("", command) for command in typed]


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
    """Return the headings of a page; comments in blocks are none."""
    return [part["heading"] for part in PART.finditer(page.read_text(encoding="utf-8")) if part["heading"]]
