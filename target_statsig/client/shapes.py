"""The shapes of the Console API's answers, as far as they are read; a number may be missing, a list may not.

Source: https://docs.statsig.com/console-api/segments, version 20240601. What Statsig adds to them is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from target_statsig.exceptions import RefusedError

if TYPE_CHECKING:
    from target_statsig.client.sender import Answer

Shape = TypeVar("Shape")


class SegmentData(msgspec.Struct, rename="camel"):
    """A segment."""

    id: str
    type: str
    id_type: str
    count: float | None = None


class SegmentAnswer(msgspec.Struct):
    """The answer to reading or creating a segment."""

    data: SegmentData


class ListStateData(msgspec.Struct, rename="camel"):
    """How far Statsig is with a list."""

    current_version: float | None = None
    is_updating: bool | None = None


class ListStateAnswer(msgspec.Struct):
    """The answer to reading the state of a list."""

    data: ListStateData


class Pagination(msgspec.Struct, rename="camel"):
    """Where a page stands; the form of `next_page` is not documented, only that it is null on the last."""

    next_page: str | int | None = None


class IdListData(msgspec.Struct):
    """Some ids of a list."""

    ids: list[str | int]


class IdPage(msgspec.Struct):
    """A page of ids."""

    data: IdListData
    pagination: Pagination | None = None

    @property
    def items(self) -> list[str]:
        """The ids; a published example has several in one string, with commas between them."""
        return [id_ for joined in self.data.ids for part in str(joined).split(",") if (id_ := part.strip())]


class ListedSegmentData(msgspec.Struct):
    """A segment, as far as it counts for the project's limit."""

    id: str
    type: str
    count: float | None = None


class SegmentPage(msgspec.Struct):
    """A page of segments."""

    data: list[ListedSegmentData]
    pagination: Pagination | None = None

    @property
    def items(self) -> list[ListedSegmentData]:
        """The segments."""
        return self.data


class UnitIdTypeData(msgspec.Struct):
    """An ID type of the project."""

    name: str


class UnitIdTypePage(msgspec.Struct):
    """A page of ID types."""

    data: list[UnitIdTypeData]
    pagination: Pagination | None = None

    @property
    def items(self) -> list[str]:
        """Their names."""
        return [unit.name for unit in self.data]


def read(answer: Answer, shape: type[Shape], what: str) -> Shape:
    """Return an answer in its shape.

    Raises:
        RefusedError: It has another.
    """
    try:
        return msgspec.convert(answer.body, shape)
    except msgspec.ValidationError as error:
        raise nonsense(what, str(error), answer.status) from None


def nonsense(what: str, why: str, status: int) -> RefusedError:
    """Make the error for an answer that nothing can be made of.

    Args:
        what: A phrase for the request.
        why: What is wrong with the answer, without any value from it.
        status: Its HTTP status.
    """
    return RefusedError(f"Nothing can be made of Statsig's answer ({status}) to {what}: {why}.", status=status)
