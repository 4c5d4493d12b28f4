"""JSON objects out of columns: each column is a member, and a member that is null is left out."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_statsig.singer.columns import Column

_TYPES_KEPT = 4_096
"""Sets of members whose type is kept; a stream seldom has ten."""


def objects(members: Mapping[str, Column], count: int) -> Column:
    """Return an object for each record, null in the place of one without members.

    Args:
        members: The columns, by the names of the members.
        count: How many records there are.
    """
    if not members:
        return (None,) * count
    make, columns = object_type(tuple(members)), [*members.values()]
    if any(None not in column for column in columns):
        return [*map(make, *columns)]
    return [None if row.count(None) == len(row) else make(*row) for row in zip(*columns, strict=True)]


@lru_cache(_TYPES_KEPT)
def object_type(names: tuple[str, ...]) -> Callable[..., Any]:
    """Return what makes an object of the values of its members: a struct, which is made and encoded fastest."""
    fields = [(f"f{place}", Any, None) for place in range(len(names))]
    renamed = dict(zip([field for field, _, _ in fields], names, strict=True))
    try:
        return msgspec.defstruct("Object", fields, rename=renamed, omit_defaults=True, gc=False)
    except ValueError:  # a name holds what msgspec would have to escape
        return lambda *values: {name: value for name, value in zip(names, values, strict=True) if value is not None}
