"""Short functions for a tap's messages, and a small singer-sdk tap."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path

from target_statsig.config.choices import ObjectType, SyncMode
from target_statsig.config.settings import StreamSettings
from target_statsig.segments.observer import StreamObserver

SAMPLES = Path(__file__).parents[1] / "data"


def schema(stream, **members):
    return [{"type": "SCHEMA", "stream": stream, **members}]


def records(stream, count=1, row_count=None, version=1):
    row = {} if row_count is None else {"n": row_count}
    return [{"type": "RECORD", "stream": stream, "record": row, "version": version}] * count


def activate(stream, version=1):
    return [{"type": "ACTIVATE_VERSION", "stream": stream, "version": version}]


def raw_state(value):
    return [{"type": "STATE", "value": value}]


def state(**bookmarks):
    return raw_state({"bookmarks": bookmarks})


def sample(name):
    return [json.loads(line) for line in (SAMPLES / name).read_text().splitlines()]


def mirroring(stream):
    """Return an observer of a run that mirrors a stream."""
    observer = StreamObserver()
    observer.follow(stream, stream, StreamSettings(ObjectType.SEGMENT, sync_mode=SyncMode.MIRROR, segment_id="vips"))
    return observer


def observe(*parts, row_count_field="n", observer=None):
    """Show lists of messages to an observer, by default a new one, as the target would."""
    observer = observer or StreamObserver()
    for message in (message for part in parts for message in part):
        match message["type"]:
            case "SCHEMA":
                observer.schema(message, dead_letter="dead" in message)
            case "RECORD":
                row_count = message["record"].get(row_count_field)
                observer.record(message["stream"], row_count, version=message.get("version"))
            case "ACTIVATE_VERSION":
                observer.activate_version(message["stream"], message["version"])
            case "STATE":
                observer.state(message["value"])
    return observer


@dataclass
class SdkStream:
    """A FULL_TABLE stream; for each of its rows, all rows of its children come."""

    name: str
    rows: int
    children: list[SdkStream] = field(default_factory=list)
    selected: bool = True
    files: int = 0
    """How many partitions the stream declares, with `rows` rows each; 0 for a stream without partitions."""

    @property
    def synced(self):
        return self.selected or any(child.synced for child in self.children)


class SdkTap:
    """Writes the messages of `singer_sdk.Tap.sync_all` for FULL_TABLE streams, as version 0.54 does."""

    def __init__(self, streams, *, cadence, start=None):
        self.messages = []
        # singer-sdk loads a state member by member, so that an empty bookmark is lost.
        loaded = {stream: bookmark for stream, bookmark in (start or {}).get("bookmarks", {}).items() if bookmark}
        self._state = {"bookmarks": copy.deepcopy(loaded)} if loaded else {}
        self._emitted = None
        self._cadence = cadence
        if self._state:
            self._write_state()
        for stream in sorted(streams, key=lambda stream: stream.name):
            if stream.synced:
                self._sync(stream, None)
                self._finalize(stream)

    def _write_state(self):
        if self._state != self._emitted:
            self._emitted = copy.deepcopy(self._state)
            self.messages += raw_state(self._emitted)

    def _bookmark(self, stream, context=None):
        bookmark = self._state.setdefault("bookmarks", {}).setdefault(stream.name, {})
        if context is not None:
            partitions = bookmark.setdefault("partitions", [])
            if {"context": context} not in partitions:
                partitions.append({"context": context})

    def _sync(self, stream, context):
        if stream.selected:
            self.messages += schema(stream.name)
        written = 0
        for part in [{"file": number} for number in range(stream.files)] or [context]:
            for row in range(stream.rows):
                for child in stream.children:
                    if child.synced:
                        self._sync(child, {"parent": row})
                if stream.selected:
                    self.messages += records(stream.name)
                    written += 1
                    if written % self._cadence == 0:
                        self._bookmark(stream)
                        self._write_state()
            self._bookmark(stream, part)
        self._write_state()

    def _finalize(self, stream):
        for child in stream.children:
            if child.selected:
                self._finalize(child)
        if stream.selected:
            self._bookmark(stream)
            self._write_state()
