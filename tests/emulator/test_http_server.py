"""The HTTP server, and which hosts and origins it answers."""

from __future__ import annotations

import json
import socket

import pytest
import requests

from target_statsig.emulator.http_server import LoopbackServer

BODY = json.dumps({"events": [{"eventName": "ping", "user": {"userID": "u1"}}]}).encode()


def port_of(statsig):
    return statsig.url.rpartition(":")[2]


@pytest.fixture
def exchange(statsig):
    """Send bytes over a new connection, and return all that is answered until it closes."""

    def send(*parts):
        with socket.create_connection(("127.0.0.1", port_of(statsig)), timeout=10) as connection:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    return send


def head(statsig, *lines):
    all_lines = [
        "POST /v1/log_event HTTP/1.1",
        "Host: localhost",
        f"statsig-api-key: {statsig.server_secret_key}",
        *lines,
    ]
    return "".join(f"{line}\r\n" for line in [*all_lines, ""]).encode()


def test_requests_may_arrive_together_or_byte_by_byte(statsig, exchange):
    request = head(statsig, f"Content-Length: {len(BODY)}") + BODY
    assert exchange(request * 3).count(b"HTTP/1.1 202 Accepted\r\n") == 3
    assert exchange(*(bytes([byte]) for byte in request)).count(b"HTTP/1.1 202 Accepted\r\n") == 1
    assert len(statsig.state.events) == 4


def test_expect_100_continue_is_answered(statsig, exchange):
    response = exchange(head(statsig, f"Content-Length: {len(BODY)}", "Expect: 100-continue"), BODY)
    assert response.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n")


def test_connection_close_is_obeyed(statsig):
    with socket.create_connection(("127.0.0.1", port_of(statsig)), timeout=10) as connection:
        connection.sendall(b"GET /_emulator/state HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        response = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")


def test_closing_ends_idle_connections(statsig):
    with socket.create_connection(("127.0.0.1", port_of(statsig)), timeout=10) as connection:
        connection.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404 ")
        statsig.close()
        assert connection.recv(65_536) == b""


def handle(error, server):
    try:
        raise error
    except (OSError, ValueError):
        server.handle_error()


@pytest.mark.parametrize(("error", "is_printed"), [(ConnectionResetError, False), (ValueError, True)])
def test_only_errors_of_the_emulator_are_printed(capfd, error, is_printed):
    with LoopbackServer(0, lambda _: None, lambda _: None) as server:
        handle(error, server)

    assert (error.__name__ in capfd.readouterr().err) == is_printed


def test_an_unknown_method_is_refused_and_not_logged(statsig, exchange):
    assert exchange(b"OPTIONS /v1/log_event HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 501 ")
    assert statsig.state.requests == []


EVENT = {"events": [{"eventName": "ping", "user": {"userID": "u1"}}]}


def post(statsig, path="/v1/log_event", json=EVENT, **headers):
    headers = {"statsig-api-key": statsig.server_secret_key, **headers}
    return requests.post(statsig.url + path, json=json, headers=headers, timeout=10).status_code


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{}", "127.0.0.1", "127.0.0.1:{}", "127.8.9.10", "[::1]:{}"])
def test_names_and_addresses_of_this_machine_are_answered(statsig, host):
    assert post(statsig, Host=host.format(port_of(statsig))) == 202


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("rebound.example", id="another name"),
        pytest.param("rebound.example:{}", id="another name with the port"),
        pytest.param("localhost.rebound.example", id="a name that begins with localhost"),
        pytest.param("127.0.0.1.rebound.example", id="a name that begins with an address"),
        pytest.param("192.168.0.7:{}", id="a local network address"),
        pytest.param("[::2]", id="another IPv6 address"),
        pytest.param("[::1", id="an unclosed address"),
        pytest.param("", id="empty"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/log_event", "/console/v1/segments/vips/id_list", "/_emulator/state", "/"])
def test_other_host_names_are_refused(statsig, host, path):
    host = host.format(port_of(statsig))

    assert requests.get(statsig.url + path, headers={"Host": host}, timeout=10).status_code == 421
    assert post(statsig, path, Host=host) == 421
    assert statsig.state.events == []


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{}"])
@pytest.mark.parametrize("path", ["/v1/log_event", "/_emulator/clear"])
def test_requests_of_another_origin_are_refused(statsig, origin, path):
    assert post(statsig) == 202

    assert post(statsig, path, Origin=origin.format(port_of(statsig))) == 403
    assert len(statsig.state.events) == 1


def test_requests_of_its_own_page_are_accepted(statsig):
    assert post(statsig, "/_emulator/clear", Origin=statsig.url) == 200
