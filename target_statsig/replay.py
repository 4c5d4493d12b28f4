"""Dead letters sent again: all files as one input, and removed when every record in them is settled.

Settled is what was delivered, and what was rejected once more and so is in a new file. Refuses to know what a record
is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upath import UPath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_statsig.dead_letters import DeadLetterBox

PATTERN = "*.singer"


class DeadLetterFiles:
    """The dead-letter files of earlier runs, in the order of their names."""

    def __init__(self, directory: str) -> None:
        """Find the files.

        Args:
            directory: A path, or a `universal-pathlib` URL.
        """
        place = UPath(directory)
        self.paths = sorted(place.glob(PATTERN), key=str) if place.exists() else []

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of all files."""
        for path in self.paths:
            with path.open("rb") as file:
                yield from file

    def remove(self, box: DeadLetterBox) -> None:
        """Remove the files; what was rejected again is in files of `box`, which stay.

        Args:
            box: The dead letters of this run.
        """
        kept = set(box.paths)
        for path in self.paths:
            if str(path) not in kept:
                path.unlink()
