"""HTTP as it may come over a connection, besides what the target sends."""

from __future__ import annotations

import json
import socket

import pytest

BODY = json.dumps({"events": [{"eventName": "ping", "user": {"userID": "u1"}}]}).encode()


@pytest.fixture
def exchange(statsig):
    """Send bytes over a connection of their own, and return all that is answered until it ends."""

    def exchanged(*parts):
        with socket.create_connection(("127.0.0.1", int(statsig.url.rpartition(":")[2])), timeout=10) as connection:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    return exchanged


def head(statsig, *lines):
    all_lines = [
        "POST /v1/log_event HTTP/1.1",
        "Host: localhost",
        f"statsig-api-key: {statsig.server_secret_key}",
        *lines,
    ]
    return "".join(f"{line}\r\n" for line in [*all_lines, ""]).encode()


def test_requests_may_come_all_at_once_or_byte_by_byte(statsig, exchange):
    request = head(statsig, f"Content-Length: {len(BODY)}") + BODY
    assert exchange(request * 3).count(b"HTTP/1.1 202 Accepted\r\n") == 3
    assert exchange(*(bytes([byte]) for byte in request)).count(b"HTTP/1.1 202 Accepted\r\n") == 1
    assert len(statsig.state.events) == 4


def test_who_waits_for_a_word_before_the_body_gets_one(statsig, exchange):
    answered = exchange(head(statsig, f"Content-Length: {len(BODY)}", "Expect: 100-continue"), BODY)
    assert answered.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n")


def test_a_connection_that_is_not_to_be_kept_is_closed_after_the_answer(statsig):
    with socket.create_connection(("127.0.0.1", int(statsig.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(b"GET /_emulator/state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answered = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_method_that_statsig_does_not_know_is_refused_and_not_logged(statsig, exchange):
    assert exchange(b"OPTIONS /v1/log_event HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 501 ")
    assert statsig.state.requests == []
