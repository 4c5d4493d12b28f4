"""Pages of the Console API: which one is asked for, and how an answer tells of its neighbours.

Knows numbers. Refuses to know what is on a page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus

from target_statsig.emulator.messages import Answer, Arrival, RefusalError, json_answer


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was asked for; `number` counts from 1."""

    path: str
    number: int
    size: int

    @property
    def slice(self) -> slice:
        """Where the page lies in the whole."""
        return slice((self.number - 1) * self.size, self.number * self.size)

    def answer(self, message: str, data: object, total: int, *, items: int = 0) -> Answer:
        """Return the page's answer, `data` being what lies on it and `total` how many there are in all."""
        pagination = {
            "itemsPerPage": self.size,
            "pageNumber": self.number,
            "nextPage": self._link(self.number + 1, total),
            "previousPage": self._link(self.number - 1, total),
            "totalItems": total,
        }
        return json_answer({"message": message, "data": data, "pagination": pagination}, items=items)

    def _link(self, number: int, total: int) -> str | None:
        exists = 1 <= number <= math.ceil(total / self.size)
        return f"{self.path}?page={number}&limit={self.size}" if exists else None


def page_of(arrival: Arrival, most: int) -> Page:
    """Return the page that a request asks for, of at most `most` items.

    Raises:
        RefusalError: `limit` or `page` is no integer from 1.
    """
    try:
        number = int(arrival.query.get("page", 1))
        limit = int(arrival.query.get("limit", most))
    except ValueError:
        number = limit = 0
    if number < 1 or limit < 1:
        raise RefusalError(HTTPStatus.BAD_REQUEST, "limit and page must be integers from 1")
    return Page(arrival.path, number, min(limit, most))
