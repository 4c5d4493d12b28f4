"""Sending a table of prepared requests, by the same delivery as lines from a pipe."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from typing_extensions import override

from target_statsig.config.choices import ObjectType
from target_statsig.engine.files import NO_ROWS, NOTHING_SENT, open_table, refusal
from target_statsig.engine.ledger import RowLedger, TableLedger
from target_statsig.engine.table import config_digest
from target_statsig.errors import RejectionsError, StoreError
from target_statsig.events.items import ITEM_TYPES
from target_statsig.events.prepare import Preparation, Prepared
from target_statsig.reports.report import MappingWarnings
from target_statsig.reports.text import counted
from target_statsig.singer.dead_letters import ALL, too_many
from target_statsig.singer.records import Batch, RecordReader
from target_statsig.store.ledger import NoLedger
from target_statsig.store.tables import Command

if TYPE_CHECKING:
    from target_statsig.commands.run import Run
    from target_statsig.config.settings import StreamSettings
    from target_statsig.engine.files import PreparedTable
    from target_statsig.engine.table import Row
    from target_statsig.events.stream import EventStream
    from target_statsig.singer.message import Message

logger = logging.getLogger(__name__)


def send_table(run: Run, url: str) -> int:
    """Send the requests of a table that are not acknowledged yet, and end the run with its report and summary.

    `url` is as in `open_table`. Returns the exit code: 0 if complete, 1 if failed, 128 plus the signal's number if
    interrupted.
    """
    run.command = Command.SEND
    sender: _Sender | None = None
    try:
        table = open_table(url)
        if table is None:
            logger.info(NO_ROWS)
        else:
            sender = _Sender(run, table, check_table(run, table))
            sender.send()
    except Exception as error:  # noqa: BLE001 -- whatever fails, the report must say what was sent
        run.fail(error)
    run.end_sending(lambda: sender.ledger.flush() if sender else None)
    return run.report.exit_code


def check_table(run: Run, table: PreparedTable) -> StreamSettings:
    """Return the settings of a table's stream, after checking that the table may be sent with them.

    Raises:
        SettingsError: The stream has no `object_type`.
        InputError: The table was prepared with other settings, or for a segment.
        RejectionsError: More records were rejected than `max_rejected_percent` allows.
    """
    settings = run.config.for_stream(table.stream)
    if settings.object_type is ObjectType.SEGMENT:
        fault = f"is of stream '{table.stream}', which goes to a segment under this configuration"
        raise refusal(table.url, fault, "Send its rows through a tap.")
    if config_digest(run.settings, settings) != table.config_digest:
        fault = f"was prepared for stream '{table.stream}' with another configuration"
        remedy = (
            "Prepare it again with this one, or send it with that one. The stream's settings, `compression` and the "
            "batch sizes must be the same."
        )
        raise refusal(table.url, fault, remedy)
    rejected, max_percent = table.rejections.total(), settings.max_rejected_percent
    is_all = not table.requests and max_percent < ALL
    if rejected and (max_percent == 0 or is_all or too_many(table.records, rejected, max_percent)):
        worst = ", ".join(f"{reason} {count:,}" for reason, count in table.rejections.most_common(3))
        msg = (
            f"The preparation rejected {rejected:,} of {counted(table.records, 'record')} of the table at {table.url} "
            f"({worst}), more than `max_rejected_percent` allows ({max_percent}). {NOTHING_SENT} Fix the mapping or "
            "the rows and prepare it again, or raise `max_rejected_percent`."
        )
        raise RejectionsError(msg)
    return settings


class _Sender:
    def __init__(self, run: Run, table: PreparedTable, settings: StreamSettings) -> None:
        """Open the ledgers, and keep other runs out of the stream."""
        self._run = run
        self._table = table
        self._turn = threading.Lock()
        self._settings = settings
        requests, records = run.store.ledgers_of_table(
            table.stream,
            object_type=str(settings.object_type),
            keep_days=settings.dedupe_days,
            table=table.identity,
            part=table.part,
        )
        requests.begin()
        self.ledger = TableLedger(requests, records if settings.dedupe else NoLedger(), run.dead_letters.flush)
        self._rows = table.rows(before_waiting=self.ledger.record)
        self._stream: EventStream = run.streams.add_prepared(table.stream, requests, expected=table.records)
        self._counts = run.report.items(table.stream, settings.object_type)
        self._readings: dict[str, tuple[Message, Preparation]] = {}

    def send(self) -> None:
        """Start the threads that send all rows. A signal ends them early."""
        table = self._table
        logger.info(
            "Sending %s of stream '%s' in %s from %s; environment tier: %s.",
            counted(table.records - table.rejections.total(), "record"),
            table.stream,
            counted(table.requests, "request"),
            table.url,
            self._settings.environment_tier or "none",
        )
        for _ in range(self._run.settings.max_parallel_requests):
            self._run.pool.submit(self._send_rows)

    def _send_rows(self) -> None:
        """Send rows until there are none left."""
        try:
            while (row := self._next_row()) is not None:
                self._send(row)
        except BaseException:
            try:
                self.ledger.record()
            except StoreError as error:
                self._run.fail(error)  # besides the first error, and not in its place
            raise
        self.ledger.record()

    def _next_row(self) -> Row | None:
        """Return the next row; None if there is none, or if the run was stopped."""
        if not self._turn.acquire(blocking=False):
            self.ledger.record()
            self._turn.acquire()
        try:
            self._run.tick(0)
            return None if self._run.report.stop_signal is not None else next(self._rows, None)
        finally:
            self._turn.release()

    def _send(self, row: Row) -> None:
        ledger = RowLedger(row, self.ledger)
        skipped = row.count if ledger.is_settled or ledger.is_delivered else 0
        if skipped or row.body is None:
            self.ledger.record()
        with self._run.report.lock:
            self._counts.records += row.deleted + skipped
            self._counts.deleted_row += row.deleted
            self._counts.skipped_duplicates += skipped
        if ledger.is_settled or row.source is None:
            return
        schema, preparation = self._reading(row)
        batch = Batch(_Lines(row))
        if ledger.is_delivered:
            batch = batch.take([line for line, _, _ in row.rejections])
        # A divided request is prepared again, because each of its records is looked up.
        prepared = None if ledger.was_split else _prepared(row, sends=not ledger.is_delivered)
        self._stream.deliver_prepared(prepared, preparation, schema, batch, ledger)
        if row.rejections or ledger.was_split:
            self.ledger.settle(ledger)

    def _reading(self, row: Row) -> tuple[Message, Preparation]:
        """Return the SCHEMA message of a row's records, and the preparation for parts of the row."""
        text = self._table.schemas[row.partition, row.attempt]
        if text not in self._readings:
            schema = msgspec.json.decode(text)
            stream, settings, compression = self._table.stream, self._settings, self._run.settings.compression
            reader = RecordReader(stream, stream, schema["schema"], (), validates=False)
            item_type = ITEM_TYPES[settings.object_type]
            # With digests, by which the ledger records the single records of a divided request.
            preparation = Preparation(
                reader, settings, item_type, remembers=True, compression=compression, replication_key=None
            )
            self._readings[text] = (schema, preparation)
        return self._readings[text]


class _Lines(Sequence[bytes]):
    """The lines of a row, decompressed when first needed: for rejected, refused or already delivered records."""

    def __init__(self, row: Row) -> None:
        self._row = row

    @override
    def __len__(self) -> int:
        return self._row.count + len(self._row.rejections)

    @override
    def __getitem__(self, place: Any) -> Any:
        return self._lines[place]

    @cached_property
    def _lines(self) -> list[bytes]:
        return self._row.lines


def _prepared(row: Row, *, sends: bool) -> Prepared:
    """Return a row as a prepared batch; with its rejections alone, and only their lines, unless it `sends`."""
    request = row.request if sends else None
    rejected = row.rejections
    if not sends:
        rejected = [(number, reason, field) for number, (_, reason, field) in enumerate(rejected)]
    return Prepared(
        requests=[] if request is None else [request],
        rejected=rejected,
        digests=b"" if request is None else request.digests,
        rows=row.rows,
        highest=None,
        deleted=0,
        unreadable=None,
        readable=len(rejected) + (row.count if sends else 0),
        warnings=row.mapping_warnings if sends else MappingWarnings(),
    )
