"""A run that only looks: the parts that let it see all that a run would see, and change nothing.

What it would have sent is recorded, its store is a copy, its dead letters and STATEs are dropped, and what would take
time under the rate limits is added up.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from target_statsig._compat import override
from target_statsig.client.dry_run import DryRunTransport
from target_statsig.client.http import HttpTransport
from target_statsig.client.rate_limit import RateLimiter, parse_rate_windows
from target_statsig.clock import Clock
from target_statsig.errors import FatalRunError, Heading, SettingsError
from target_statsig.parts import LiveParts, Parts
from target_statsig.reports.table import Forecast, id_lines, log_summary
from target_statsig.reports.text import visible
from target_statsig.singer.dead_letters import UnkeptLetters
from target_statsig.store import open_copy

if TYPE_CHECKING:
    from target_statsig.client.dry_run import Recorded
    from target_statsig.client.http import Transport
    from target_statsig.config.settings import Settings
    from target_statsig.reports.report import RunReport
    from target_statsig.singer.dead_letters import DeadLetters
    from target_statsig.singer.state_gate import State
    from target_statsig.store.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks.

    Attributes:
        dry_run: Change nothing, whatever the setting says.
        show_ids: Show some ids of members, on a terminal.
        output: The file for the requests that would be sent.
    """

    dry_run: bool = False
    show_ids: bool = False
    output: Path | None = None

    @property
    def settings(self) -> dict[str, bool]:
        """The settings that it stands for."""
        return {"dry_run": True} if self.dry_run else {}


NO_WISHES = Wishes()


def choose_parts(settings: Settings, clock: Clock, wishes: Wishes = NO_WISHES) -> Parts:
    """Return the parts of a run: those that change nothing, where `dry_run` is set.

    Raises:
        SettingsError: The command line asks of a run what only a dry run does, or its file cannot be written.
    """
    if settings.dry_run:
        return DryRunParts(settings, clock, wishes)
    if wishes.show_ids or wishes.output is not None:
        raise SettingsError(["`--show-ids` and `--dry-run-output` are of no use without `--dry-run`: add it."])
    return LiveParts(clock)


class TimeLapse(Clock):
    """A clock whose waits take no time; they are added up, and it goes fast by as much.

    Attributes:
        skipped: Seconds that waits would have taken so far.
    """

    def __init__(self, clock: Clock) -> None:
        """Take the run's clock, which a signal stops."""
        self.skipped = 0.0
        self._clock = clock

    @override
    def time(self) -> float:
        return self._clock.time() + self.skipped

    @override
    def monotonic(self) -> float:
        return self._clock.monotonic() + self.skipped

    @override
    def sleep(self, seconds: float) -> None:
        self._clock.sleep(0)
        self.skipped += seconds


class RequestFile:
    """A file of requests, a JSON line each, for this user's eyes only: there are ids in them, though no key."""

    def __init__(self, path: Path) -> None:
        """Create the file, or empty it.

        Raises:
            OSError: It cannot be written.
        """
        self._path = path
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.fchmod(descriptor, 0o600)  # one that was there may have been open to others
        self._file = os.fdopen(descriptor, "wb")

    def write(self, recorded: Recorded) -> None:
        """Append a request.

        Raises:
            FatalRunError: It cannot be written.
        """
        body = msgspec.Raw(recorded.body)
        line = msgspec.json.encode({"method": recorded.method, "path": recorded.path, "body": body})
        try:
            self._file.write(line + b"\n")
        except OSError as error:
            raise self._full(error) from error

    def close(self) -> None:
        """Close the file.

        Raises:
            FatalRunError: Its end cannot be written.
        """
        try:
            self._file.close()
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> FatalRunError:
        msg = f"`--dry-run-output` ({self._path}) cannot be written: {error.strerror}. Nothing was changed."
        return FatalRunError(msg, heading=Heading.REPORT)


class DryRunParts(Parts):
    """The parts of a run that changes nothing."""

    lasting = False

    def __init__(self, settings: Settings, clock: Clock, wishes: Wishes) -> None:
        """Open the file for the requests, if there is to be one.

        Raises:
            SettingsError: It cannot be written.
        """
        self.pace: TimeLapse = TimeLapse(clock)
        self._settings = settings
        self._clock = clock
        self._wishes = wishes
        self._file: RequestFile | None = None
        if wishes.output is not None:
            try:
                self._file = RequestFile(wishes.output)
            except OSError as error:
                msg = f"`--dry-run-output` ({wishes.output}) cannot be written: {error.strerror}."
                raise SettingsError([msg]) from error
        logger.info(
            "This is a dry run: nothing is sent, neither the store nor the dead letters are changed, and no STATE is "
            "written. Messages below say what a run would have done."
        )

    @override
    def transport(self) -> Transport:
        return self._transport

    @override
    def open_store(self, url: str, *, clock: Clock, project: str, run_id: str) -> Store:
        # Nobody can let go of what is locked in a copy: to wait for it would be in vain.
        return open_copy(url, Path(self._directory.name), clock=TimeLapse(clock), project=project, run_id=run_id)

    @override
    def dead_letters(self, directory: str, run_id: str) -> DeadLetters:
        return UnkeptLetters(directory)

    @override
    def write_state(self, state: State) -> None:
        """Write nothing: a bookmark that moved on would lose what was not sent, for good."""

    @override
    def tell(self, report: RunReport, now: float) -> None:
        windows = parse_rate_windows(self._settings.console_rate_limits)
        seconds_for = RateLimiter(windows, self._clock).seconds_for
        forecast = Forecast(seconds_for, self.pace.skipped, self._settings.server_secret_key is not None)
        log_summary(report, now, forecast)
        if self._wishes.show_ids:
            self._show_ids()

    @override
    def close(self) -> None:
        if "_directory" in self.__dict__:
            self._directory.cleanup()
        if self._file is not None:
            self._file.close()

    @cached_property
    def _transport(self) -> DryRunTransport:
        return DryRunTransport(HttpTransport(), self._file.write if self._file else lambda _: None)

    @cached_property
    def _directory(self) -> TemporaryDirectory[str]:
        return TemporaryDirectory(prefix="target-statsig-dry-run-")

    def _show_ids(self) -> None:
        if sys.stdout is None or not sys.stdout.isatty():
            logger.warning(
                "`--show-ids` shows ids on a terminal only, and standard output is none: what is piped is often kept. "
                "`--dry-run-output` writes all of them to a file that only you can read."
            )
            return
        for line in id_lines(self._transport.lists):
            sys.stdout.write(f"{visible(line)}\n")
        sys.stdout.flush()
