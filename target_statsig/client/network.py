"""Requests over the network, and the only module that imports `requests`.

Knows connections, proxies, timeouts and whether a request may have left; refuses to know the same as `transport`.
"""

from __future__ import annotations

import threading
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from target_statsig import __version__
from target_statsig._compat import override
from target_statsig.client.connections import DEADLINE, POOLS
from target_statsig.client.transport import Request, Response, Transport, TransportError
from target_statsig.exceptions import FatalRunError
from target_statsig.headings import Heading

if TYPE_CHECKING:
    from collections.abc import Iterator

USER_AGENT = f"target-statsig/{__version__}"

MOST_CALLS = 100
"""Calls whose addresses are kept; a run has one or two for items, and a few for each segment."""

_CHUNK_BYTES = 64 * 1024
_MAX_WORDS = 200


class HttpTransport(Transport):
    """Requests over the network, from any number of threads: each has a session and keeps its connections.

    Proxies and certificates are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`, `REQUESTS_CA_BUNDLE`).
    There are no cookies, no `.netrc` and no redirects: what is sent goes to the session's adapter, below the
    layer that has them. That halves the cost of a request, too: 270 µs for 100 KB on loopback, not 550 µs
    (`http.client` alone: 90 µs).

    A request under way cannot be interrupted: a run that is asked to stop waits for it, up to its timeout, which is
    that of the whole request. (But the system's own look-up of a host's addresses takes the time that it takes.)
    """

    def __init__(self) -> None:
        """Open nothing yet."""
        self._of_thread = threading.local()
        self._lock = threading.Lock()
        self._sessions: list[requests.Session] = []
        self._calls: dict[tuple[str, str], requests.PreparedRequest] = {}
        self._environments: dict[tuple[str, str], dict[str, Any]] = {}

    @override
    def send(self, request: Request) -> Response:
        body = None if request.body is None else _Body(request.body)
        try:
            return self._send(request, body)
        except ValueError:
            # The text of these errors may quote the header at fault, and so a key.
            msg = (
                "An HTTP request cannot be put together, and was not sent: check `events_url`, `console_url` and the "
                "keys, and the proxy variables of the environment."
            )
            raise FatalRunError(msg, heading=Heading.SETTINGS) from None
        except OSError as error:
            over = f"not done in the {request.timeout:g} s of `request_timeout`"
            words = over if DEADLINE.is_over else _words(error)
            raise TransportError(words, sent=body is None or body.left) from None

    @override
    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            while self._sessions:
                self._sessions.pop().close()
            self._of_thread = threading.local()

    def _send(self, request: Request, body: _Body | None) -> Response:
        DEADLINE.begin(request.timeout)
        session = self._session()
        prepared = self._prepared(request.method, request.url).copy()
        prepared.prepare_headers({"user-agent": USER_AGENT, **request.headers})
        prepared.prepare_body(body, None)
        adapter = session.get_adapter(request.url)
        environment = self._environment(session, request.url)
        with adapter.send(prepared, timeout=request.timeout, **environment) as answer:
            return Response(answer.status_code, dict(answer.headers.lower_items()), _read(answer, request.answer_bytes))

    def _prepared(self, method: str, url: str) -> requests.PreparedRequest:
        """Return a call without headers and body: its address is read once, which takes as long as to send to it."""
        known = self._calls.get((method, url))
        if known is None:
            if len(self._calls) >= MOST_CALLS:
                self._calls.clear()
            known = self._calls[method, url] = requests.Request(method, url).prepare()
        return known

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = self._of_thread.session = requests.Session()
            for scheme in POOLS:
                session.mount(f"{scheme}://", _Adapter())
            with self._lock:
                self._sessions.append(session)
        return session

    def _environment(self, session: requests.Session, url: str) -> dict[str, Any]:
        """Return a server's proxies and certificates; found out once, since it takes as long as a request."""
        scheme, server, *_ = urlsplit(url)
        known = self._environments.get((scheme, server))
        if known is None:
            known = dict(session.merge_environment_settings(url, {}, stream=True, verify=None, cert=None))
            self._environments[scheme, server] = known
        return known


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes connections that keep to `DEADLINE`, but those through a SOCKS proxy, whose manager has its own."""

    @override
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    @override
    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager


class _Body:
    """A body that knows whether any of it has left: before that, no server can have acted upon the request.

    The errors of `requests` do not tell: a connection that breaks while TLS is agreed upon raises the same as
    one that breaks after the last byte was sent.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.left = False

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Iterator[bytes]:
        self.left = True
        yield self._content


def _read(answer: requests.Response, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_content(_CHUNK_BYTES):
        parts.append(part)
        size += len(part)
        if size > most:
            msg = f"the answer is longer than {most:,} bytes, and cannot be read"
            raise TransportError(msg, sent=True)
    return b"".join(parts)


def _words(error: BaseException) -> str:
    """Name what began it: `requests` wraps that two or three times, in texts that repeat the address."""
    while isinstance(error.__context__, (OSError, HTTPException, HTTPError)):
        error = error.__context__
    return f"{type(error).__name__}: {error}"[:_MAX_WORDS]
