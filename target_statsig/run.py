"""One run: what its streams share, each thing built when first needed, and the order of its end."""

from __future__ import annotations

import logging
import os
import secrets
import signal
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from target_statsig.client.events import EventsClient
from target_statsig.client.http import HttpTransport
from target_statsig.client.sender import Sender
from target_statsig.clock import RunClock
from target_statsig.config import paths
from target_statsig.config.choices import NotifyOn
from target_statsig.errors import FatalRunError, Heading, InterruptedRunError, StoreError, heading_of, text_of
from target_statsig.reports.progress import ProgressLog, terminal
from target_statsig.reports.report import RunReport
from target_statsig.reports.table import log_summary
from target_statsig.segments.completeness import StreamObserver
from target_statsig.singer.dead_letters import DeadLetterBox
from target_statsig.singer.rejections import whereabouts
from target_statsig.singer.state import Patience, State, StateGate, write_state
from target_statsig.store.values import Command, past_run
from target_statsig.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_statsig.client.console import ConsoleClient
    from target_statsig.client.http import Transport
    from target_statsig.client.rate_limit import RateLimiter
    from target_statsig.clock import Clock
    from target_statsig.config.parse import Config
    from target_statsig.singer.dead_letters import DeadLetters
    from target_statsig.singer.records import Batch, RecordReader
    from target_statsig.store.store import Store

logger = logging.getLogger(__name__)

AGE_BYTES = 1 << 23
"""Bytes of input between two calls of `flush_old`: so memory is bounded also where 500 records are a gigabyte, and
batches of small records are full long before."""

NO_KEY = "none"
"""Stands for a key where there is none: only a dry run, which sends nothing, gets so far without one."""


class Run:
    """What the streams of one run share, and how the run ends.

    Attributes:
        run_id: A name for this run: when it began, and 128 random bits.
        clock: The machine's clock; its waits end when the run is asked to stop.
        report: What the run did.
        sources: What the messages said about which streams are complete.
        gate: Holds each STATE back until everything before it is acknowledged.
        streams: The streams of the run.
        stop_signal: The signal that asked the run to end, if one did.
        failure: The first thing that went wrong, if anything did.
        ended: Whether the end has begun.
        command: What the run was started for.
    """

    def __init__(self, config: Config) -> None:
        """Open nothing: what a run does not use costs it no time."""
        self.config = config
        self.settings = config.settings
        self.clock = RunClock()
        began = self.clock.time()
        self.run_id = f"{datetime.fromtimestamp(began, tz=UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(16)}"
        self.report = RunReport(began, run_id=self.run_id, dry_run=self.settings.dry_run)
        self.sources = StreamObserver()
        self.gate = StateGate(self._write_state)
        self.streams = Streams(self)
        self.progress_log = ProgressLog(self.clock, self.streams.progress, self._seconds_for, terminal())
        self.clock.while_waiting = self.progress_log.update
        self.stop_signal: int | None = None
        self.failure: BaseException | None = None
        self.ended = False
        self.command = Command.RUN
        self._complete = False
        self._patience = Patience(self.gate, self.clock)
        self._bytes = 0
        self._ended_at = began
        self._content: dict[str, Any] | None = None
        self._opened = ExitStack()
        self._store_opened = ExitStack()

    # What it shares

    @cached_property
    def transport(self) -> Transport:
        """What sends a request once."""
        return self._opened.enter_context(closing(self._open_transport()))

    @cached_property
    def sender(self) -> Sender:
        """What sends a request until Statsig has decided."""
        return Sender(self.transport, self.clock, retry_timeout=self.settings.retry_timeout)

    @cached_property
    def events_client(self) -> EventsClient:
        """What sends events, exposures and metrics."""
        return EventsClient(
            self.sender,
            base_url=self.settings.events_url,
            key=self.settings.server_secret_key or NO_KEY,
            compression=self.settings.compression,
            timeout=self.settings.request_timeout,
            clock=self.clock,
            at_once=self.settings.max_parallel_requests,
        )

    @cached_property
    def console(self) -> ConsoleClient:
        """What reads and changes segments."""
        from target_statsig.client.console import ConsoleClient

        return ConsoleClient(
            self.sender,
            base_url=self.settings.console_url,
            key=self.settings.console_api_key or "",
            timeout=self.settings.request_timeout,
            limiter=self.rate_limiter,
            clock=self.clock,
            respect_reviews=self.settings.respect_review_settings,
        )

    @cached_property
    def rate_limiter(self) -> RateLimiter:
        """What spaces the list mutations of all segments, and of all runs that share a store."""
        from target_statsig.client.rate_limit import RateLimiter
        from target_statsig.config.settings import parse_rate_windows

        windows = parse_rate_windows(self.settings.console_rate_limits)
        log = None
        if self.store_exists:
            log = self.store.request_log(keep=2.0 * max(window.seconds for window in windows))
        return RateLimiter(windows, self._limiter_clock, log)

    @cached_property
    def store(self) -> Store:
        """What is remembered from run to run.

        Raises:
            StoreError: It cannot be used.
        """
        return self._store_opened.enter_context(closing(self._open_store()))

    @cached_property
    def _store_url(self) -> str:
        return paths.store_url(self.settings)

    @property
    def store_exists(self) -> bool:
        """Whether there is a store by now; of a database elsewhere that is taken for granted."""
        path = paths.store_file(self._store_url)
        return "store" in self.__dict__ or path is None or path.exists()

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """Where rejected records go."""
        directory = paths.dead_letter_path(self.settings)
        return self._opened.enter_context(closing(self._open_dead_letters(directory)))

    @property
    def _has_dead_letters(self) -> bool:
        """Whether anything asked for them: `cached_property` keeps what it made."""
        return "dead_letters" in self.__dict__

    def _seconds_for(self, requests: int) -> float:
        return self.rate_limiter.seconds_for(requests)

    # While the input is read

    def take_state(self, state: State) -> None:
        """Take a STATE: it waits until all before it is acknowledged, and goes no further if it may let the tap resume.

        Raises:
            FatalRunError: It shows that a mirrored stream is incremental.
        """
        self.sources.state(state)
        if not self.sources.must_keep_state:
            self.gate.hold(self.sources.without_resumption(state))
        self._flush_in_time()

    def tick(self, size: int) -> None:
        """Do what is due, whether input comes or not; `size` is bytes of input that come now.

        Raises:
            TargetStatsigError: What a batch failed with.
        """
        self.streams.check()
        self._flush_in_time()
        self._bytes += size
        if self._bytes >= AGE_BYTES:
            self._bytes = 0
            self.streams.flush_old()
        self.progress_log.update()

    def _flush_in_time(self) -> None:
        if self._patience.is_over():
            self.streams.flush()

    def stop(self, signum: int) -> None:
        """Ask the run to end: waits end at once, and nothing more is read; a signal handler may call this."""
        self.stop_signal = signum
        self.clock.stop()
        self.streams.stop()

    # The end

    def end(self, *, complete: bool) -> None:
        """Send what was read, write the report and log the summary; what fails is kept in `failure`.

        Where the input was not `complete`, who seems to be gone was perhaps only not read.
        """
        self.ended = True
        self._complete = complete
        if self.stop_signal is not None:
            logger.warning(
                "Asked to stop (%s). What was read is still sent, and no member is removed from a mirrored segment. "
                "A second signal ends the run at once.",
                signal.Signals(self.stop_signal).name,
            )
        for step in self._last_steps():
            self._attempt(step)
        self.conclude()

    def _last_steps(self) -> Iterator[Callable[[], None]]:
        yield self.streams.finish_events
        if self._complete and self.stop_signal is None:
            yield self.streams.sync_segments
            yield self.streams.warn_of_absent
        yield from [stream.keep for stream in self.streams.segments.values()]
        # A store that failed would fail again, perhaps after a long wait; and nobody applies what a failed run held.
        if not isinstance(self.failure, StoreError):
            yield self.streams.outdate_holds
        if self._has_dead_letters:
            yield self.dead_letters.flush
        yield from [stream.check_reject_limit for stream in self.streams]

    def end_sending(self, remember: Callable[[], None]) -> None:
        """End a run that read no Singer messages: wait for every answer, and then `remember`."""
        self.ended = True
        flushing = [self.dead_letters.flush] if self._has_dead_letters else []
        checks = [stream.check_reject_limit for stream in self.streams]
        for step in (self.streams.finish_events, remember, *flushing, *checks):
            self._attempt(step)
        self.conclude()

    def conclude(self) -> None:
        """Close everything, write the report and log the summary; what fails is kept in `failure`."""
        self.progress_log.close()
        if self.stop_signal is not None:
            self.report.interrupt(self.stop_signal)
        self._attempt(self._opened.close)
        if self._has_dead_letters:
            self.report.dead_letter_files = list(self.dead_letters.paths)
        self._ended_at = self.clock.time()
        for step in (self._write_report, self._write_metrics):
            self._attempt(step)
        # Behind what may fail the run: the store is to say how it ended.
        self._afterwards("`--status` will not show this run", self._remember)
        self._attempt(self._log_summary)
        if self._has_dead_letters and self.dead_letters.count:
            logger.info("  %s", whereabouts(self.dead_letters, os.environ))
        self._afterwards("The store could not be closed", self._store_opened.close)
        self._afterwards("The report could not be sent to `notify_url`", self._notify)

    @property
    def _final_report(self) -> dict[str, Any]:
        """The report as JSON, the same for all who get it, unless one of them fails the run."""
        if self._content is None:
            self._content = self.report.as_json(self._ended_at)
        return self._content

    def _remember(self) -> None:
        """Leave the run to `--status`, in a store that is there."""
        # A store that failed would fail again, perhaps after a long wait.
        if not isinstance(self.failure, StoreError) and self.store_exists:
            self.store.record_run(past_run(self.report, self._final_report, self.command, self._ended_at))

    def _afterwards(self, without: str, step: Callable[[], None]) -> None:
        """Take a step that fails no run: all is done, and the report is written."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 -- it may hold anything, and so is named by its type alone
            logger.warning("%s: %s.", without, error if isinstance(error, StoreError) else type(error).__name__)

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 -- whatever fails, what is left to do is done, and the report says so
            self.fail(error)

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
        self._content = None

    def _write_report(self) -> None:
        if self.settings.report_path is not None:
            from target_statsig.reports.publish import write_report

            with _writing("report_path", self.settings.report_path) as path:
                write_report(path, self._final_report)

    def _write_state(self, state: State, number: int) -> None:
        """Write a STATE to standard output: dead letters are written before it, and the ledger forgets after it."""
        if self._has_dead_letters:
            self.dead_letters.flush()
        self.progress_log.clear()
        self._put_out(state)
        self.streams.state_written(state, number)

    # What a dry run does in another way: `commands.dry_run`

    def _open_transport(self) -> Transport:
        return HttpTransport()

    @property
    def _limiter_clock(self) -> Clock:
        return self.clock

    def _open_store(self) -> Store:
        from target_statsig.store.store import Store

        project = paths.project_identity(self.settings)
        return Store(self._store_url, clock=self.clock, project=project, run_id=self.run_id)

    def _open_dead_letters(self, directory: str) -> DeadLetters:
        return DeadLetterBox(directory, self.run_id)

    def _put_out(self, state: State) -> None:
        write_state(state)

    def look_at(self, stream: str, batch: Batch, reader: RecordReader) -> None:
        """Look at a batch of a stream before the stream takes it; only a dry run shows records."""

    @property
    def is_acknowledged(self) -> bool:
        """Return whether all input was read, and every record of it is acknowledged, kept, or a dead letter."""
        return self._complete and self.gate.settled

    def _log_summary(self) -> None:
        log_summary(self.report, self._ended_at)

    def _write_metrics(self) -> None:
        if self.settings.metrics_path is not None:
            from target_statsig.reports.publish import write_open_metrics

            with _writing("metrics_path", self.settings.metrics_path) as path:
                write_open_metrics(path, self._final_report, self._ended_at)

    def _notify(self) -> None:
        """Send the report to `notify_url`, where it is wanted."""
        wanted = self.settings.notify_on is NotifyOn.ALWAYS or self.exit_code != 0
        if self.settings.notify_url is not None and wanted:
            from target_statsig.client.webhook import notify
            from target_statsig.reports.publish import notification

            body = notification(self._final_report)
            with closing(HttpTransport()) as transport:
                notify(self.settings.notify_url, body, transport)


@contextmanager
def _writing(setting: str, path: str) -> Iterator[str]:
    try:
        yield path
    except OSError as error:
        msg = f"`{setting}` ({path}) cannot be written: {error.strerror}. The run itself is done."
        raise FatalRunError(msg, heading=Heading.REPORT) from error
