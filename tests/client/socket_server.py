"""A server of bare sockets, which can break off a response anywhere; an HTTP server cannot."""

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
"""A self-signed certificate for `statsig.invalid` and 127.0.0.1, with its key."""

ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"success":true}'


class Received(NamedTuple):
    """A request as it came over the wire; the names of the headers are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """One accepted connection."""

    def __init__(self, server: SocketServer, sock: socket.socket) -> None:
        self._server = server
        self._use(sock)

    def _use(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def start_tls(self) -> None:
        """Answer the TLS handshake; all that follows is encrypted."""
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

    def answer(self, content: bytes = ACCEPTED) -> None:
        self.sock.sendall(content)

    def reset(self) -> None:
        """Reset the connection: RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._file.close()
        self.sock.close()


def accept_all(connection: Connection) -> None:
    """Answer every request of a connection."""
    while connection.read():
        connection.answer()


def accept_all_over_tls(connection: Connection) -> None:
    """Answer every request of an encrypted connection."""
    connection.start_tls()
    accept_all(connection)


def tunnel(connection: Connection) -> None:
    """Act as a proxy and as the server behind it."""
    connection.read()
    connection.answer(b"HTTP/1.1 200 Connection established\r\n\r\n")
    accept_all_over_tls(connection)


def tunnel_over_tls(port: int) -> Behaviour:
    """Act as an encrypted proxy in front of a server on 127.0.0.1."""

    def relay(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def behave(connection: Connection) -> None:
        connection.start_tls()
        connection.read()
        connection.answer(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=relay, args=(server, connection.sock), daemon=True)
            back.start()
            relay(connection.sock, server)
            back.join(60)

    return behave


def trickle(head: bytes, drop: bytes, drops: int = 200) -> Behaviour:
    """Answer with a head, then with a few bytes every 20 ms, so that no single wait is long; then close."""

    def behave(connection: Connection) -> None:
        connection.read()
        connection.answer(head)
        for _ in range(drops):
            connection.answer(drop)
            threading.Event().wait(0.02)

    return behave


TRICKLED_BODY = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


class SocketServer:
    """Calls one function for each connection in turn, and the last one for all further connections."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.reached = threading.Event()
        self.served = threading.Semaphore(0)
        self._behaviours = behaviours or (accept_all,)
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
            pass  # the client closed first
        finally:
            connection.close()
            self.served.release()
