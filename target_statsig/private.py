"""Directories for their owner alone: what a run keeps there is personal data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_private(directory: Path) -> None:
    """Make a directory and those above it, as far as there are none; what is made is for its owner alone.

    Raises:
        OSError: It cannot be made.
    """
    if not directory.exists():
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
