"""One run: the objects that its streams share, each created when first needed, and the steps at its end."""

from __future__ import annotations

import logging
import os
import secrets
import signal
from collections import defaultdict
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from target_statsig.client.events import EventsClient
from target_statsig.client.http import HttpTransport, notify
from target_statsig.client.sender import Sender
from target_statsig.clock import RunClock
from target_statsig.commands.streams import Streams
from target_statsig.config import paths
from target_statsig.config.choices import NotifyOn
from target_statsig.config.settings import parse_rate_windows
from target_statsig.errors import Heading, InterruptedRunError, StoreError, TargetStatsigError, text_of
from target_statsig.events.delivery import Bounds, RefusalStreak
from target_statsig.events.stream import DeliveryPool
from target_statsig.events.workers import Workers
from target_statsig.reports.progress import ProgressLog
from target_statsig.reports.report import RunReport, notification, write_open_metrics, write_report
from target_statsig.reports.text import log_summary
from target_statsig.segments.observer import StreamObserver
from target_statsig.singer.dead_letters import DeadLetters, whereabouts
from target_statsig.singer.state import State, StateGate, write_state
from target_statsig.store.tables import Command, past_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from target_statsig.client.console import ConsoleClient
    from target_statsig.client.http import Transport
    from target_statsig.client.rate_limit import RateLimiter
    from target_statsig.clock import Clock
    from target_statsig.config.choices import ObjectType
    from target_statsig.config.parse import Config
    from target_statsig.singer.records import Batch, RecordReader
    from target_statsig.store.store import Store

logger = logging.getLogger(__name__)

BATCHES_AHEAD = 4
"""Batches that are being prepared or recorded while the requests of others are in flight."""

AGE_BYTES = 1 << 23
"""Bytes of input between two calls of `flush_old`. This bounds memory where 500 records are a gigabyte; batches of
small records are full long before."""


class Run:
    """The objects that the streams of one run share, and the end of the run.

    Attributes:
        sources: Determines from the tap's messages which streams are complete.
        gate: Holds each STATE back until everything before it is acknowledged.
        dead_letters: The files for rejected records.
        refusals: Counts the items of each type that Statsig refused.
        failure: The first error, or None.
        when_acknowledged: Called before the report is written, if the run `is_acknowledged`.
        ended: Whether the end has begun.
    """

    def __init__(self, config: Config) -> None:
        """Create the run without opening anything."""
        self.config = config
        self.settings = config.settings
        self.clock = RunClock()
        began = self.clock.time()
        self.run_id = f"{datetime.fromtimestamp(began, tz=UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(16)}"
        self.report = RunReport(began, run_id=self.run_id, dry_run=self.settings.dry_run)
        self.sources = StreamObserver()
        self.gate = StateGate(self._write_state)
        self.bounds = Bounds(self.settings.batch_size_rows, self.settings.batch_size_bytes)
        self.refusals: defaultdict[ObjectType, RefusalStreak] = defaultdict(RefusalStreak)
        self.workers = Workers()
        requests = self.settings.max_parallel_requests
        # More threads than requests, so that batches are prepared while others wait for a response. With
        # `max_parallel_requests: 1` there is one thread, which keeps the order.
        self.pool = DeliveryPool(requests + min(requests - 1, BATCHES_AHEAD))
        self.streams = Streams(self)
        self.progress_log = ProgressLog(self.clock, lambda: [each.progress for each in self.streams], self._seconds_for)
        self.clock.while_waiting = self.progress_log.update
        self.failure: BaseException | None = None
        self.ended = False
        self.command = Command.RUN
        self.when_acknowledged: Callable[[], None] = lambda: None
        self._limiter_clock: Clock = self.clock
        self._complete = False
        self._bytes_since_flush = 0
        self._ended_at = began
        self._opened = ExitStack()
        dead_letters = self._open_dead_letters(paths.dead_letter_path(self.settings))
        self.dead_letters = self._opened.enter_context(closing(dead_letters))
        self._store_opened = ExitStack()

    # Shared by the streams

    @cached_property
    def sender(self) -> Sender:
        """Sends a request, with retries, until Statsig accepts or refuses it."""
        transport = self._opened.enter_context(closing(self._open_transport()))
        return Sender(transport, self.clock, retry_timeout=self.settings.retry_timeout)

    @cached_property
    def events_client(self) -> EventsClient:
        """Sends events, exposures and metrics."""
        # Only a dry run has no key, and it sends nothing.
        settings = replace(self.settings, server_secret_key=self.settings.server_secret_key or "none")
        return EventsClient(self.sender, settings, self.clock)

    @cached_property
    def console(self) -> ConsoleClient:
        """Reads and changes segments."""
        from target_statsig.client.console import ConsoleClient

        return ConsoleClient(self.sender, self.settings, self.rate_limiter, self.clock)

    @cached_property
    def rate_limiter(self) -> RateLimiter:
        """Spaces the changes of all segments, over all runs that share a store."""
        from target_statsig.client.rate_limit import RateLimiter

        windows = parse_rate_windows(self.settings.console_rate_limits)
        log = None
        if self.store_exists:
            log = self.store.request_log(keep=2.0 * max(window.seconds for window in windows))
        return RateLimiter(windows, self._limiter_clock, log)

    @cached_property
    def store(self) -> Store:
        """The database that outlives the run.

        Raises:
            StoreError: It cannot be used.
        """
        return self._store_opened.enter_context(closing(self._open_store()))

    @property
    def store_exists(self) -> bool:
        """Whether the store exists; a database server's always counts as existing."""
        path = paths.store_file(paths.store_url(self.settings))
        return "store" in self.__dict__ or path is None or paths.may_exist(path)

    def _seconds_for(self, requests: int) -> float:
        return self.rate_limiter.seconds_for(requests)

    # While the input is read

    def take_state(self, state: State) -> None:
        """Hold a STATE until everything before it is acknowledged.

        Bookmarks of mirrored streams are taken out, so that the tap starts these afresh. A STATE in which they cannot
        be recognized is not written.

        Raises:
            FatalRunError: The STATE shows that a mirrored stream is incremental.
        """
        self.sources.state(state)
        if not self.sources.must_keep_state:
            self.gate.hold(self.sources.without_resumption(state))
        self._flush_in_time()

    def tick(self, size: int) -> None:
        """Flush old batches and update the progress log, if it is time to; raise the error of a failed batch.

        `size` is the bytes of input read since the last call; 0 while no input comes.
        """
        self.pool.check()
        self._flush_in_time()
        self._bytes_since_flush += size
        if self._bytes_since_flush >= AGE_BYTES:
            self._bytes_since_flush = 0
            self.streams.flush_old()
        self.progress_log.update()

    def _flush_in_time(self) -> None:
        if self.gate.is_overdue(self.clock.monotonic()):
            self.streams.flush()

    def stop(self, signum: int) -> None:
        """Note the signal, and end all waits at once. Safe in a signal handler."""
        self.report.stop_signal = signum
        self.clock.stop()
        self.workers.stop()

    # The end

    def end(self, *, complete: bool) -> None:
        """Send what was read, write the report and log the summary. The first error is kept in `failure`.

        Unless the input was read to its end, no segment is synced: a missing member may be in the unread rest.
        """
        self._complete = complete
        if self.report.stop_signal is not None:
            logger.warning(
                "Asked to stop (%s). What was read is still sent, and no member is removed from a mirrored segment. "
                "A second signal ends the run at once.",
                signal.Signals(self.report.stop_signal).name,
            )
        self._finish(self._last_steps())

    def _last_steps(self) -> Iterator[Callable[[], None]]:
        yield self.streams.finish_events
        if self._complete and self.report.stop_signal is None:
            yield self.streams.sync_segments
            yield self.streams.warn_of_absent
        yield from [stream.keep for stream in self.streams.segments.values()]
        # A store that failed would fail again, perhaps after a long wait. Holds of a failed run are never applied.
        if not isinstance(self.failure, StoreError):
            yield self.streams.outdate_holds

    def end_sending(self, remember: Callable[[], None]) -> None:
        """End a run that sent a prepared table: wait for all responses, then call `remember`."""
        self._finish((self.streams.finish_events, remember))

    def _finish(self, steps: Iterable[Callable[[], None]]) -> None:
        self.ended = True
        for step in steps:
            self._attempt(step)
        self._attempt(self.dead_letters.flush)
        for stream in self.streams:
            self._attempt(stream.rejections.check_reject_limit)
        if self.is_acknowledged:
            self._attempt(self.when_acknowledged)
        self.conclude()

    def conclude(self) -> None:
        """Close everything, write the report and log the summary. The first error is kept in `failure`."""
        self._attempt(self._opened.close)
        self.report.dead_letter_files = list(self.dead_letters.paths)
        self._ended_at = self.clock.time()
        settings = self.settings
        if settings.report_path is not None:
            self._attempt(partial(write_report, settings.report_path, self._final_report))
        if settings.metrics_path is not None:
            self._attempt(partial(write_open_metrics, settings.metrics_path, self._final_report, self._ended_at))
        # After all steps that may fail the run, because the store records how it ended.
        self._afterwards("`--status` will not show this run", self._remember)
        self._attempt(self._log_summary)
        if self.dead_letters.count:
            logger.info("  %s", whereabouts(self.dead_letters, os.environ))
        self._afterwards("The store could not be closed", self._store_opened.close)
        self._afterwards("The report could not be sent to `notify_url`", self._notify)

    @property
    def _final_report(self) -> dict[str, Any]:
        return self.report.as_json(self._ended_at)

    def _remember(self) -> None:
        # A store that failed would fail again, perhaps after a long wait.
        if not isinstance(self.failure, StoreError) and self.store_exists:
            self.store.record_run(past_run(self.report, self.command, self._ended_at))

    def _afterwards(self, consequence: str, step: Callable[[], None]) -> None:
        """Take a step whose failure is only a warning, because all is sent, and the report is written."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 -- its text may hold anything, so only its type is logged
            logger.warning("%s: %s.", consequence, error if isinstance(error, StoreError) else type(error).__name__)

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 -- whatever fails, the other steps follow, and the report says so
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Record an error: all are logged and reported, and the first one is raised at the end."""
        if isinstance(error, InterruptedRunError):
            return
        text = text_of(error)
        if text not in self.report.errors:
            logger.error("%s", text)
        self.failure = self.failure or error
        self.report.fail(text, error.heading if isinstance(error, TargetStatsigError) else Heading.FAULT)

    def _notify(self) -> None:
        wanted = self.settings.notify_on is NotifyOn.ALWAYS or self.report.exit_code != 0
        if self.settings.notify_url is not None and wanted:
            with closing(HttpTransport()) as transport:
                notify(self.settings.notify_url, notification(self._final_report), transport)

    def _write_state(self, state: State, number: int) -> None:
        """Write a STATE to standard output, after the dead letters and before the ledgers forget anything."""
        self.dead_letters.flush()
        self._put_out(state)
        self.streams.state_written(state, number)

    # Overridden by `DryRun`

    def _open_transport(self) -> Transport:
        return HttpTransport()

    def _open_store(self) -> Store:
        from target_statsig.store.store import Store

        project = paths.project_identity(self.settings)
        return Store(paths.store_url(self.settings), clock=self.clock, project=project, run_id=self.run_id)

    def _open_dead_letters(self, directory: str) -> DeadLetters:
        return DeadLetters(directory, self.run_id)

    def _put_out(self, state: State) -> None:
        write_state(state)

    def look_at(self, stream: str, batch: Batch, reader: RecordReader) -> None:
        """Take note of a batch before its stream takes it. A dry run shows the first record."""

    @property
    def is_acknowledged(self) -> bool:
        """Whether all input was read and every record is acknowledged, in the store, or a dead letter."""
        return self._complete and self.gate.settled and not self.dead_letters.lost

    def _log_summary(self) -> None:
        log_summary(self.report, self._ended_at)
