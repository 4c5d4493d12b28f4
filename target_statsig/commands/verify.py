"""`--verify`: which events of the last run Statsig has, by one question for each name; nothing is changed.

Statsig takes a request and decides later what of it to keep, without a word. It lists the events that it got lately, so
a name of which it lists none was perhaps dropped.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_statsig.client.http import HttpTransport
from target_statsig.client.recent_events import event_times
from target_statsig.commands.check import PATIENCE, open_console
from target_statsig.config import paths
from target_statsig.config.choices import Choice, ObjectType
from target_statsig.errors import FatalRunError, RequestError, SettingsError
from target_statsig.reports.report import OTHER_NAMES
from target_statsig.reports.table import table_lines
from target_statsig.reports.text import counted, iso_time, minute, visible
from target_statsig.store.readonly import read_store_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from target_statsig.client.http import Transport
    from target_statsig.clock import Clock
    from target_statsig.config.settings import Settings
    from target_statsig.reports.report import Span
    from target_statsig.store.values import PastRun

MOST_ASKED = 100
"""Names that are asked for at most, those with the most events first."""

ALL_SECONDS = 60.0
"""Seconds after which no further name is asked for."""

ARRIVES_WITHIN = 600.0
"""Seconds after the end of a run within which its events may still be on their way: Statsig takes some minutes."""

CLOCKS_APART_MS = 1_000

UNASKABLE = frozenset({OTHER_NAMES, ".", ".."})
"""What counts all names but the first thousand, and what no path can hold."""


class Found(Choice):
    """What became of the events of a name."""

    SEEN = "seen"
    WAITING = "waiting"
    PERHAPS_DROPPED = "perhaps dropped"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class VerifiedName:
    """What is known of the events of one name.

    Attributes:
        name: The name, which comes from records.
        found: What became of them.
        sent: How many the run delivered.
        recent: How many Statsig lists of that time or later, whoever sent them; None where it was not asked.
    """

    name: str
    found: Found
    sent: int
    recent: int | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """What Statsig has of a run.

    Attributes:
        run: The last run that delivered anything; None where none is remembered.
        names: The names of its events.
        failure: Why asking came to an end before all were asked for; None where it did not.
    """

    run: PastRun | None
    names: Sequence[VerifiedName] = ()
    failure: RequestError | FatalRunError | None = None

    def named(self, found: Found) -> list[VerifiedName]:
        """Return the names of which this became."""
        return [each for each in self.names if each.found is found]

    @property
    def is_good(self) -> bool:
        """Whether nothing was perhaps dropped, and asking did not fail."""
        return self.failure is None and not self.named(Found.PERHAPS_DROPPED)

    @property
    def not_verifiable(self) -> dict[str, int]:
        """How many items the run delivered of which Statsig lists none, by what they are."""
        counts = {ObjectType.EXPOSURE.value: 0, ObjectType.METRIC.value: 0}
        for stream in self.run.report.get("streams", {}).values() if self.run else ():
            if stream["object_type"] in counts:
                counts[stream["object_type"]] += stream.get("delivered", 0)
        return {kind: count for kind, count in counts.items() if count}

    def as_json(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        return {
            "run": self.run and {"run_id": self.run.report.get("run_id"), "ended_at": iso_time(self.run.ended_at)},
            "names": [{**asdict(each), "found": each.found.value} for each in self.names],
            "not_verifiable": self.not_verifiable,
            "error": self.failure and str(self.failure),
        }


def verify(settings: Settings, clock: Clock) -> Verification:
    """Ask Statsig for the events of the last run that delivered anything.

    Args:
        settings: The run's settings.
        clock: For the time, and for waits between tries.

    Raises:
        SettingsError: There is no `console_api_key`.
        StoreError: The store cannot be read, or has the schema of another version.
    """
    if not settings.console_api_key:
        msg = "`--verify` asks the Console API, which needs `console_api_key`: set it."
        raise SettingsError([msg])
    url = paths.store_url(settings, os.environ, Path.cwd)
    runs = read_store_status(url, project=paths.project_identity(settings)).runs
    run = next((run for run in runs if _delivered(run)), None)
    if run is None or run.sent is None:
        return Verification(run)
    with closing(HttpTransport()) as transport:
        return _ask(run, settings, transport, clock)


def _delivered(run: PastRun) -> int:
    return sum(stream.get("delivered", 0) for stream in run.report.get("streams", {}).values())


def _ask(run: PastRun, settings: Settings, transport: Transport, clock: Clock) -> Verification:
    sent = run.sent.names if run.sent else {}
    names = sorted(sent, key=lambda name: (name in UNASKABLE, -sent[name]))
    deadline = clock.monotonic() + ALL_SECONDS
    failure: RequestError | FatalRunError | None = None
    found = []
    for number, name in enumerate(names):
        left = deadline - clock.monotonic()
        if failure is not None or number >= MOST_ASKED or left <= 0 or name in UNASKABLE:
            found.append(VerifiedName(name, Found.NOT_ASKED, sent[name]))
            continue
        try:
            times = event_times(open_console(settings, transport, clock, min(PATIENCE, left)), name)
        except (RequestError, FatalRunError) as error:
            failure = error
            found.append(VerifiedName(name, Found.NOT_ASKED, sent[name]))
        else:
            recent = _recent(times, run.sent.span if run.sent else None)
            found.append(VerifiedName(name, judge(recent, clock.time() - run.ended_at), sent[name], recent))
    return Verification(run, found, failure)


def _recent(times: Sequence[int | None], span: Span | None) -> int:
    """Return how many events may be the run's: none that is earlier than all of these."""
    earliest = 0 if span is None else span[0] - CLOCKS_APART_MS
    return sum(time is None or time >= earliest for time in times)


def judge(recent: int, age: float) -> Found:
    """Return what became of the events of a name.

    Args:
        recent: How many Statsig lists.
        age: Seconds since the run ended.
    """
    if recent:
        return Found.SEEN
    return Found.WAITING if age < ARRIVES_WITHIN else Found.PERHAPS_DROPPED


def render(verification: Verification) -> str:
    """Return it as text."""
    return "".join(f"{visible(line)}\n" for line in _lines(verification))


def _lines(verification: Verification) -> Iterator[str]:
    run = verification.run
    if run is None:
        yield "No run is remembered that delivered anything: there is nothing to verify."
        return
    yield f"The run {run.report.get('run_id')}, which ended {minute(run.ended_at)}, delivered:"
    rows: list[Mapping[str, int | str | None]] = [
        {"event": each.name, "found": each.found.value, "sent": each.sent, "listed": each.recent}
        for each in verification.names
    ]
    yield from table_lines(rows)
    for kind, count in verification.not_verifiable.items():
        yield f"  {counted(count, kind)}: Statsig does not list them, so look at its console"
    if verification.failure is not None:
        yield f"Asking ended early: {verification.failure.heading.value}: {verification.failure}"
    yield from _verdict(verification)


def _verdict(verification: Verification) -> Iterator[str]:
    names = len(verification.names)
    if unasked := len(verification.named(Found.NOT_ASKED)):
        yield (
            f"{unasked:,} of {counted(names, 'name')} not asked for: at most {MOST_ASKED} are, within "
            f"{ALL_SECONDS:.0f} seconds."
        )
    if waiting := len(verification.named(Found.WAITING)):
        yield (
            f"{waiting:,} of {counted(names, 'name')} not seen yet: Statsig takes some minutes. Ask again "
            f"{ARRIVES_WITHIN / 60:.0f} minutes after the run."
        )
    if dropped := len(verification.named(Found.PERHAPS_DROPPED)):
        yield (
            f"{dropped:,} of {counted(names, 'name')} perhaps dropped: Statsig lists no event of that name and time. "
            "Look at the name for characters that Statsig drops, at `environment_tier` (the console may show another "
            "environment), and at the times: Statsig lists recent events only."
        )
    if names and len(verification.named(Found.SEEN)) == names:
        yield f"All {counted(names, 'name')} seen." if names > 1 else "The name was seen."
