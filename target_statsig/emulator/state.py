"""Everything that arrived at an emulator, behind one lock.

Knows events, exposures, metrics, segments and the request log. Refuses to know HTTP, faults and how any of it is shown.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from target_statsig.emulator.event_log import EventLog
from target_statsig.emulator.item_log import KINDS, ItemLog
from target_statsig.emulator.runs import Run, Runs
from target_statsig.emulator.segments import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_statsig.emulator.contracts import SegmentType
    from target_statsig.emulator.options import Options

MAX_LISTED_IDS = 100_000
"""A segment of more ids shows only their number in the JSON: that is for people and small tests."""


@dataclass(frozen=True, slots=True)
class RequestEntry:
    """A line of the request log.

    Attributes:
        time: Seconds since 1970-01-01T00:00:00Z.
        method: In capitals.
        path: Without the query.
        status: The status that was sent, or None where the client got no answer.
        items: Events or ids that it carried, as far as the body was read.
        size: Bytes of the body on the wire.
        note: Why it was refused, or what a fault did; empty for an ordinary success.
        taken: Whether it took effect; an answer may be lost all the same.
    """

    time: float
    method: str
    path: str
    status: int | None
    items: int
    size: int
    note: str
    taken: bool


class State:
    """What an emulated project holds; every method may be called from any thread.

    Attributes:
        lock: Hold it for several steps that belong together.
        requests: The request log, in the order of the answers.
        runs: The runs of a target, with what each brought.
        segments: By id.
        unit_id_types: The project's identifier names.
        revision: Another number after every change.
    """

    def __init__(self, options: Options) -> None:
        """Begin with an empty project."""
        self.lock = threading.RLock()
        self.requests: list[RequestEntry] = []
        self.runs = Runs(options.keep_events)
        self.segments: dict[str, Segment] = {}
        self.unit_id_types: list[str] = list(options.unit_id_types)
        self.revision = 0
        self._options = options

    @property
    def run(self) -> Run:
        """The current run, to which everything belongs that arrives."""
        return self.runs.current(self._options.clock())

    @property
    def event_log(self) -> EventLog:
        """The events that were taken in all runs, as they are now."""
        with self.lock:
            return EventLog.merged(run.events for run in self.runs.all)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that Statsig would show, in the order of their arrival."""
        with self.lock:
            return [event for run in self.runs.all for event in run.events.kept]

    @property
    def item_logs(self) -> dict[str, ItemLog]:
        """The exposures and the metrics that were taken in all runs, as they are now."""
        with self.lock:
            return {
                name: ItemLog.merged(kind, (run.items[name] for run in self.runs.all)) for name, kind in KINDS.items()
            }

    @property
    def exposures(self) -> list[dict[str, Any]]:
        """The exposures in the order of their arrival."""
        return self.item_logs["exposures"].kept

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The values of metrics in the order of their arrival."""
        return self.item_logs["metrics"].kept

    @property
    def refused(self) -> list[RequestEntry]:
        """The requests that were answered with an error."""
        with self.lock:
            return [entry for entry in self.requests if entry.status is not None and entry.status >= 400]  # noqa: PLR2004 - HTTP's own line

    def arrive(self, connection: int) -> None:
        """Take note of a request on a connection, before it is answered."""
        with self.lock:
            self.runs.arrive(connection, self._options.clock())

    def leave(self, connection: int) -> None:
        """Take note of a connection's end."""
        with self.lock:
            self.revision += self.runs.leave(connection, self._options.clock())

    def log(self, entry: RequestEntry) -> None:
        """Append a line to the request log."""
        with self.lock:
            self.requests.append(entry)
            self.run.traffic.take(entry)
            self.revision += 1

    def clear(self) -> None:
        """Forget everything: an empty project, as in the beginning."""
        with self.lock:
            self.requests.clear()
            self.runs.clear()
            self.segments.clear()
            self.unit_id_types[:] = self._options.unit_id_types
            self.revision += 1

    def ids(self, segment_id: str) -> set[str]:
        """Return the members of a segment.

        Raises:
            KeyError: There is no such segment.
        """
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
        """Put a segment into the project, in the place of one with the same id."""
        members = set(ids)
        segment = Segment(segment_id, segment_type, id_type, members, name=segment_id, before=len(members))
        with self.lock:
            self.segments[segment_id] = segment
            if id_type not in self.unit_id_types:
                self.unit_id_types.append(id_type)
            self.revision += 1
        return segment

    def to_json(self) -> dict[str, Any]:
        """Return everything in JSON's types."""
        with self.lock:
            log = self.event_log
            return {
                "events": log.kept,
                "event_counts": [
                    {"name": tally.name, "tier": tally.tier, "count": tally.count, "users": len(tally.users)}
                    for tally in log.tallies.values()
                ],
                "dropped": [
                    {"name": name, "reason": reason, "count": count} for (name, reason), count in log.dropped.items()
                ],
                "remarks": dict(log.remarks),
                **_items_json(self.item_logs),
                "segments": {segment.id: _segment_json(segment) for segment in self.segments.values()},
                "requests": [asdict(entry) for entry in self.requests],
            }


def _items_json(logs: Mapping[str, ItemLog]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, log in logs.items():
        columns = [column.lower().replace(" ", "_") for column in (*log.kind.columns, log.kind.units)]
        found[name] = log.kept
        found[f"{name.removesuffix('s')}_counts"] = [
            dict(zip(columns, (*tally.key, len(tally.units)), strict=True)) | {"count": tally.count}
            for tally in log.tallies.values()
        ]
    return found


def _segment_json(segment: Segment) -> dict[str, Any]:
    return {
        "type": segment.type,
        "id_type": segment.id_type,
        "before": segment.before,
        "count": len(segment.ids),
        "version": segment.version,
        "created": segment.created,
        "history": [asdict(change) for change in segment.history],
        "ids": sorted(segment.ids) if len(segment.ids) <= MAX_LISTED_IDS else None,
    }
