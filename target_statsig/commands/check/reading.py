"""Asks Statsig and the store what a check wants to know: calls that read, and a store that stays as it is."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from target_statsig.client.console import ConsoleClient
from target_statsig.client.http import HttpTransport
from target_statsig.client.rate_limit import RateLimiter, parse_rate_windows
from target_statsig.client.sender import Sender
from target_statsig.commands.check.rows import EVERY_STREAM, Found, NotFound, sections
from target_statsig.config import paths
from target_statsig.errors import (
    AuthenticationError,
    FatalRunError,
    RefusedError,
    RequestError,
    SettingsError,
    StoreError,
)
from target_statsig.store import look_at_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_statsig.client.console import Segment
    from target_statsig.client.http import Transport
    from target_statsig.clock import Clock
    from target_statsig.commands.check.row import Section
    from target_statsig.config.parse import Config
    from target_statsig.config.settings import Settings, StreamSettings
    from target_statsig.store.readonly import StoreLook

PATIENCE = 15
"""Seconds after which a call counts as failed; a run waits for `retry_timeout`, but who checks wants an answer."""


def check(config: Config, clock: Clock) -> list[Section]:
    """Look at everything that a run with this configuration would need.

    Args:
        config: The configuration, found good in itself.
        clock: For waits between tries.

    Returns:
        The rows, in sections.
    """
    with closing(HttpTransport()) as transport:
        streams = streams_of(config)
        return sections(config.settings, streams, find_out(config.settings, streams, transport, clock))


def streams_of(config: Config) -> dict[str, StreamSettings]:
    """Return the settings of each entry of `streams`, and under `*` those of all other streams, if they have any."""
    streams = {name: config.for_stream(name) for name in config.entries}
    if "object_type" in config.defaults and EVERY_STREAM not in streams:
        with suppress(SettingsError):  # what the entries have in common may be too little for any other stream
            streams[EVERY_STREAM] = config.for_stream(EVERY_STREAM)
    return streams


def find_out(settings: Settings, streams: dict[str, StreamSettings], transport: Transport, clock: Clock) -> Found:
    """Ask Statsig and the store.

    Args:
        settings: The run's settings.
        streams: The streams' settings by name.
        transport: What sends.
        clock: For waits between tries.
    """
    store, now = _look(settings, clock), clock.time()
    if not settings.console_api_key:
        return Found(None, None, {}, store, now)
    try:
        console = _console(settings, transport, clock)
        id_types = console.unit_id_types()
        segment_ids = dict.fromkeys(stream.segment_id for stream in streams.values() if stream.segment_id is not None)
        segments = _segments(console, segment_ids)
    except (AuthenticationError, FatalRunError, RequestError) as error:
        return Found(f"{error.heading.value}: {error}", None, {}, store, now)
    return Found(None, id_types, segments, store, now)


def _segments(console: ConsoleClient, segment_ids: Iterable[str]) -> dict[str, Segment | NotFound | str]:
    found: dict[str, Segment | NotFound | str] = {}
    for segment_id in segment_ids:
        try:
            found[segment_id] = console.segment(segment_id)
        except RefusedError as error:
            absent = error.status == HTTPStatus.NOT_FOUND
            found[segment_id] = NotFound(error.message) if absent else str(error)
        except RequestError as error:
            found[segment_id] = str(error)
    return found


def _look(settings: Settings, clock: Clock) -> StoreLook | str:
    try:
        url = paths.store_url(settings, os.environ, Path.cwd)
        return look_at_store(url, clock=clock, project=paths.project_identity(settings))
    except StoreError as error:
        return str(error)


def _console(settings: Settings, transport: Transport, clock: Clock) -> ConsoleClient:
    return ConsoleClient(
        Sender(transport, clock, retry_timeout=min(settings.retry_timeout, PATIENCE)),
        base_url=settings.console_url,
        key=settings.console_api_key or "",
        timeout=min(settings.request_timeout, PATIENCE),
        limiter=RateLimiter(parse_rate_windows(settings.console_rate_limits), clock),
    )
