"""How encoded items share requests.

Pure arithmetic on sizes: the same items are packed the same way every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SEPARATOR_BYTES = 1
"""The comma between two items."""

Item = TypeVar("Item")


def pack(sizes: Iterable[int], *, max_rows: int, max_bytes: int, overhead: int = 0) -> Iterator[slice]:
    """Yield the batches of items, in order, each as full as it may be.

    Args:
        sizes: The bytes of each encoded item.
        max_rows: Items a batch at most.
        max_bytes: Bytes of a body at most; an item that is larger gets a batch of its own, for Statsig to judge.
        overhead: Bytes of a body around its items.
    """
    start = end = 0
    filled = overhead
    for size in sizes:
        if end > start and (end - start >= max_rows or filled + SEPARATOR_BYTES + size > max_bytes):
            yield slice(start, end)
            start, filled = end, overhead
        filled += size if end == start else SEPARATOR_BYTES + size
        end += 1
    if end > start:
        yield slice(start, end)


def halve(batch: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    """Return the first and the second half of a batch of two items or more.

    Raises:
        ValueError: The batch cannot be halved.
    """
    if len(batch) < 2:  # noqa: PLR2004
        msg = f"a batch of {len(batch)} cannot be halved"
        raise ValueError(msg)
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]
