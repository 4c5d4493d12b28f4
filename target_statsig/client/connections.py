"""Connections that keep to the time of a whole request; a socket's timeout begins anew with every byte.

Knows urllib3. Refuses to know what is sent and to whom.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from target_statsig._compat import override

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Deadline(threading.local):
    """When the request of this thread has to be over: a thread makes one at a time."""

    _end = 0.0

    def begin(self, seconds: float) -> None:
        """Begin a request that may take so many seconds."""
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether there is no time left."""
        return self._end <= time.monotonic()

    @property
    def left(self) -> float:
        """The seconds that are left.

        Raises:
            TimeoutError: There are none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


DEADLINE = Deadline()


class _Incoming(io.RawIOBase):
    """What a socket receives, each part in what is left of the time."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        self._sock.settimeout(DEADLINE.left)
        return self._raw.readinto(buffer)

    @override
    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Incoming(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Answer

    @override
    def _new_conn(self) -> socket.socket:
        """Connect to the first address of the host that answers; each has its share of the time that is left."""
        host = self._dns_host
        try:
            addresses = socket.getaddrinfo(host.strip("[]"), self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NewConnectionError(self, str(error)) from error
        for others, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            self._dns_host, self.timeout = str(address[4][0]), DEADLINE.left / (1 + others)
            try:
                sock = super()._new_conn()
            except HTTPError:
                if not others:
                    raise
            else:
                sock.settimeout(DEADLINE.left)
                return sock
            finally:
                self._dns_host = host
        raise NewConnectionError(self, "the host has no address")

    @override
    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(DEADLINE.left)
        super().send(data)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS = {"http": _Pool, "https": _TlsPool}
"""What a urllib3 manager makes its connections with, by scheme."""
