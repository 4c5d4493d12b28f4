"""A loopback server that accepts every request without parsing it, so that only the sender is measured.

It counts the events by the header of each request. The emulator, which decompresses and checks them, takes as long for
a request as the sender of a prepared one.
"""

from __future__ import annotations

import subprocess
import sys
from http.client import HTTPConnection
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING

from typing_extensions import override

from tests.benchmarks.emulated import Project

if TYPE_CHECKING:
    from typing import Self

READ_AT_ONCE = 262_144
"""Bytes; larger than most requests."""


class CountingServer:
    """The server, in a process of its own, so that its work does not count as that of a contender."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True)
        self._port = int(self._process.stdout.readline())
        url = f"http://127.0.0.1:{self._port}"
        self.project = Project(f"{url}/v1", f"{url}/console/v1", "secret-loopback", "console-loopback")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def events(self) -> int:
        """Return the number of events received."""
        connection = HTTPConnection("127.0.0.1", self._port)
        connection.request("GET", "/")
        count = int(connection.getresponse().read())
        connection.close()
        return count


class Handler(StreamRequestHandler):
    rbufsize = READ_AT_ONCE
    disable_nagle_algorithm = True
    counts: list[int] = []  # noqa: RUF012 - of all connections

    @override
    def handle(self) -> None:
        while request := self.rfile.readline():
            size = events = 0
            while header := self.rfile.readline().strip():
                name, _, value = header.lower().partition(b":")
                if name == b"content-length":
                    size = int(value)
                elif name == b"statsig-event-count":
                    events = int(value)
            self.rfile.read(size)
            self.counts.append(events)
            body = b"%d" % sum(self.counts) if request.startswith(b"GET") else b'{"success":true}'
            self.wfile.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


class Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()
