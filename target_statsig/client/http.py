"""One request over HTTP: what it has, how its server is reached, and what went wrong."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import requests
from typing_extensions import override
from urllib3.exceptions import HTTPError

from target_statsig import __version__
from target_statsig.client.connections import LIMITS, POOLS
from target_statsig.errors import FatalRunError, Heading, TargetStatsigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from urllib3 import HTTPConnectionPool

logger = logging.getLogger(__name__)

# Its debug lines hold whole addresses, and `notify_url` is a secret.
logging.getLogger("urllib3").setLevel(logging.INFO)

USER_AGENT = f"target-statsig/{__version__}"

MAX_RESPONSE_BYTES = 1024 * 1024
"""Bytes of a usual response to read at most; Statsig's have some hundred."""

_MAX_ERROR_TEXT = 200

_KEPT_CONNECTIONS = 128
"""More than the number of threads, so that each finds its connection again."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Its `repr` shows neither headers (with the key) nor the body.

    Attributes:
        timeout: Seconds in total, from the connection to the last byte of the response.
        max_response_bytes: Bytes of the response to read; a longer one counts as lost.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    timeout: float
    body: bytes | None = field(default=None, repr=False)
    max_response_bytes: int = MAX_RESPONSE_BYTES


@dataclass(frozen=True, slots=True)
class Response:
    """A response of any status; its headers are found by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class TransportError(Exception):
    """No response came.

    Attributes:
        sent: True if the request may have reached the server; False if it surely did not (unknown host, connection
            refused, TLS not agreed).
    """

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Transport(Protocol):
    """Sends a request once: over the network, or in a dry run only reads."""

    def send(self, request: Request) -> Response:
        """Send a request once.

        Raises:
            TransportError: No response came.
        """

    def close(self) -> None:
        """Close what was opened."""


NOTIFY_TIMEOUT = 10.0
"""Seconds for the only try: the run is over."""


def notify(url: str, body: bytes, transport: Transport) -> None:
    """POST a report to `notify_url`. A failure is only logged, with the host alone: the address may hold a secret."""
    request = Request("POST", url, {"Content-Type": "application/json"}, NOTIFY_TIMEOUT, body)
    try:
        status = transport.send(request).status
    except (TransportError, TargetStatsigError) as error:
        logger.warning("The report could not be sent to `notify_url` (%s): %s.", urlsplit(url).hostname, error)
        return
    if status not in range(200, 300):
        logger.warning("`notify_url` (%s) refused the report: it answered %d.", urlsplit(url).hostname, status)


class HttpTransport(Transport):
    """Requests over the network, from any number of threads, which share the connections that are kept.

    Proxies and certificates are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`, `REQUESTS_CA_BUNDLE`).
    There are no cookies, no `.netrc` and no redirects: `requests` only finds out how a server is reached, and urllib3
    keeps the connections, below the layers that have them.

    A running request cannot be interrupted: a run that is asked to stop waits for it, up to the request's timeout.
    (The system's look-up of a host's addresses has no limit.)
    """

    def __init__(self) -> None:
        self._adapter = _Adapter(pool_maxsize=_KEPT_CONNECTIONS)
        self._routes: dict[str, _Route] = {}
        self._lock = threading.Lock()

    @override
    def send(self, request: Request) -> Response:
        body = None if request.body is None else _Body(request.body)
        try:
            return self._send(request, body)
        except ValueError:
            # The text of these errors may quote the header at fault, and so a key.
            msg = (
                "The request could not be built and was not sent. Check `events_url`, `console_url`, the keys and "
                "the proxy variables of the environment."
            )
            raise FatalRunError(msg, heading=Heading.SETTINGS) from None
        except (OSError, HTTPError) as error:
            late = f"not finished within the {request.timeout:g} s of `request_timeout`"
            text = late if LIMITS.is_over else _cause(error)
            raise TransportError(text, sent=body is None or body.left) from None

    @override
    def close(self) -> None:
        with self._lock:
            self._routes.clear()
            self._adapter.close()

    def _send(self, request: Request, body: _Body | None) -> Response:
        LIMITS.begin(request.timeout, request.max_response_bytes)
        route = self._route(request.url)
        length = {} if body is None else {"content-length": str(len(body))}
        answer = route.pool.urlopen(
            request.method,
            route.target,
            body,
            {"host": route.host, "accept-encoding": "identity", "user-agent": USER_AGENT, **request.headers, **length},
            retries=self._adapter.max_retries,
            redirect=False,
            assert_same_host=False,
            timeout=request.timeout,
        )
        content = answer.data or b""  # urllib3 has None for an empty body
        LIMITS.check_size(len(content))  # which urllib3 has read where there is a SOCKS proxy
        return Response(answer.status, answer.headers, content)

    def _route(self, url: str) -> _Route:
        """Return the route to an address, cached: finding it takes as long as two requests."""
        with self._lock:
            if url not in self._routes:
                session, prepared = requests.Session(), requests.Request("GET", url).prepare()
                address = str(prepared.url)
                found = session.merge_environment_settings(address, {}, stream=True, verify=None, cert=None)
                verify, proxies, cert = found["verify"], dict(found["proxies"]), found["cert"]
                pool = self._adapter.get_connection_with_tls_context(prepared, verify, proxies, cert)
                try:
                    self._adapter.cert_verify(pool, address, verify, cert)  # type: ignore[no-untyped-call]
                except OSError:
                    msg = (
                        f"There are no certificates at {verify}, so nothing was sent. Check `REQUESTS_CA_BUNDLE` and "
                        "`CURL_CA_BUNDLE` of the environment."
                    )
                    raise FatalRunError(msg, heading=Heading.SETTINGS) from None
                target = self._adapter.request_url(prepared, proxies)
                host = urlsplit(address).netloc.rpartition("@")[2]
                self._routes[url] = _Route(cast("HTTPConnectionPool", pool), host, target)
            return self._routes[url]


class _Route(NamedTuple):
    """The route to an address: its connections, and the host and the request target to name on them."""

    pool: HTTPConnectionPool
    host: str
    target: str


class _Body:
    """A body that notes whether any byte has left. Before that, no server can have acted on the request.

    The errors of urllib3 do not show it: a connection that breaks while TLS is agreed upon raises the same as
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


def _cause(error: BaseException) -> str:
    """Return the first error's text: urllib3 wraps that once or twice, in texts that repeat the address."""
    while isinstance(error.__context__, (OSError, HTTPException, HTTPError)):
        error = error.__context__
    return f"{type(error).__name__}: {error}"[:_MAX_ERROR_TEXT]


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes connections that keep to the deadline. A SOCKS proxy has its own manager."""

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
