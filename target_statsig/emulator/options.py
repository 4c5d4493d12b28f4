"""How an emulator behaves where Statsig leaves a choice, or where a test wants one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from target_statsig.emulator.limits import ID_LIST_WINDOWS, MUTATION_WINDOWS, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KeepEvents = Literal["all", "samples", "counts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The behaviour of one emulator; every default is Statsig's own where that is known.

    Attributes:
        server_secret_key: The key that the events API accepts.
        console_api_key: The key that the Console API accepts.
        keep_events: `all` keeps every event; `samples` the first of each name and tier; `counts` none, it
            only counts names, for benchmarks.
        page_size: Ids or segments a page at most, whatever `limit` says; Statsig's own cap is not published.
        joined_ids: So many ids come comma-joined in one string, as in a published example.
        repeated_ids: The last id of a page comes again at the start of the next one.
        updating_for_requests: After a change a list says that it is updating, and answers changes with 409,
            for so many requests.
        mutation_windows: Windows over all changes of a project; empty: no limit.
        id_list_windows: Windows over changes of ID lists, besides; empty: no limit.
        send_retry_after: Whether a 429 says when to come back.
        unit_id_types: The project's identifier names.
        record_of: Tells the record that an event came from, where whoever runs the emulator knows it; the page
            then shows both.
        clock: Seconds since 1970-01-01T00:00:00Z, for the windows and the request log.
    """

    server_secret_key: str = "secret-emulator"  # noqa: S105 - made up, and good for nothing but this emulator
    console_api_key: str = "console-emulator"
    keep_events: KeepEvents = "all"
    page_size: int = 1_000
    joined_ids: int = 1
    repeated_ids: bool = False
    updating_for_requests: int = 0
    mutation_windows: tuple[Window, ...] = MUTATION_WINDOWS
    id_list_windows: tuple[Window, ...] = ID_LIST_WINDOWS
    send_retry_after: bool = True
    unit_id_types: tuple[str, ...] = ("userID", "stableID")
    record_of: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None = None
    clock: Callable[[], float] = time.time
