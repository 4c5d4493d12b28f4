"""What a run needs of the outside: the two clients, the store and its ledger, each built when first needed.

A run without events builds no events client, and one that remembers nothing opens no store.
"""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from target_statsig.client.events import EventsClient
from target_statsig.client.sender import Sender
from target_statsig.config import paths

if TYPE_CHECKING:
    from target_statsig.client.console import ConsoleClient
    from target_statsig.client.http import Transport
    from target_statsig.client.rate_limit import RateLimiter
    from target_statsig.clock import Clock
    from target_statsig.config.settings import Settings
    from target_statsig.parts import Parts
    from target_statsig.store.members import Pending
    from target_statsig.store.store import Store

SQLITE = "sqlite:///"

NO_KEY = "none"
"""What stands for a key where there is none: only a dry run, which sends nothing, gets so far without one."""


class Services:
    """The outside of one run."""

    def __init__(self, settings: Settings, clock: Clock, run_id: str, parts: Parts) -> None:
        """Build nothing yet."""
        self._settings = settings
        self._clock = clock
        self._run_id = run_id
        self._parts = parts

    @cached_property
    def events(self) -> EventsClient:
        """What sends events."""
        settings = self._settings
        return EventsClient(
            self._sender,
            base_url=settings.events_url,
            key=settings.server_secret_key or NO_KEY,
            compression=settings.compression,
            timeout=settings.request_timeout,
            clock=self._clock,
            at_once=settings.max_parallel_requests,
        )

    @cached_property
    def console(self) -> ConsoleClient:
        """What reads and changes segments; all segments of the run share its rate limiter."""
        from target_statsig.client.console import ConsoleClient

        settings = self._settings
        return ConsoleClient(
            self._sender,
            base_url=settings.console_url,
            key=settings.console_api_key or "",
            timeout=settings.request_timeout,
            limiter=self.limiter,
        )

    @cached_property
    def limiter(self) -> RateLimiter:
        """What spaces the list mutations of all segments, and of all runs that share a store."""
        from target_statsig.client.rate_limit import RateLimiter, parse_rate_windows

        windows = parse_rate_windows(self._settings.console_rate_limits)
        log = None
        if self.store_exists:
            log = self.store.request_log(keep=2.0 * max(window.seconds for window in windows))
        return RateLimiter(windows, self._parts.pace, log)

    def seconds_for(self, requests: int) -> float:
        """Return how many seconds so many list mutations take from now."""
        return self.limiter.seconds_for(requests)

    @cached_property
    def store(self) -> Store:
        """What remembers memberships.

        Raises:
            StoreError: It cannot be used.
        """
        return self._parts.open_store(
            self._store_url, clock=self._clock, project=project_identity(self._settings), run_id=self._run_id
        )

    def pending(self, segment_id: str) -> Pending:
        """Return the changes that are kept for a segment from run to run.

        Raises:
            StoreError: The store cannot be used.
        """
        return self.store.pending(segment_id)

    def pending_from_earlier(self, segment_id: str) -> Pending | None:
        """Return the changes that earlier runs kept for a segment; None, and no store is made, where there is none.

        Raises:
            StoreError: The store cannot be used.
        """
        return self.pending(segment_id) if self.store_exists else None

    @property
    def store_exists(self) -> bool:
        """Whether there is a store by now; of a database elsewhere that is taken for granted."""
        url = self._store_url
        return "store" in self.__dict__ or not url.startswith(SQLITE) or Path(url.removeprefix(SQLITE)).exists()

    @cached_property
    def _store_url(self) -> str:
        return paths.store_url(self._settings, os.environ, Path.cwd)

    @cached_property
    def _sender(self) -> Sender:
        return Sender(self._transport, self._clock, retry_timeout=self._settings.retry_timeout)

    @cached_property
    def _transport(self) -> Transport:
        return self._parts.transport()

    def close(self) -> None:
        """Close what was opened."""
        for name in ("store", "_transport"):
            if name in self.__dict__:
                self.__dict__[name].close()


def project_identity(settings: Settings) -> str:
    """Return what tells one Statsig project from another in the store: where it is, and a digest of its key.

    The Console API's key speaks for the project where there is one, since it says who is a member; else the server's.
    """
    if settings.console_api_key is not None:
        url, key = settings.console_url, settings.console_api_key
    else:
        url, key = settings.events_url, settings.server_secret_key or ""
    return f"{url.rstrip('/')} {hashlib.sha256(key.encode()).hexdigest()[:32]}"
