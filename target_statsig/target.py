"""The target: where each Singer message goes, the end of a run, and the command line.

The way of a record:

1. `singer.reader` passes consecutive RECORD lines of one of the tap's streams, as a batch, to `_take_records`.
2. `_take_records` passes the batch to the sinks that the stream feeds: the lines as they are if no stream map changes
   them, and else decoded and mapped.
3. `StatsigSink.take` adds what decodes the lines, and passes both to the `accept` of its stream, which `Run.streams`
   has made by the stream's `object_type`.
4. An event goes on in `events`: `EventStream` gathers lines to a request, `prepare` decodes, validates, maps and
   encodes them, and `Delivery` asks the ledger, sends, and splits what is refused.
   A member goes on in `segments`: `SegmentStream` decodes the lines and reads ids from them. `RowSync` sends the
   changes while the input comes, and `MirrorSync` after it.

A STATE goes to `Run.take_state`, which holds it until everything before it is acknowledged.
"""

from __future__ import annotations

import copy
import os
import signal
import sys
from typing import IO, TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from singer_sdk import Target
from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import ConfigValidationError, RecordsWithoutSchemaException
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers.capabilities import CapabilitiesEnum, PluginCapabilities, TargetCapabilities
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform
from singer_sdk.plugin_base import _ConfigInput
from typing_extensions import override

from target_statsig.commands import command_line
from target_statsig.config.load import VARIABLE_PREFIX, check_trial, read_config_files, restore_keys, typed
from target_statsig.config.settings import config_schema
from target_statsig.errors import NO_STATE_PASSES, InputError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import FrameType

    import click

    from target_statsig.commands.run import Run
    from target_statsig.config.parse import Config
    from target_statsig.singer.message import Message
    from target_statsig.singer.reader import SingerMessageReader
    from target_statsig.singer.records import Batch
    from target_statsig.singer.sinks import StatsigSink


class MissingSchemaError(InputError, RecordsWithoutSchemaException):
    """A RECORD comes before the SCHEMA of its stream."""


class TargetStatsig(Target):
    """Singer target for Statsig: events, exposures, precomputed metrics and ID-list segments."""

    name = "target-statsig"
    package_name = "target-statsig"
    config_jsonschema = config_schema()
    message_reader: SingerMessageReader
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        PluginCapabilities.ABOUT,
        PluginCapabilities.ACTIVATE_VERSION,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
        TargetCapabilities.VALIDATE_RECORDS,
    ]
    run_config: Config

    def __init__(
        self,
        *,
        config: dict[str, Any],
        parse_env_config: bool = False,
        dry_run: bool = False,
        show_ids: bool = False,
        dry_run_output: Path | None = None,
    ) -> None:
        """Prepare the run.

        `config` are the settings of all files. The other arguments are what the command line says; `parse_env_config`
        is to read variables too.

        Raises:
            ConfigValidationError: With all errors in the configuration.
        """
        from target_statsig.singer.reader import SingerMessageReader

        self._overrides = {"dry_run": True} if dry_run else {}
        try:
            super().__init__(config=config, parse_env_config=parse_env_config, message_reader=SingerMessageReader())
            self.run = self._new_run(show_ids=show_ids, dry_run_output=dry_run_output)
        except SettingsError as error:
            msg = "Nothing was read or sent."
            raise ConfigValidationError(msg, errors=error.errors) from error
        self._fed: dict[str, dict[str, StatsigSink]] = {}
        """The sinks that each stream of the tap feeds, by their names after stream maps."""
        self.message_reader.between_blocks = self.run.tick
        self.message_reader.take_records = self._take_records

    # The messages

    @override
    def get_sink_class(self, stream_name: str) -> type[StatsigSink]:
        from target_statsig.singer.sinks import StatsigSink

        return StatsigSink

    @override
    def _process_schema_message(self, message_dict: Message) -> None:
        from target_statsig.singer.dead_letters import MARK
        from target_statsig.singer.schema import normalize

        self._assert_line_requires(message_dict, {"stream", "schema"})
        normalized = normalize(message_dict, self.message_reader.error)
        stream = message_dict["stream"]
        # singer-sdk changes the schema that it is given. Dead letters need the tap's own.
        original = copy.deepcopy(message_dict)
        self.run.streams.replaying = bool(message_dict.get(MARK))
        self.run.sources.schema(message_dict, dead_letter=self.run.streams.replaying)
        registered = self.mapper.stream_maps.get(stream)
        super()._process_schema_message(normalized)
        stream_maps = self.mapper.stream_maps[stream]
        if stream_maps is not registered:
            # Two streams of the tap may share an alias, for which singer-sdk keeps only the sink of the last SCHEMA.
            names = {stream_map.stream_alias for stream_map in stream_maps} & self._sinks_active.keys()
            self._fed[stream] = {name: cast("StatsigSink", self._sinks_active[name]) for name in sorted(names)}
        for name, sink in self._fed[stream].items():
            sink.take_schema(original)
            self.run.streams.take_schema(name, original, sink.schema)

    def _take_records(self, tap_stream: str, number: int, batch: Batch) -> None:
        """Pass RECORD messages to the sinks that their stream feeds; the first is on line `number`.

        Raises:
            InputError: The stream has no SCHEMA yet, or a line is not a RECORD message.
        """
        from target_statsig.singer.reader import unreadable
        from target_statsig.singer.records import Batch, decode_records

        stream_maps = self.mapper.stream_maps.get(tap_stream)
        if stream_maps is None:
            raise MissingSchemaError(str(unreadable(number, f"is a RECORD of '{tap_stream}' before its SCHEMA")))
        first = stream_maps[0]
        is_mapped = len(stream_maps) > 1 or type(first) is not SameRecordTransform or first.flattening_enabled
        if not (is_mapped or self.config.get("add_record_metadata")):
            if tap_stream in self.run.streams.events:  # a segment's stream counts its records when it decodes them
                self.run.sources.record(tap_stream, count=len(batch))
            self._fed[tap_stream][tap_stream].take(tap_stream, number, batch)
            return
        messages, fault = decode_records(tap_stream, batch)
        self.run.sources.records(tap_stream, messages)
        decoded = Batch(batch.lines[: len(messages)], messages)
        for stream_map in stream_maps:
            if not isinstance(stream_map, RemoveRecordTransform):
                self._fed[tap_stream][stream_map.stream_alias].take_mapped(stream_map, tap_stream, number, decoded)
        if fault is not None:
            raise unreadable(number + len(messages), fault)

    @override
    def _process_state_message(self, message_dict: Message) -> None:
        self._assert_line_requires(message_dict, {"value"})
        self.run.take_state(message_dict["value"])

    @override
    def _process_activate_version_message(self, message_dict: Message) -> None:
        self._assert_line_requires(message_dict, {"stream", "version"})
        if self.config.get("process_activate_version_messages", True):
            self.run.sources.activate_version(message_dict["stream"], message_dict["version"])

    @override
    def _process_batch_message(self, message_dict: Message) -> NoReturn:
        msg = (
            "The tap sent a BATCH message. These are refused, because their files would bypass stream maps and "
            f"validation. {NO_STATE_PASSES} Remove `batch_config` from the tap's configuration, so that it sends "
            "RECORD messages."
        )
        raise InputError(msg)

    @override
    def _handle_max_record_age(self) -> None:
        """Do nothing: singer-sdk would write a STATE before its records are acknowledged."""

    # The end

    def run_to_end(self, file_input: Iterable[str] | Iterable[bytes] | None) -> int:
        """Read all input, or standard input if there is none, and end the run. Return the exit code.

        STATE, report and summary are written even if the run fails.
        """
        try:
            self.listen(cast("IO[str] | None", file_input))
        except Exception as error:  # noqa: BLE001 -- the report must say what was delivered, whatever failed
            self.run.fail(error)
        if not self.run.ended:
            self._end(complete=False)
        return self.run.report.exit_code

    @override
    def process_endofpipe(self) -> None:
        self._end(complete=True)
        if self.run.failure is not None:
            raise self.run.failure

    def _end(self, *, complete: bool) -> None:
        try:
            # singer-sdk logs its metrics here, before the summary, which is the end of the log.
            for sink in (*self._sinks_to_clear, *self._sinks_active.values()):
                sink.clean_up()
        finally:
            self.run.end(complete=complete)

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """Stop the run in good order at the first signal, and at once at the second, or while the target starts."""
        if not hasattr(self, "run") or self.run.report.stop_signal is not None:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        self.run.stop(signum)
        self.message_reader.stop = True
        if self.message_reader.waiting:
            self.message_reader.check_stop()

    def replay(self) -> int:
        """Send all dead letters again, delete the files of those that arrived, and return the exit code."""
        from target_statsig.commands.replay import dead_letters

        lines = dead_letters(self.run)
        return self.run.report.exit_code if lines is None else self.run_to_end(lines)

    # The configuration

    @classmethod
    @override
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        super().append_builtin_config(config_jsonschema)
        config_jsonschema["properties"].pop("load_method", None)
        # In singer-sdk 0.54 this `anyOf` holds a string instead of a schema, on which validators fail.
        maps = config_jsonschema["properties"]["stream_maps"]
        for schema in (maps, *maps["additionalProperties"]["anyOf"]):
            schema.get("properties", {}).get("__else__", {}).pop("anyOf", None)

    @classmethod
    def _whole_schema(cls) -> dict[str, Any]:
        schema = copy.deepcopy(cls.config_jsonschema)
        cls.append_builtin_config(schema)
        return schema

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 -- of the class, as in singer-sdk
        schema = cls._whole_schema()
        # As texts: singer-sdk would fail with a bare `ValueError` if a number is none, and read a typo as false.
        texts = {"properties": {name: {"type": "string"} for name in schema["properties"]}}
        return typed(parse_environment_config(texts, VARIABLE_PREFIX), schema)

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        from target_statsig.config.parse import parse_config

        schema = self._whole_schema()
        self._config = restore_keys(self._config, os.environ) | self._overrides
        self.run_config = parse_config(self._config, schema)
        check_trial(self.run_config.settings, os.environ)
        return []

    @override
    def setup_mapper(self) -> None:
        from target_statsig.singer.sinks import StreamMaps

        self._mapper = StreamMaps(self.config, self.logger)

    def _new_run(self, *, show_ids: bool, dry_run_output: Path | None) -> Run:
        if self.run_config.settings.dry_run:
            from target_statsig.commands.dry_run import DryRun

            return DryRun(self.run_config, show_ids=show_ids, output=dry_run_output)
        if show_ids or dry_run_output is not None:
            raise SettingsError(["`--show-ids` and `--dry-run-output` need `--dry-run`."])
        from target_statsig.commands.run import Run

        return Run(self.run_config)

    # The command line

    @classmethod
    @override
    def invoke(
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: _ConfigInput | None = None,
        file_input: IO[str] | None = None,
        **given: Any,
    ) -> None:
        super(Target, cls).invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=cls.logger.info)
        command_line.quieten()
        if conflicts := list(command_line.conflicts({**given, "file_input": file_input})):
            command_line.turn_down(conflicts)
        option = given.get
        if option("suggest"):
            command_line.show_suggestion(cast("IO[bytes] | None", file_input))
        config = config or _ConfigInput()
        try:
            target = cls(
                config=config.config,
                parse_env_config=config.parse_env,
                dry_run=bool(option("dry_run")),
                show_ids=bool(option("show_ids")),
                dry_run_output=option("dry_run_output"),
            )
        except ConfigValidationError as error:
            errors = error.errors
            command_line.turn_down(errors if config.parse_env else command_line.name_unread_keys(errors, os.environ))
        command_line.show(target.run, option)
        if not (config.parse_env or target.run_config.settings.dry_run):
            command_line.refuse_unread_dry_run(os.environ)
        if option("apply_held"):
            from target_statsig.commands.apply_held import apply_held

            sys.exit(apply_held(target.run, option("segment")))
        from target_statsig.events.workers import collect_seldom

        collect_seldom()
        if option("send") is not None:
            from target_statsig.engine.send import send_table

            sys.exit(send_table(target.run, given["send"]))
        command_line.leave(target.replay() if option("replay") else target.run_to_end(file_input))

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> _ConfigInput:
        files = [path for path in value if path != "ENV"]
        try:
            return _ConfigInput(read_config_files(files), parse_env=len(files) < len(value))
        except SettingsError as error:
            command_line.turn_down(error.errors)

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        return command_line.extend(super().get_singer_command())
