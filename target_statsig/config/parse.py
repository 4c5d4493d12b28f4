"""The configuration as values: the run's settings, and those of a stream by its name or a glob."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import msgspec

from target_statsig.config.checks import fit, run_errors, segment_conflicts, stream_errors
from target_statsig.config.choices import ObjectType, SyncMode
from target_statsig.config.settings import STREAM_TYPES, Settings, StreamSettings
from target_statsig.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

WILDCARDS = frozenset("*?[]")


@dataclass(slots=True)
class Config:
    """A valid configuration: the settings of the run, and on demand those of a stream.

    Attributes:
        settings: The settings of the run.
        defaults: The stream settings at the top level, which alone may not be enough for a stream.
        entries: The entries of `streams`, with the defaults filled in.
    """

    settings: Settings
    defaults: dict[str, Any]
    entries: dict[str, StreamSettings]
    _streams: dict[str, StreamSettings] = field(default_factory=dict)

    def for_stream(self, stream: str) -> StreamSettings:
        """Return a stream's settings, by its name after the stream maps.

        Raises:
            SettingsError: The stream has no `object_type`, two globs match it equally well, the defaults have errors,
                or another stream feeds a segment that one of them mirrors.
        """
        if stream not in self._streams:
            found = self._found(stream)
            conflicts = segment_conflicts({**self._streams, stream: found})
            if conflicts:
                raise SettingsError(conflicts)
            self._streams[stream] = found
        return self._streams[stream]

    def mirrored(self, stream: str, segment_id: str) -> StreamSettings | None:
        """Return the settings of a stream if it mirrors this segment, perhaps among others; else None."""
        try:
            found = self._found(stream)
        except SettingsError:
            return None
        feeds = found.segment_id_field is not None or found.segment_id == segment_id
        return found if found.sync_mode is SyncMode.MIRROR and feeds else None

    @property
    def mirrored_segments(self) -> set[str | None]:
        """The segments that streams mirror, with None for all that a column names. Empty if no stream is a mirror."""
        pairs = [(self.defaults.get("segment_id"), self.defaults.get("sync_mode"))]
        pairs += [(entry.segment_id, entry.sync_mode) for entry in self.entries.values()]
        return {segment_id for segment_id, mode in pairs if mode == SyncMode.MIRROR}

    def _found(self, stream: str) -> StreamSettings:
        key = find_entry(stream, self.entries)
        if key is not None:
            return self.entries[key]
        if "object_type" not in self.defaults:
            text = f"stream '{stream}': `object_type` is missing"
            remedy = f"Set it in an entry for this stream or at the top level to one of {', '.join(ObjectType)}."
            if self.entries:
                text += f", because no entry of `streams` matches it (there are {', '.join(map(repr, self.entries))})"
            elif not self.defaults:
                text += ", and so is every other setting"
                remedy = "Give `--config` a file, or ENV for the environment."
            raise SettingsError([f"{text}. {remedy}"])
        found = _stream_settings(self.defaults)
        if errors := [f"stream '{stream}': {text}" for text in stream_errors(found)]:
            raise SettingsError(errors)
        return found

    @property
    def names_of_row_streams(self) -> list[str]:
        """The streams with an exact name whose rows add to, or remove from, a `segment_id`."""
        return [
            name
            for name, entry in self.entries.items()
            if entry.object_type is ObjectType.SEGMENT
            and entry.sync_mode in {SyncMode.ADD, SyncMode.REMOVE}
            and entry.segment_id is not None
            and not WILDCARDS.intersection(name)
        ]


def find_entry(stream: str, entries: Collection[str]) -> str | None:
    """Return the key of `streams` that a stream belongs to, or None.

    An exact name wins; among globs the one with the longest literal part.

    Raises:
        SettingsError: Two globs match equally well.
    """
    if stream in entries:
        return stream
    matches = sorted((key for key in entries if fnmatchcase(stream, key)), key=_literal_length, reverse=True)
    if len(matches) > 1 and _literal_length(matches[0]) == _literal_length(matches[1]):
        msg = (
            f"`streams`: '{matches[0]}' and '{matches[1]}' match stream '{stream}' equally well. "
            "Add an entry with the stream's exact name."
        )
        raise SettingsError([msg])
    return matches[0] if matches else None


def _literal_length(pattern: str) -> int:
    return sum(character not in WILDCARDS for character in pattern)


def parse_config(raw: Mapping[str, Any], schema: Mapping[str, Any]) -> Config:
    """Read a configuration with whole keys (`load.restore_keys`), by the closed schema of all settings.

    Raises:
        SettingsError: With every error of the configuration.
    """
    present, misfits = fit({name: value for name, value in raw.items() if value is not None}, schema)
    settings = msgspec.convert(present, Settings, strict=False)
    defaults = {name: present[name] for name in STREAM_TYPES if name in present}
    given = {
        stream: defaults | {name: value for name, value in entry.items() if value is not None}
        for stream, entry in present.get("streams", {}).items()
    }
    entries = {stream: _stream_settings(entry) for stream, entry in given.items() if "object_type" in entry}
    used = {entry["object_type"] for entry in (defaults, *given.values()) if "object_type" in entry}
    errors = [*run_errors(settings, used)]
    errors += [
        f"streams.{stream}: `object_type` is missing. Set it in this entry or at the top level to one of "
        f"{', '.join(ObjectType)}."
        for stream in given
        if stream not in entries
    ]
    errors += [f"streams.{stream}: {text}" for stream, entry in entries.items() for text in stream_errors(entry)]
    if not given and "object_type" in defaults:
        errors += stream_errors(_stream_settings(defaults))
    # A wrong default is not told of each stream too.
    reported = {_subject(text) for text in misfits}
    errors = misfits + [text for text in errors if reported.isdisjoint({_subject(text), ("", _subject(text)[1])})]
    if not errors:
        errors = segment_conflicts(entries)
    if errors:
        raise SettingsError(errors)
    return Config(settings, defaults, entries)


def _subject(text: str) -> tuple[str, str]:
    """Return the place of the setting that the text of an error is about, empty at the top level, and its name."""
    place, name, _ = text.split("`", 2)
    return place, name.partition(".")[0]


def _stream_settings(entry: Mapping[str, Any]) -> StreamSettings:
    # Not strict: the schema takes 5.0 for an integer.
    return msgspec.convert(entry, StreamSettings, strict=False)
