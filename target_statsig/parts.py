"""The parts through which a run changes anything outside: all of them are chosen in one place, when it begins.

A run that is meant (`LiveParts`) and one that only looks (`dry_run`) differ in these and in nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from target_statsig._compat import override
from target_statsig.client.http import HttpTransport
from target_statsig.reports.table import log_summary
from target_statsig.singer.dead_letters import DeadLetterBox
from target_statsig.singer.output import write_state
from target_statsig.store import open_store

if TYPE_CHECKING:
    from target_statsig.client.http import Transport
    from target_statsig.clock import Clock
    from target_statsig.reports.report import RunReport
    from target_statsig.singer.dead_letters import DeadLetters
    from target_statsig.singer.state_gate import State
    from target_statsig.store.store import Store


class Parts(Protocol):
    """What a run reaches outside with.

    Attributes:
        lasting: Whether what a record became lasts, so that its dead letter may go.
        pace: The clock by which list mutations are spaced.
    """

    lasting: bool
    pace: Clock

    def transport(self) -> Transport:
        """Return what sends requests."""

    def open_store(self, url: str, *, clock: Clock, project: str, run_id: str) -> Store:
        """Open the store.

        Args:
            url: Its SQLAlchemy URL.
            clock: The run's clock.
            project: The identity of the Statsig project.
            run_id: The identity of the run.

        Raises:
            StoreError: It cannot be used.
        """

    def dead_letters(self, directory: str, run_id: str) -> DeadLetters:
        """Return where rejected records go.

        Args:
            directory: A path, or a `universal-pathlib` URL.
            run_id: The identity of the run.
        """

    def write_state(self, state: State) -> None:
        """Write a STATE.

        Raises:
            FatalRunError: It cannot be written.
        """

    def tell(self, report: RunReport, now: float) -> None:
        """Say at the end what the run did.

        Args:
            report: The run's report.
            now: Seconds since 1970.
        """

    def close(self) -> None:
        """Close what was opened for the run, once the transport and the store are closed."""


class LiveParts(Parts):
    """The parts of a run that is meant."""

    lasting = True

    def __init__(self, clock: Clock) -> None:
        """Take the run's clock."""
        self.pace = clock

    @override
    def transport(self) -> Transport:
        return HttpTransport()

    @override
    def open_store(self, url: str, *, clock: Clock, project: str, run_id: str) -> Store:
        return open_store(url, clock=clock, project=project, run_id=run_id)

    @override
    def dead_letters(self, directory: str, run_id: str) -> DeadLetters:
        return DeadLetterBox(directory, run_id)

    @override
    def write_state(self, state: State) -> None:
        write_state(state)

    @override
    def tell(self, report: RunReport, now: float) -> None:
        log_summary(report, now)

    @override
    def close(self) -> None:
        """Close nothing more."""
