"""One run: what its streams share, which lane a stream gets, and how the run ends."""

from __future__ import annotations

import logging
import os
import secrets
import signal
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING

from target_statsig.clock import RunClock
from target_statsig.config import paths
from target_statsig.dry_run import NO_WISHES, choose_parts
from target_statsig.errors import FatalRunError, Heading, InterruptedRunError, StoreError, heading_of, text_of
from target_statsig.lanes import Lanes
from target_statsig.reports.progress import ProgressLog, terminal
from target_statsig.reports.report import RunReport
from target_statsig.segments.sources import Sources
from target_statsig.services import Services
from target_statsig.singer.rejections import whereabouts
from target_statsig.singer.state_gate import Patience, State, StateGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from target_statsig.config.parse import Config
    from target_statsig.dry_run import Wishes
    from target_statsig.singer.dead_letters import DeadLetters

logger = logging.getLogger(__name__)

AGE_BYTES = 1 << 23
"""Bytes of input after which a batch is a step older. One that is two steps old goes off, full or not: so memory is
bounded also where 500 records are a gigabyte, and batches of small records are full long before."""


class Run:
    """What the streams of one run share, and how the run ends.

    Attributes:
        run_id: A name for this run: when it began, and 128 random bits.
        clock: The machine's clock; its waits end when the run is asked to stop.
        report: What the run did.
        lanes: Which way each stream's records go.
        sources: What the messages said about which streams are complete.
        stop_signal: The signal that asked the run to end, if one did.
        failure: The first thing that went wrong, if anything did.
        ended: Whether the end has begun.
    """

    def __init__(self, config: Config, *, clock: RunClock | None = None, wishes: Wishes = NO_WISHES) -> None:
        """Build nothing that costs time: a run that sends nothing opens nothing.

        Raises:
            SettingsError: What the command line asks of a dry run cannot be done.
        """
        self.config = config
        self.clock = clock or RunClock()
        self.stop_signal: int | None = None
        began = self.clock.time()
        self.run_id = f"{datetime.fromtimestamp(began, tz=UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(16)}"
        self.parts = choose_parts(config.settings, self.clock, wishes)
        self.report = RunReport(began, run_id=self.run_id, dry_run=config.settings.dry_run)
        self.sources = Sources()
        self.gate = StateGate(self._write_state)
        self.services = Services(config.settings, self.clock, self.run_id, self.parts)
        self.failure: BaseException | None = None
        self.ended = False
        self.lanes = Lanes(
            config,
            self.services,
            self.gate,
            self.report,
            self.clock,
            lambda: self.dead_letters,
            self.fail,
            self.sources.read,
        )
        self.progress_log = ProgressLog(self.clock, self.lanes.progress, self.services.seconds_for, terminal())
        self.clock.while_waiting = self.progress_log.update
        self._complete = False
        self._patience = Patience(self.gate, self.clock)
        self._bytes = 0

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """Where rejected records go."""
        directory = paths.dead_letter_path(self.config.settings, os.environ, Path.cwd)
        return self.parts.dead_letters(directory, self.run_id)

    @property
    def _has_dead_letters(self) -> bool:
        """Whether anything asked for them: `cached_property` keeps what it made."""
        return "dead_letters" in self.__dict__

    # While the input is read

    def follow(self, tap_stream: str, streams: Iterable[str], replication_key: str | None) -> None:
        """Note which streams a tap's stream feeds after the stream maps.

        Args:
            tap_stream: The tap's name.
            streams: The names after the stream maps.
            replication_key: The column by which the tap says how far it has come, where it names one.
        """
        for stream in streams:
            if stream in self.lanes.segments:
                self.sources.follow(tap_stream, stream, self.lanes.segments[stream].settings)
            else:
                self.lanes.items[stream].follow(tap_stream, replication_key)

    def take_state(self, state: State) -> None:
        """Take a STATE: it is written as soon as everything before it is settled, unless it may let the tap resume.

        Raises:
            FatalRunError: It shows that a mirrored stream is incremental.
        """
        self.sources.state(state)
        if not self.sources.must_keep_state:
            self.gate.hold(self.sources.without_resumption(state))
        self._settle_in_time()

    def tick(self, size: int) -> None:
        """Do what is due, whether input comes or not.

        Args:
            size: Bytes of input that come now.

        Raises:
            TargetStatsigError: What a batch failed with.
        """
        self.lanes.check()
        self._settle_in_time()
        self._bytes += size
        if self._bytes >= AGE_BYTES:
            self._bytes = 0
            self.lanes.age()
        self.progress_log.update()

    def _settle_in_time(self) -> None:
        if self._patience.is_over():
            self.lanes.settle()

    def stop(self, signum: int) -> None:
        """Ask the run to end: waits end at once, and nothing more is read."""
        self.stop_signal = signum
        self.clock.stop()
        self.lanes.stop()

    # The end

    def end(self, *, complete: bool) -> None:
        """Settle what was read, write the report and log the summary; what fails is kept in `failure`.

        Args:
            complete: Whether the input was read to its end; else who seems to be gone was perhaps only not read.
        """
        self.ended = True
        self._complete = complete
        if self.stop_signal is not None:
            logger.warning(
                "Asked to stop (%s): what was read is still sent, and nobody is removed from a mirrored segment. "
                "A second signal ends the run at once.",
                signal.Signals(self.stop_signal).name,
            )
        self._attempt(self.lanes.finish_items)
        if complete and self.stop_signal is None:
            self._attempt(self._sync_segments)
            self.lanes.warn_of_absent_streams()
        keeping = [lane.keep for lane in self.lanes.segments.values()]
        # A store that failed would fail again, perhaps after a long wait; and nobody applies what a failed run held.
        outdating = [] if isinstance(self.failure, StoreError) else [self.lanes.outdate_holds]
        flushing = [self.dead_letters.flush] if self._has_dead_letters else []
        for step in (*keeping, *outdating, *flushing, *self.lanes.reject_limit_checks()):
            self._attempt(step)
        self.conclude()

    def conclude(self) -> None:
        """Close all, write the report and log the summary; what fails is kept in `failure`."""
        self.progress_log.close()
        self._attempt(self._close)
        if self.stop_signal is not None:
            self.report.interrupt(self.stop_signal)
        if self._has_dead_letters:
            self.report.dead_letter_files = list(self.dead_letters.paths)
        self._attempt(self._write_report)
        self._attempt(lambda: self.parts.tell(self.report, self.clock.time()))
        if self._has_dead_letters and self.dead_letters.count:
            logger.info("  %s", whereabouts(self.dead_letters, os.environ))

    @property
    def settled(self) -> bool:
        """Return whether all input was read, and every record of it is acknowledged, kept, or a dead letter."""
        return self._complete and self.gate.settled and self.parts.lasting

    @property
    def exit_code(self) -> int:
        """Return 0 for a complete run, 1 for a failed one, 128 and the signal's number for an interrupted one."""
        if self.stop_signal is not None:
            return 128 + self.stop_signal
        return 0 if self.failure is None else 1

    def fail(self, error: BaseException) -> None:
        """Keep what went wrong: the first failure is raised in the end, all are in the log and the report."""
        if isinstance(error, InterruptedRunError):
            return
        text = text_of(error)
        if text not in self.report.errors:
            logger.error("%s", text)
        self.failure = self.failure or error
        self.report.fail(text, heading_of(error))

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 -- whatever fails, what is left to do is done, and the report says so
            self.fail(error)

    def _sync_segments(self) -> None:
        """Bring every segment up to date: all additions of the run before the first removal."""
        lanes = list(self.lanes.segments.values())
        for lane in lanes:
            lane.plan(self.sources.verdict(lane.stream))
        self.progress_log.announce(sum(lane.requests for lane in lanes))
        for step in map(methodcaller, ("add", "remove", "close")):
            for lane in lanes:
                step(lane)
        self.lanes.send_kept()

    def _close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.parts.close)
            stack.callback(self.services.close)
            if self._has_dead_letters:
                self.dead_letters.close()

    def _write_report(self) -> None:
        path = self.config.settings.report_path
        if path is not None:
            try:
                self.report.write(path, self.clock.time())
            except OSError as error:
                msg = f"`report_path` ({path}) cannot be written: {error.strerror}. Everything else is done."
                raise FatalRunError(msg, heading=Heading.REPORT) from error

    def _write_state(self, state: State, number: int) -> None:
        """Write a STATE to standard output: dead letters are written before it, and the ledger forgets after it."""
        if self._has_dead_letters:
            self.dead_letters.flush()
        self.progress_log.clear()
        self.parts.write_state(state)
        for lane in list(self.lanes.items.values()):  # a list: the thread that reads may add a lane meanwhile
            lane.state_written(state, number)
