"""Input in blocks of whole lines, as they come."""

from __future__ import annotations

import io
import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_BYTES = 1 << 17
"""Bytes asked for at once; a pipe gives what it has. The records of a megabyte would not stay in the processor's cache
until they are mapped, and take a tenth longer."""

IDLE_SECONDS = 5.0
"""How long to wait for input before the caller is told that nothing comes."""


def read_blocks(descriptor: int, while_idle: Callable[[], None]) -> Iterator[bytes]:
    """Yield whole lines, many at once, each with its end.

    `while_idle` is called whenever nothing has come for `IDLE_SECONDS`.
    """
    rest: list[bytes] = []
    while True:
        while not select.select([descriptor], [], [], IDLE_SECONDS)[0]:
            while_idle()
        chunk = os.read(descriptor, CHUNK_BYTES)
        if not chunk:
            break
        end = chunk.rfind(b"\n") + 1
        if not end:
            rest.append(chunk)
            continue
        rest.append(chunk[:end])
        yield b"".join(rest)
        rest = [chunk[end:]] if end < len(chunk) else []
    if rest:
        yield b"".join(rest)


def lines_of(block: bytes) -> list[bytes]:
    """Split a block into lines, each with its end.

    `bytes.split` looks at each byte by itself and takes four times as long.
    """
    return io.BytesIO(block).readlines()
