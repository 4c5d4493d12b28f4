"""`--dry-run`: a run that reads everything and changes nothing.

`DryRun` holds all differences to a run. No other code asks whether a run is a dry run.
"""

from __future__ import annotations

import logging
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
import msgspec
from typing_extensions import override

from target_statsig.client.dry_run import DryRunTransport
from target_statsig.client.http import HttpTransport
from target_statsig.clock import SkippingClock
from target_statsig.commands.run import Run
from target_statsig.config import paths
from target_statsig.config.choices import DESTINATIONS, DeletedRows, ObjectType
from target_statsig.errors import FatalRunError, Heading, SettingsError
from target_statsig.events.items import ITEM_TYPES, read_objects
from target_statsig.reports.report import MappingWarnings
from target_statsig.reports.text import Forecast, id_lines, log_summary, visible
from target_statsig.segments.stream import MemberMapper
from target_statsig.singer.columns import deleted_rows, id_destination, listed, places, reads_messages, sources_of
from target_statsig.singer.dead_letters import NoDeadLetters
from target_statsig.singer.message import ENCODER
from target_statsig.store.readonly import open_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_statsig.client.dry_run import Recorded
    from target_statsig.client.http import Transport
    from target_statsig.config.parse import Config
    from target_statsig.config.settings import StreamSettings
    from target_statsig.singer.columns import Columns, Faults
    from target_statsig.singer.dead_letters import DeadLetters
    from target_statsig.singer.records import Batch, RecordReader
    from target_statsig.singer.state import State
    from target_statsig.store.store import Store

logger = logging.getLogger(__name__)

LOOKED_AT = 100
"""Records of a batch that are searched for one that would be sent."""


class RequestFile:
    """A file of requests as JSON lines. Only this user may read it: requests hold ids, though no key."""

    def __init__(self, path: Path) -> None:
        """Create the file, or empty it; a SettingsError says that it cannot be written."""
        self._path = path
        try:
            path.touch(0o600)
            if path.is_file():  # a directory or a device is not ours
                path.chmod(0o600)  # an existing file may be readable for others
            self._file = path.open("wb")
        except OSError as error:
            msg = f"`--dry-run-output` ({path}) cannot be written: {error.strerror}."
            raise SettingsError([msg]) from error

    def write(self, recorded: Recorded) -> None:
        """Append a request, or raise a FatalRunError."""
        line = {"method": recorded.method, "path": recorded.path, "body": msgspec.Raw(recorded.body)}
        with self._writing():
            self._file.write(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Close the file. Its end is written only now, so this too may raise a FatalRunError."""
        with self._writing():
            self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"`--dry-run-output` ({self._path}) cannot be written: {error.strerror}. Nothing was changed."
            raise FatalRunError(msg, heading=Heading.REPORT) from error


class DryRun(Run):
    """A run that sends nothing, works on a copy of the store, and writes no dead letters and no STATE."""

    def __init__(self, config: Config, *, show_ids: bool, output: Path | None) -> None:
        """Open `output`, the file for the requests that would be sent, if given; see `RequestFile`."""
        # A collector would mistake its metrics for those of a run.
        settings = replace(config.settings, metrics_path=None, notify_url=None)
        super().__init__(replace(config, settings=settings))
        self._show_ids = show_ids
        # Piped output is often kept, and must hold no values from records.
        self._has_terminal = sys.stdout is not None and sys.stdout.isatty()
        self._first_records: dict[str, list[str]] = {}
        """The lines about the first record of each stream that would be sent. For a terminal only."""
        file = None if output is None else self._opened.enter_context(closing(RequestFile(output)))
        record = file.write if file else lambda _: None
        self._recording = DryRunTransport(HttpTransport(), self.settings.console_url, record)
        self._limiter_clock = self._waits = SkippingClock(self.clock)
        logger.info(
            "This is a dry run. It sends nothing, changes neither the store nor the dead letters, and writes no "
            "STATE. The messages below say what a run would have done."
        )

    @override
    def _open_transport(self) -> Transport:
        return self._recording

    @override
    def _open_store(self) -> Store:
        directory = self._store_opened.enter_context(TemporaryDirectory(prefix="target-statsig-dry-run-"))
        project = paths.project_identity(self.settings)
        return open_copy(
            paths.store_url(self.settings), Path(directory), clock=self.clock, project=project, run_id=self.run_id
        )

    @override
    def _open_dead_letters(self, directory: str) -> DeadLetters:
        return NoDeadLetters(directory, self.run_id)

    @override
    def _put_out(self, state: State) -> None:
        """Write nothing: a moved bookmark would lose the records that were not sent."""

    @property
    @override
    def is_acknowledged(self) -> bool:
        return False

    @override
    def _log_summary(self) -> None:
        forecast = Forecast(self._waits.skipped, has_server_key=self.settings.server_secret_key is not None)
        log_summary(self.report, self._ended_at, forecast)
        shown: list[str] = []
        for stream, lines in self._first_records.items():
            shown += [f"First record of stream '{stream}', as it would be sent:", *(f"  {line}" for line in lines)]
        if self._show_ids and self._has_terminal:
            shown += id_lines(self._recording.lists)
        for line in shown:
            click.echo(visible(line))
        if self._show_ids and not self._has_terminal:
            logger.warning(
                "`--show-ids` shows ids only on a terminal, and standard output is not one. `--dry-run-output` "
                "writes all ids to a file that only you can read."
            )

    @override
    def look_at(self, stream: str, batch: Batch, reader: RecordReader) -> None:
        if self._has_terminal and stream not in self._first_records:
            columns = reader.read(batch.part(0, min(len(batch), LOOKED_AT))).columns
            shown = first_record(columns, self.config.for_stream(stream), int(self.clock.time() * 1000))
            if shown:
                self._first_records[stream] = shown

    @override
    def _remember(self) -> None:
        """Record nothing."""


def first_record(columns: Columns, settings: StreamSettings, now_ms: int) -> list[str]:
    """Return lines with the first record that would be sent, as it would be, and the sources of its fields.

    Empty if there is none. `now_ms` is the present time in Unix milliseconds.
    """
    is_segment = settings.object_type is ObjectType.SEGMENT
    skips = settings.deleted_rows is DeletedRows.SKIP and not is_segment
    gone = {*deleted_rows(columns)} if skips else set()
    for row in range(len(columns)):
        if row not in gone:
            record = columns.take([row])
            shown = _change(record, settings) if is_segment else _item(record, settings, now_ms)
            if shown:
                return [*shown, *_read_from(record, settings)]
    return []


def _item(record: Columns, settings: StreamSettings, now_ms: int) -> list[str]:
    faults: Faults = {}
    items = ITEM_TYPES[settings.object_type].mapper(settings)(record, now_ms, MappingWarnings(), faults)
    try:
        text = msgspec.json.format(ENCODER.encode(items.items[0]), indent=2).decode()
    except (TypeError, ValueError, RecursionError, ArithmeticError):
        return []
    return [] if faults else text.splitlines()


def _change(record: Columns, settings: StreamSettings) -> list[str]:
    """Return a line for each id that joins or leaves a segment."""
    changes = MemberMapper(settings).changes(record, {}).items()
    return [
        f"{'add' if joins else 'remove'} {member} ({segment})"
        for segment, members in changes
        for member, joins in members.items()
    ]


def _read_from(record: Columns, settings: StreamSettings) -> Iterator[str]:
    """Yield the column that fills each destination in a record."""
    is_message, kind = reads_messages(settings), settings.object_type
    named = [
        (destination, sources_of(destination, settings.field_mapping, of_messages=is_message))
        for destination in ((id_destination(settings),) if kind is ObjectType.SEGMENT else DESTINATIONS[kind])
        if getattr(settings, destination, None) is None  # which replaces the column for every record
    ]
    if kind in {ObjectType.EVENT, ObjectType.EXPOSURE}:
        named += [(name, listed(own)) for name, own in {**settings.custom_ids, **settings.custom_fields}.items()]
        named.append(("environment_tier", listed(settings.environment_tier_field or ())))
    if is_message:
        record = read_objects(record)
    for destination, sources in named:
        for place in places(sources, record.names):
            if (record.at(place) or [None])[0] is not None:
                yield f"{destination} \N{LEFTWARDS ARROW} {'.'.join((place.column, *place.path))}"
                break
