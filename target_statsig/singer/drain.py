"""The rest of standard input when nothing more of it is used: read off for a moment, and thrown away.

A pipe that closes in the middle of a write is what `meltano run` shows last, in two screenfuls of traceback, and not
the error for which this target ended.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_statsig.clock import Clock

SECONDS = 5.0
"""How long the input is read off at most: taps take some seconds to start, and a person waits no longer."""

AT_ONCE = 1 << 20
"""Bytes read at once."""


def drain_input(clock: Clock) -> None:
    """Read standard input, where it is a pipe, until it ends, for `SECONDS` at most, and discard it.

    A pipe that closes in the middle of a write is what `meltano run` shows last, in two screenfuls of traceback, and
    not the error for which this target ended.
    """
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, OSError, ValueError):
        return  # there is none, or it is closed, or something else stands in its place
    # Some programs, Meltano under older versions of Python among them, give their children a socket for a pipe.
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        drain(descriptor, clock)


def drain(descriptor: int, clock: Clock) -> None:
    """Read a descriptor until it ends, for `SECONDS` at most."""
    end = clock.monotonic() + SECONDS
    while (left := end - clock.monotonic()) > 0:
        if not select.select([descriptor], [], [], left)[0] or not os.read(descriptor, AT_ONCE):
            return
