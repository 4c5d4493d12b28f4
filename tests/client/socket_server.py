"""A server of bare sockets that breaks off where a test wants it to; a well-behaved one could not."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    Behaviour = Callable[["Connection"], None]

CERTIFICATE = Path(__file__).with_name("server.pem")
"""A key and its own certificate for `statsig.invalid` and 127.0.0.1, which nobody else trusts."""

YES = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"success":true}'


class Received(NamedTuple):
    """A request as it came over the wire; the names of the headers are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """One accepted connection, and what a server may do to it."""

    def __init__(self, server: SocketServer, sock: socket.socket) -> None:
        self._server = server
        self._use(sock)

    def _use(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def secure(self) -> None:
        """Agree upon TLS; what follows is encrypted."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self._file.close()
        self._use(context.wrap_socket(self.sock, server_side=True))

    def read(self) -> Received | None:
        """Read one whole request and remember it; None where the client has hung up."""
        line = self._file.readline().decode("latin-1").strip()
        if not line:
            return None
        headers = {}
        while header := self._file.readline().decode("latin-1").strip():
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        received = Received(line, headers, self._file.read(int(headers.get("content-length", 0))))
        self._server.received.append(received)
        self._server.reached.set()
        return received

    def answer(self, content: bytes = YES) -> None:
        self.sock.sendall(content)

    def reset(self) -> None:
        """Break the connection off, with an RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._file.close()
        self.sock.close()


def say_yes(connection: Connection) -> None:
    """Answer every request of a connection."""
    while connection.read():
        connection.answer()


def say_yes_in_secret(connection: Connection) -> None:
    """Answer every request of a connection that is encrypted."""
    connection.secure()
    say_yes(connection)


def tunnel(connection: Connection) -> None:
    """Be a proxy, and the server behind it, too."""
    connection.read()
    connection.answer(b"HTTP/1.1 200 Connection established\r\n\r\n")
    say_yes_in_secret(connection)


def trickle(head: bytes, drop: bytes, drops: int = 200) -> Behaviour:
    """Answer each request with a head, and then a drop at a time, so that no single wait is long; and then hang up."""

    def behave(connection: Connection) -> None:
        connection.read()
        connection.answer(head)
        for _ in range(drops):
            connection.answer(drop)
            threading.Event().wait(0.02)

    return behave


TRICKLED_BODY = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


class SocketServer:
    """Behaves on each connection as its function says; on all further ones as the last function does."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.reached = threading.Event()
        self.served = threading.Semaphore(0)
        self._behaviours = behaviours or (say_yes,)
        self._open: list[Connection] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            # It may be closed already, by either side.
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _run(self, function: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = Connection(self, sock)
            behaviour = self._behaviours[min(self.connections, len(self._behaviours) - 1)]
            self.connections += 1
            self._open.append(connection)
            self._run(self._serve, connection, behaviour)

    def _serve(self, connection: Connection, behaviour: Behaviour) -> None:
        try:
            behaviour(connection)
        except OSError:
            pass  # the client hung up first, which is its right
        finally:
            connection.close()
            self.served.release()
