"""What a page of the documentation tells its reader to type, as data, so that a test can do it.

A fenced block is a file where the line before it ends with the name of one, as in "`shop.sql`:"; a `console` block
holds commands after `$ `, and what they print. Refuses to know how commands are run (`terminal`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROMPT = "$ "

BLOCK = re.compile(
    r"(?:^\#+\ (?P<heading>[^\n]+)$)|(?:^```(?P<kind>\w*)\n(?P<text>.*?)^```$)", re.DOTALL | re.MULTILINE | re.VERBOSE
)
FILE_NAME = re.compile(r"`([\w./-]+)`:\s*\Z")


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
        lines = self.text.splitlines() if self.kind == "console" else []
        typed = [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
        return [re.sub(r"\s+# .*", "", command) for command in typed]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    heading = ""
    for part in BLOCK.finditer(text):
        if part["heading"]:
            heading = part["heading"]
        else:
            name = FILE_NAME.search(text, 0, part.start())
            found.append(Block(heading, part["kind"], name[1] if name else None, part["text"]))
    return found
