"""`--verify`: asks Statsig, once for each name, what it has of the last run. Changes nothing.

Statsig takes a request first, and decides later what to keep, silently. It lists recent events and counts exposures. A
name with too few of them was perhaps dropped. It lists no values of metrics.
"""

from __future__ import annotations

import math
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from target_statsig.client.console import EXPERIMENTS, GATES
from target_statsig.client.http import HttpTransport
from target_statsig.clock import iso_time, readable_time
from target_statsig.commands.check import PATIENCE, open_console
from target_statsig.config import paths
from target_statsig.config.choices import ObjectType
from target_statsig.errors import FatalRunError, RequestError, SettingsError
from target_statsig.events.items import GATE_MARK
from target_statsig.reports.report import OTHER_NAMES
from target_statsig.reports.text import counted, table_lines, visible
from target_statsig.store.readonly import read_store_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_statsig.client.console import ConsoleClient
    from target_statsig.client.http import Transport
    from target_statsig.clock import Clock
    from target_statsig.config.settings import Settings
    from target_statsig.store.tables import PastRun, SentItems

MOST_ASKED = 100
"""Names to ask for at most, those with the most items first."""

ALL_SECONDS = 60.0
"""Seconds after which no more names are asked for."""

ARRIVES_WITHIN = 600.0
"""Seconds after the end of a run until its items should be visible: Statsig takes some minutes."""

CLOCKS_APART_MS = 1_000

DAY = 86_400.0
WEEK = 7 * DAY
"""Seconds for which Statsig counts exposures."""


class Found(StrEnum):
    """What became of a name."""

    SEEN = "seen"
    WAITING = "waiting"
    PERHAPS_DROPPED = "perhaps dropped"
    NOT_ASKED = "not asked"


class NameType(StrEnum):
    """What a name belongs to."""

    EVENT = "event"
    EXPERIMENT = "experiment"
    GATE = "gate"


@dataclass(frozen=True, slots=True)
class SentName:
    """A name, which comes from records, how many items of it the run delivered, and what became of them.

    `recent` is how many Statsig has of that time or later, whoever sent them; None where it was not asked.
    """

    name: str
    type: NameType
    sent: int
    found: Found = Found.NOT_ASKED
    recent: int | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What Statsig has of the last run that delivered anything; `failure` ended the questions early."""

    run: PastRun | None
    names: Sequence[SentName] = ()
    failure: RequestError | FatalRunError | None = None

    @property
    def is_good(self) -> bool:
        """Whether nothing was perhaps dropped, and asking did not fail."""
        return self.failure is None and all(each.found is not Found.PERHAPS_DROPPED for each in self.names)

    @property
    def not_verifiable(self) -> dict[str, int]:
        """How many values of metrics the run delivered, by stream: Statsig does not say whether it has them."""
        return {
            name: counts["delivered"]
            for name, counts in _streams(self.run).items()
            if counts["object_type"] == ObjectType.METRIC.value and counts.get("delivered")
        }

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "run": self.run and {"run_id": self.run.report.get("run_id"), "ended_at": iso_time(self.run.ended_at)},
            "names": [asdict(each) for each in self.names],
            "not_verifiable": self.not_verifiable,
            "error": self.failure and str(self.failure),
        }

    def as_text(self) -> str:
        """Return it for people."""
        return "".join(f"{visible(line)}\n" for line in _lines(self))


def _streams(run: PastRun | None) -> dict[str, Any]:
    return {} if run is None else run.report.get("streams", {})


def verify(settings: Settings, clock: Clock) -> Verification:
    """Ask Statsig for the events and the exposures of the last run that delivered anything.

    Raises:
        SettingsError: There is no `console_api_key`.
        StoreError: The store cannot be read, or has the schema of another version.
    """
    if not settings.console_api_key:
        msg = "`--verify` asks the Console API. Set `console_api_key`."
        raise SettingsError([msg])
    url = paths.store_url(settings)
    runs = read_store_status(url, project=paths.project_identity(settings)).runs
    run = next((run for run in runs if any(counts.get("delivered") for counts in _streams(run).values())), None)
    if run is None or run.sent is None:
        return Verification(run)
    with closing(HttpTransport()) as transport:
        return _ask(run, run.sent, settings, transport, clock)


def _ask(run: PastRun, sent: SentItems, settings: Settings, transport: Transport, clock: Clock) -> Verification:
    deadline = clock.monotonic() + ALL_SECONDS
    failure = None
    asked = [SentName(name, NameType.EVENT, count) for name, count in sent.names.items()]
    for name, count in sent.exposures.items():
        type_ = NameType.GATE if name.startswith(GATE_MARK) else NameType.EXPERIMENT
        asked.append(SentName(name.removeprefix(GATE_MARK), type_, count))
    asked.sort(key=lambda each: (each.name == OTHER_NAMES, -each.sent))
    names: list[SentName] = []
    for number, each in enumerate(asked):
        left = deadline - clock.monotonic()
        recent = None
        if failure is None and number < MOST_ASKED and left > 0 and each.name != OTHER_NAMES:
            console = open_console(settings, transport, clock, min(PATIENCE, math.ceil(left)))
            try:
                recent = _recent(console, each, run, sent, clock.time())
            except (RequestError, FatalRunError) as error:
                failure = error
        found = judge(each, recent, clock.time() - run.ended_at)
        names.append(replace(each, found=found, recent=recent))
    return Verification(run, names, failure)


def _recent(console: ConsoleClient, name: SentName, run: PastRun, sent: SentItems, now: float) -> int | None:
    """Return how many items may be the run's; None where Statsig does not count so far back."""
    if name.type is NameType.EVENT:
        # None that is earlier than all of the run's.
        earliest = 0 if sent.span is None else sent.span[0] - CLOCKS_APART_MS
        return sum(time is None or time >= earliest for time in console.event_times(name.name))
    began = now - run.ended_at + run.report.get("seconds", 0.0)
    if began > WEEK:
        return None
    where = GATES if name.type is NameType.GATE else EXPERIMENTS
    return console.exposure_count(where, name.name, past_week=began > DAY)


def judge(name: SentName, recent: int | None, age: float) -> Found:
    """Return what became of the items of a name of which Statsig has so many, `age` seconds after the run ended.

    Where it was not asked, `recent` is None. Of events it lists some, so that one is enough; exposures it counts.
    """
    if recent is None:
        return Found.NOT_ASKED
    if recent >= (1 if name.type is NameType.EVENT else name.sent):
        return Found.SEEN
    return Found.WAITING if age < ARRIVES_WITHIN else Found.PERHAPS_DROPPED


def _lines(verification: Verification) -> Iterator[str]:
    run = verification.run
    if run is None:
        yield "No remembered run with this `console_api_key` delivered anything, so there is nothing to verify."
        return
    yield f"Run {run.report.get('run_id')}, ended {readable_time(run.ended_at)}, delivered:"
    names = verification.names
    titles = ("name", "of", "found", "sent", "in Statsig")
    rows = [(name.name, name.type, name.found, name.sent, name.recent) for name in names]
    yield from table_lines([dict(zip(titles, row, strict=True)) for row in rows], texts=3)
    for stream, count in verification.not_verifiable.items():
        yield (
            f"  {stream}: {counted(count, 'metric')}. Statsig has no endpoint that lists values of metrics. Check its "
            "console at Metrics > Metrics Catalog > Metrics Logstream."
        )
    if verification.failure is not None:
        yield f"Not all names were asked for. {verification.failure.heading.value}: {verification.failure}"
    numbers = Counter(name.found for name in names)
    of_all = f"of {counted(len(names), 'name')}"
    if unasked := numbers[Found.NOT_ASKED]:
        yield (
            f"{unasked:,} {of_all} not asked for. The limits are {MOST_ASKED} names, {ALL_SECONDS:.0f} seconds, and "
            f"{WEEK / DAY:.0f} days for exposures."
        )
    if waiting := numbers[Found.WAITING]:
        yield (
            f"{waiting:,} {of_all} not seen yet. Statsig takes some minutes; ask again {ARRIVES_WITHIN / 60:.0f} "
            "minutes after the run."
        )
    if dropped := numbers[Found.PERHAPS_DROPPED]:
        yield (
            f"{dropped:,} {of_all} perhaps dropped: Statsig lists no event of that name and time, or counts fewer "
            "exposures than were sent. Check that an experiment or a gate of that name exists, the name of an event "
            "for characters that Statsig drops, `environment_tier` (the console may show another environment), and "
            "the times (Statsig lists and counts only what is recent)."
        )
    if names and numbers[Found.SEEN] == len(names):
        yield f"All {counted(len(names), 'name')} seen." if len(names) > 1 else "The name was seen."
