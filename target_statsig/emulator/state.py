"""The state of an emulator behind one lock: requests, items and segments; and the options of its behaviour."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from target_statsig.config.settings import RateWindow
from target_statsig.emulator.item_log import ITEM_TYPES, ItemLog, KeepEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SegmentType = Literal["id_list", "rule_based", "analysis_list", "user_store_id_list"]
Action = Literal["add", "remove"]

MAX_SHOWN_IDS = 5
"""Ids that a change lists at most, of those added and of those removed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One request that changed a list.

    Attributes:
        given: The number of ids in the request.
        time: Seconds since 1970-01-01T00:00:00Z.
        added_ids: The first of the new members.
        removed_ids: The first of the removed members.
    """

    action: Action
    given: int
    added: int
    removed: int
    time: float
    added_ids: list[str]
    removed_ids: list[str]


@dataclass(slots=True)
class Segment:
    """One segment of the project, or one to begin with.

    Attributes:
        ids: The members. A plain set: ten million fit in about 1.2 GB.
        before: The number of members at the start.
        created: Whether it was created through the Console API.
        history: The changes, in order.
    """

    id: str
    type: SegmentType = "id_list"
    id_type: str = "userID"
    ids: set[str] = field(default_factory=set)
    name: str = ""
    description: str = ""
    tags: list[str] = field(default_factory=list)
    before: int = 0
    created: bool = False
    version: int = 1
    history: list[Change] = field(default_factory=list)
    _sorted: list[str] | None = field(default=None, repr=False)

    @property
    def facts(self) -> dict[str, Any]:
        """The segment in JSON's types, without its members and its history."""
        names = ("id", "type", "id_type", "description", "tags", "created", "before", "version")
        changed = {name: sum(getattr(change, name) for change in self.history) for name in ("added", "removed")}
        return {name: getattr(self, name) for name in names} | changed | {"count": len(self.ids)}

    def change(self, action: Action, ids: Iterable[str], *, time: float = 0.0) -> Change:
        """Add or remove ids; only members that are new or gone count as changed."""
        given = set(ids)
        added = given - self.ids if action == "add" else set()
        removed = given & self.ids if action == "remove" else set()
        self.ids |= added
        self.ids -= removed
        self.version += 1
        self._sorted = None
        first = (nsmallest(MAX_SHOWN_IDS, some) for some in (added, removed))
        change = Change(action, len(given), len(added), len(removed), time, *first)
        self.history.append(change)
        return change

    def page(self, number: int, size: int, *, overlap: bool = False) -> list[str]:
        """Return the ids of a page, counted from 1, sorted; `overlap` repeats the last id of the page before."""
        if self._sorted is None:
            self._sorted = sorted(self.ids)  # once for each version, so that reading all pages stays linear
        start = (number - 1) * size
        first = start - 1 if overlap and start else start
        return self._sorted[first : start + size] if start < len(self._sorted) else []

    def find(self, text: str, most: int) -> list[str]:
        """Return at most `most` members whose ids contain a text: any of them, because a segment may be large."""
        return sorted(islice((unit for unit in self.ids if text in unit), most))


QUIET_SECONDS = 3.0
"""Seconds without a connection after which a new one belongs to a new run. A run reconnects sooner than that."""

MAX_LISTED_IDS = 100_000
"""The most ids for which the JSON lists a segment's ids; for larger segments it has only their number."""

MUTATION_WINDOWS = (RateWindow(100, 10), RateWindow(900, 900))
"""Limits for all changes of a project through the Console API: https://docs.statsig.com/console-api/introduction."""

ID_LIST_WINDOWS = (RateWindow(12, 10), RateWindow(900, 900))
"""Additional limits for changes of ID lists, which a sync meets first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The behaviour of one emulator. Defaults are Statsig's own, as far as known.

    Attributes:
        keep_events: `all` keeps every event, `samples` the first of each name and tier. `counts` only counts names, for
            benchmarks.
        page_size: The most ids or segments of a page, whatever `limit` says. Statsig's own cap is not published.
        joined_ids: The number of ids that come comma-joined in one string, as in a published example.
        repeated_ids: Whether the last id of a page comes again at the start of the next one.
        mutation_windows: Limits for all changes of a project; empty for none.
        id_list_windows: Additional limits for changes of ID lists; empty for none.
        clock: Returns the seconds since 1970-01-01T00:00:00Z.
    """

    keep_events: KeepEvents = "all"
    page_size: int = 1_000
    joined_ids: int = 1
    repeated_ids: bool = False
    mutation_windows: tuple[RateWindow, ...] = MUTATION_WINDOWS
    id_list_windows: tuple[RateWindow, ...] = ID_LIST_WINDOWS
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class RequestEntry:
    """A line of the request log.

    Attributes:
        time: Seconds since 1970-01-01T00:00:00Z.
        status: The status of the response; None if none was sent.
        items: The number of events or ids in the body, as far as it was read.
        size: Bytes of the body on the wire.
        note: Why it was refused, or what a fault did; empty for an ordinary success.
        taken: Whether it took effect, even if the response was lost.
        respects_reviews: Whether it asked to respect the project's review settings.
    """

    time: float
    method: str
    path: str
    status: int | None
    items: int
    size: int
    note: str
    taken: bool
    respects_reviews: bool = False


@dataclass(slots=True)
class Run:
    """The requests of one run of a target.

    Attributes:
        number: Counts the runs, from 1.
        started: The time of its first request, in seconds since 1970-01-01T00:00:00Z.
        ended: The time of its last request, or of the end of its last connection.
        logs: The items that it sent, by the member of the body that holds them.
    """

    number: int
    started: float
    ended: float
    logs: dict[str, ItemLog]
    requests: list[RequestEntry] = field(default_factory=list)


class Quota:
    """Counts requests in sliding windows, all of which must have room. Not thread-safe."""

    def __init__(self, windows: tuple[RateWindow, ...]) -> None:
        self._windows = windows
        self._times: deque[float] = deque(maxlen=max((window.limit for window in windows), default=0))

    def wait(self, now: float) -> float:
        """Return the seconds until every window has room for one more request, or 0.0."""
        full = (window for window in self._windows if len(self._times) >= window.limit)
        return max((0.0, *(self._times[-window.limit] + window.seconds - now for window in full)))

    def count(self, now: float) -> None:
        """Count a request at time `now`."""
        self._times.append(now)


class State:
    """The content of an emulated project. Thread-safe.

    Requests do not say to which run of a target they belong. But a target keeps its connections open while it runs. So
    the first request after `QUIET_SECONDS` without a connection starts a new run.

    Attributes:
        lock: To be held for several steps that belong together.
        requests: The request log, in the order of the responses.
        runs: The runs of the target, the current one last.
        mutations: The quota of all changes through the Console API.
        list_mutations: The further quota of changes of lists.
        revision: A number that changes with every change of the state.
    """

    def __init__(self, options: Options) -> None:
        self.lock = threading.RLock()
        self.requests: list[RequestEntry] = []
        self.runs: list[Run] = []
        self.segments: dict[str, Segment] = {}
        self.unit_id_types = ["userID", "stableID"]  # those of every project
        # A page may stay open while another state takes its place; their revisions must differ.
        self.revision = secrets.randbits(48)
        self.options = options
        self.clock = options.clock
        self.mutations = Quota(options.mutation_windows)
        self.list_mutations = Quota(options.id_list_windows)
        self._connections: set[int] = set()

    @property
    def active(self) -> bool:
        return bool(self._connections)

    def run(self, number: int) -> Run | None:
        return self.runs[number - 1] if 1 <= number <= len(self.runs) else None

    @property
    def logs(self) -> dict[str, ItemLog]:
        """A copy of the items of all runs, by the member of the body that held them."""
        with self.lock:
            runs = {name: [run.logs[name] for run in self.runs] for name in ITEM_TYPES}
            return {name: ItemLog.merged(ITEM_TYPES[name], logs) for name, logs in runs.items()}

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.items("events")

    def items(self, name: str) -> list[dict[str, Any]]:
        """Return the items that Statsig would show, in the order of their arrival; `name` held them in their bodies."""
        with self.lock:
            return [item for run in self.runs for item in run.logs[name].kept]

    def arrive(self, connection: int) -> None:
        """Note a request on a connection, before it is answered."""
        now = self.clock()
        with self.lock:
            if not self._connections and self.runs and now - self.runs[-1].ended > QUIET_SECONDS:
                self._begin_run(now)
            self._connections.add(connection)
            self._current_run(now).ended = now

    def leave(self, connection: int) -> None:
        """Note the end of a connection; one without a request is ignored."""
        now = self.clock()
        with self.lock:
            if connection in self._connections:
                self._connections.remove(connection)
                self._current_run(now).ended = now
                self.revision += 1

    def take(self, name: str, body: dict[str, Any]) -> None:
        """Add the items of a body, which are in its member `name`."""
        now = self.clock()
        with self.lock:
            self._current_run(now).logs[name].take(body[name], body, now * 1000)

    def count_names(self, names: dict[str, int]) -> None:
        """Add the events of a request, given the number of each name."""
        with self.lock:
            self._current_run(self.clock()).logs["events"].count_names(names)

    def log(self, entry: RequestEntry) -> None:
        with self.lock:
            self.requests.append(entry)
            self._current_run(entry.time).requests.append(entry)
            self.revision += 1

    def ids(self, segment_id: str) -> set[str]:
        with self.lock:
            return set(self.segments[segment_id].ids)

    def seed_segment(
        self,
        segment_id: str,
        ids: Iterable[str] = (),
        *,
        segment_type: SegmentType = "id_list",
        id_type: str = "userID",
    ) -> Segment:
        """Put a segment into the project; it replaces one with the same id."""
        members = set(ids)
        segment = Segment(segment_id, segment_type, id_type, members, name=segment_id, before=len(members))
        with self.lock:
            self.segments[segment_id] = segment
            if id_type not in self.unit_id_types:
                self.unit_id_types.append(id_type)
            self.revision += 1
        return segment

    def to_json(self) -> dict[str, Any]:
        """Return the whole state as what `msgspec` encodes as JSON."""
        with self.lock:
            logs = self.logs
            events = logs["events"]
            content: dict[str, Any] = {
                "dropped": [
                    {"name": name, "reason": reason, "count": tally.count}
                    for (name, reason), tally in events.dropped.items()
                ],
                "remarks": {remark: tally.count for remark, tally in events.remarks.items()},
                "segments": {segment.id: segment.facts | _contents(segment) for segment in self.segments.values()},
                "requests": [*self.requests],
            }
            for name, log in logs.items():
                columns = [column.lower().replace(" ", "_") for column in (*log.type.columns, log.type.ids_title)]
                content[name] = log.kept
                content[f"{name.removesuffix('s')}_counts"] = [
                    dict(zip(columns, (*cells, len(tally.ids)), strict=True)) | {"count": tally.count}
                    for cells, tally in log.tallies.items()
                ]
            return content

    def _current_run(self, now: float) -> Run:
        return self.runs[-1] if self.runs else self._begin_run(now)

    def _begin_run(self, now: float) -> Run:
        logs = {name: ItemLog(item_type, self.options.keep_events) for name, item_type in ITEM_TYPES.items()}
        run = Run(len(self.runs) + 1, now, now, logs)
        self.runs.append(run)
        return run


def _contents(segment: Segment) -> dict[str, Any]:
    ids = sorted(segment.ids) if len(segment.ids) <= MAX_LISTED_IDS else None
    return {"history": [*segment.history], "ids": ids}
