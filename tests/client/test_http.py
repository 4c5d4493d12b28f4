from __future__ import annotations

import gzip
import socket
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from urllib3 import PoolManager

from target_statsig.client.http import USER_AGENT, HttpTransport, Request, Response, TransportError
from target_statsig.errors import FatalRunError

from .socket_server import (
    ACCEPTED,
    CERTIFICATE,
    TRICKLED_BODY,
    Connection,
    SocketServer,
    accept_all_over_tls,
    trickle,
    tunnel,
    tunnel_over_tls,
)

KEY = "secret-abcdefghijklmnop"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def transport():
    http = HttpTransport()
    yield http
    http.close()


def post(url: str, body: bytes | None = b'{"events":[]}', **headers: str) -> Request:
    return Request("POST", url, {"statsig-api-key": KEY, **headers}, timeout=60, body=body)


def test_a_request_and_its_response_are_transferred_unchanged(transport):
    with SocketServer() as server:
        answer = transport.send(post(server.url + "/log_event?a=b"))
        received = server.received[0]

    assert answer == Response(202, {"content-type": "application/json", "content-length": "16"}, b'{"success":true}')
    assert received.line == "POST /v1/log_event?a=b HTTP/1.1"
    assert received.body == b'{"events":[]}'
    assert received.headers["statsig-api-key"] == KEY
    assert received.headers["user-agent"] == USER_AGENT


def test_a_delete_carries_its_body(transport):
    with SocketServer() as server:
        transport.send(Request("DELETE", server.url, {}, timeout=5, body=b'{"ids":["a"]}'))

        assert server.received[0].line.startswith("DELETE ")
        assert server.received[0].body == b'{"ids":["a"]}'


def send_from_threads(transport: HttpTransport, url: str, count: int) -> None:
    threads = [threading.Thread(target=transport.send, args=(post(url),)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def answer_together(count: int):
    """Return a behaviour that answers only once `count` connections have sent a request."""
    all_connected = threading.Barrier(count)

    def serve(connection: Connection) -> None:
        connection.read()
        all_connected.wait(timeout=60)
        connection.answer()
        while connection.read():
            connection.answer()

    return serve


def test_a_connection_is_reused(transport):
    with SocketServer() as server:
        for _ in range(3):
            send_from_threads(transport, server.url, 1)

        assert server.connections == 1


def test_each_thread_has_a_connection_of_its_own(transport):
    with SocketServer(answer_together(4)) as server:
        send_from_threads(transport, server.url, 4)

        assert len(server.received) == server.connections == 4


def test_a_connection_closed_while_idle_is_replaced(transport):
    def answer_once(connection: Connection) -> None:
        connection.read()
        connection.answer()

    with SocketServer(answer_once) as server:
        transport.send(post(server.url))
        server.served.acquire()

        assert transport.send(post(server.url)).status == 202
        assert server.connections == 2


def test_closing_closes_all_connections(transport):
    with SocketServer(answer_together(2)) as server:
        send_from_threads(transport, server.url, 2)
        transport.close()

        assert server.served.acquire(timeout=60)
        assert server.served.acquire(timeout=60)


def test_a_redirect_is_returned_and_not_followed(transport):
    def redirect(connection: Connection) -> None:
        connection.read()
        connection.answer(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    with SocketServer(redirect) as server:
        assert transport.send(post(server.url)).status == 302


def test_a_compressed_response_is_decompressed(transport):
    body = gzip.compress(b'{"data":{"ids":["a"]}}')

    def answer(connection: Connection) -> None:
        connection.read()
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.answer(head.encode() + body)

    with SocketServer(answer) as server:
        assert transport.send(post(server.url)).body == b'{"data":{"ids":["a"]}}'


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n{}", id="end of the connection"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="length, HTTP 1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", id="length, then closed"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 4", id="length, with more after it"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", id="last chunk"
        ),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            id="length, after early hints",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            id="length, after an interim response that announces the end",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n{}", id="end of the connection, not encoded"
        ),
    ],
)
def test_the_end_of_a_response_is_recognized(transport, answer):
    def serve(connection: Connection) -> None:
        connection.read()
        connection.answer(answer)

    with SocketServer(serve) as server:
        for _ in range(2):  # the second request has a connection of its own
            got = transport.send(post(server.url))

            assert (got.status, got.body) == (200, b"{}")
            assert "a" not in got.headers
            server.served.acquire(timeout=60)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nServer: a\r\n", "before the end", id="headers without an end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", "before the end", id="only an interim response"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "before the end", id="shorter than its length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "before the end", id="no last chunk"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", "decode", id="not compressed"
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP", id="not HTTP"),
    ],
)
def test_an_incomplete_response_is_an_error(transport, answer, what):
    def serve(connection: Connection) -> None:
        connection.read()
        connection.answer(answer)

    with SocketServer(serve) as server, pytest.raises(TransportError, match=what) as caught:
        transport.send(post(server.url))

    assert caught.value.sent


IRREGULAR_RESPONSES = {
    "LF alone": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "folded header": b"HTTP/1.1 200 OK\r\nB: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "length beside chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n"
    ),
    "HTTP 1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
}


# Without leniencies the parser llhttp refuses each of these.
@pytest.mark.parametrize("answer", IRREGULAR_RESPONSES.values(), ids=IRREGULAR_RESPONSES)
@pytest.mark.parametrize("first", [1, 20, 1_000])
def test_an_irregular_response_is_read_without_delay(transport, answer, first):
    def serve(connection: Connection) -> None:
        while connection.read():  # it stays open until the client has closed it
            connection.answer(answer[:first])
            connection.answer(answer[first:])

    with SocketServer(serve) as server:
        for _ in range(2):
            got = transport.send(post(server.url))

            assert (got.status, got.body) == (200, b"{}")


def test_a_decompressed_response_has_a_size_limit(transport):
    body = gzip.compress(bytes(2_000_000))

    def serve(connection: Connection) -> None:
        connection.read()
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.answer(head.encode() + body)

    with SocketServer(serve) as server, pytest.raises(TransportError, match="longer than 1,048,576 bytes"):
        transport.send(post(server.url))


def test_passwords_from_netrc_are_not_sent(transport, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    with SocketServer() as server:
        transport.send(post(server.url))

        assert "authorization" not in server.received[0].headers


def test_cookies_are_not_sent_back(transport):
    def set_a_cookie(connection: Connection) -> None:
        while connection.read():
            connection.answer(ACCEPTED.replace(b"\r\n", b"\r\nSet-Cookie: who=you; Path=/\r\n", 1))

    with SocketServer(set_a_cookie) as server:
        transport.send(post(server.url))
        transport.send(post(server.url))

        assert "cookie" not in server.received[1].headers


def test_a_proxy_is_taken_from_the_environment(transport, monkeypatch):
    with SocketServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        transport.send(post("http://statsig.invalid/v1/log_event"))

        assert proxy.received[0].line == "POST http://statsig.invalid/v1/log_event HTTP/1.1"
        assert proxy.received[0].headers["host"] == "statsig.invalid"


def test_the_password_of_a_proxy_goes_to_the_proxy(transport, monkeypatch):
    with SocketServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        transport.send(post("http://statsig.invalid/v1/log_event"))

        assert proxy.received[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"


@pytest.fixture
def trusted_certificate(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))


@pytest.mark.usefixtures("trusted_certificate")
def test_encrypted_requests_share_one_connection(transport):
    with SocketServer(accept_all_over_tls) as server:
        url = server.url.replace("http:", "https:")
        answers = [transport.send(post(url)) for _ in range(3)]

        assert [answer.status for answer in answers] == [202, 202, 202]
        assert server.connections == 1
        assert server.received[2].headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.usefixtures("trusted_certificate")
def test_encrypted_requests_pass_through_a_proxy(transport, monkeypatch):
    with SocketServer(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        for _ in range(2):
            transport.send(post("https://statsig.invalid/v1/log_event"))

        connect, *sent = proxy.received
        assert connect.line.startswith("CONNECT statsig.invalid:443 ")
        assert connect.headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
        assert [request.line for request in sent] == ["POST /v1/log_event HTTP/1.1"] * 2
        assert all(request.headers["statsig-api-key"] == KEY for request in sent)
        assert not any("proxy-authorization" in request.headers for request in sent)


@pytest.mark.usefixtures("trusted_certificate")
def test_plain_requests_go_through_an_encrypted_proxy(transport, monkeypatch):
    with SocketServer(accept_all_over_tls) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"https://me:secret@127.0.0.1:{proxy.port}")
        transport.send(post("http://statsig.invalid/v1/log_event"))

        assert proxy.received[0].line == "POST http://statsig.invalid/v1/log_event HTTP/1.1"
        assert proxy.received[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"


@pytest.mark.usefixtures("trusted_certificate")
def test_encrypted_requests_pass_through_an_encrypted_proxy(transport, monkeypatch):
    def accept_one_of_two_over_tls(connection: Connection) -> None:
        connection.start_tls()
        connection.read()
        connection.answer()
        connection.read()

    with SocketServer(accept_one_of_two_over_tls) as server, SocketServer(tunnel_over_tls(server.port)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"https://me:secret@127.0.0.1:{proxy.port}")
        sent = post("https://statsig.invalid/v1/log_event", b"x" * 100_000)

        assert transport.send(sent).status == 202
        with pytest.raises(TransportError, match="closed without an answer") as caught:
            transport.send(sent)

        assert caught.value.sent
        assert [len(request.body) for request in server.received] == [100_000] * 2
        assert proxy.received[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"


class SocksProxy(PoolManager):
    """Replaces urllib3's class, which needs PySocks, and connects without a proxy."""

    def __init__(self, _url, *, username, password, **options):
        super().__init__(**options)


def test_requests_share_one_socks_proxy(transport, monkeypatch):
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", SocksProxy)
    with SocketServer() as server:
        monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1080")
        for path in ("log_event", "log_custom_metric"):
            transport.send(post(server.url.replace("127.0.0.1", "localhost") + f"/{path}"))

        assert [request.line.split()[1].rpartition("/")[2] for request in server.received] == [
            "log_event",
            "log_custom_metric",
        ]
        assert server.connections == 1


def refuse_unread(connection: Connection) -> None:
    connection.sock.recv(1)
    # Otherwise the response may wait for an earlier acknowledgement, and the RST overtakes it.
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.answer(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")


def refuse_unread_over_tls(connection: Connection) -> None:
    connection.start_tls()
    refuse_unread(connection)


@pytest.mark.usefixtures("trusted_certificate")
@pytest.mark.parametrize(
    ("scheme", "behaviour"), [pytest.param("http", refuse_unread), pytest.param("https", refuse_unread_over_tls)]
)
def test_a_response_before_the_request_was_read_counts(transport, scheme, behaviour):
    with SocketServer(behaviour) as server:
        url = server.url.replace("http:", f"{scheme}:")

        assert transport.send(post(url, b"x" * 8_000_000)).status == 413


def test_an_untrusted_certificate_is_refused_before_sending(transport):
    with SocketServer(accept_all_over_tls) as server:
        with pytest.raises(TransportError, match="SSLCertVerificationError") as caught:
            transport.send(post(server.url.replace("http:", "https:")))

        assert not caught.value.sent
        assert not server.received


def read_and_reset(connection: Connection) -> None:
    connection.read()
    connection.reset()


def read_and_close(connection: Connection) -> None:
    connection.read()


def read_and_wait(connection: Connection) -> None:
    connection.read()
    connection.sock.recv(1)


def answer_incompletely(connection: Connection) -> None:
    connection.read()
    connection.answer(ACCEPTED[:-5])


def answer_without_http(connection: Connection) -> None:
    connection.read()
    connection.answer(b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n")


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(read_and_reset, id="reset after the request"),
        pytest.param(read_and_close, id="closed after the request"),
        pytest.param(read_and_wait, id="timed out"),
        pytest.param(answer_incompletely, id="closed in the response"),
        pytest.param(answer_without_http, id="not HTTP"),
    ],
)
def test_a_request_without_a_response_may_have_arrived(transport, behaviour):
    with SocketServer(behaviour) as server, pytest.raises(TransportError) as caught:
        # Half a second is enough to send the request on a busy machine.
        transport.send(Request("POST", server.url, {}, timeout=0.5, body=b"{}"))

    assert caught.value.sent


def reset_in_the_handshake(connection: Connection) -> None:
    connection.sock.recv(1)
    connection.reset()


def read_and_never_answer(connection: Connection) -> None:
    while connection.sock.recv(4096):
        pass


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(answer_without_http, id="not TLS"),
        pytest.param(reset_in_the_handshake, id="reset in the handshake"),
        pytest.param(read_and_never_answer, id="timed out in the handshake"),
    ],
)
def test_a_failed_tls_handshake_means_nothing_was_sent(transport, behaviour):
    with SocketServer(behaviour) as server, pytest.raises(TransportError) as caught:
        transport.send(Request("POST", server.url.replace("http:", "https:"), {}, timeout=0.1, body=b"{}"))

    assert not caught.value.sent


def test_a_refused_connection_means_nothing_was_sent(transport):
    with SocketServer() as server:
        url = server.url

    with pytest.raises(TransportError, match="ConnectionRefusedError") as caught:
        transport.send(post(url))

    assert not caught.value.sent
    assert "127.0.0.1" not in str(caught.value)


def test_an_unknown_host_means_nothing_was_sent(transport, monkeypatch):
    def fail(*arguments: object, **named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(TransportError, match="Name or service not known") as caught:
        transport.send(post("http://statsig.invalid/v1"))

    assert not caught.value.sent


def test_the_error_names_its_own_cause_within_an_exception_handler(transport):
    with SocketServer() as server:
        url = server.url

    try:
        {}[KEY]
    except KeyError:
        with pytest.raises(TransportError, match="ConnectionRefusedError") as caught:
            transport.send(post(url))

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(trickle(b"HTTP/1.1 202 Acc", b"e"), id="status line"),
        pytest.param(trickle(b"HTTP/1.1 202 Accepted\r\nX-A: b", b"c"), id="header"),
        pytest.param(trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="interim responses"),
        pytest.param(trickle(TRICKLED_BODY, b"a"), id="body"),
        pytest.param(trickle(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"a"), id="body without a length"),
        pytest.param(
            trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"), id="body in chunks"
        ),
    ],
)
def test_a_slow_response_ends_at_the_request_timeout(transport, behaviour):
    with SocketServer(behaviour) as server, pytest.raises(TransportError, match="`request_timeout`") as caught:
        transport.send(replace(post(server.url), timeout=0.3))

    assert caught.value.sent


def test_a_request_read_slowly_ends_at_the_request_timeout(transport):
    def read_slowly(connection: Connection) -> None:
        for _ in range(20):
            connection.sock.recv(1)
            threading.Event().wait(0.02)

    with SocketServer(read_slowly) as server, pytest.raises(TransportError, match="`request_timeout`"):
        transport.send(Request("POST", server.url, {}, timeout=0.2, body=b"a" * 20_000_000))


def test_each_request_has_the_whole_request_timeout(transport):
    with SocketServer() as server:
        for _ in range(3):
            transport.send(replace(post(server.url), timeout=0.5))
            threading.Event().wait(0.3)

        assert server.connections == 1


@contextmanager
def unresponsive(address):
    """Let an address of this machine accept no more connections, like one behind a firewall that drops them."""
    with socket.create_server(address, backlog=0), ExitStack() as waiting:
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        yield


@pytest.fixture
def resolve_to(monkeypatch):
    """Return a function that sets the addresses of `statsig.invalid`."""
    resolve = socket.getaddrinfo

    def use(*hosts):
        def resolved(host, *rest, **named):
            names = hosts if host == "statsig.invalid" else [host]
            return [found for name in names for found in resolve(name, *rest, **named)]

        monkeypatch.setattr(socket, "getaddrinfo", resolved)

    return use


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is not there by itself")
def test_addresses_without_an_answer_were_not_sent_to(transport, resolve_to):
    with SocketServer() as server, unresponsive(("127.0.0.2", server.port)):
        resolve_to(*["127.0.0.2"] * 4)
        with pytest.raises(TransportError, match="`request_timeout`") as caught:
            transport.send(replace(post(f"http://statsig.invalid:{server.port}/v1"), timeout=0.2))

    assert not caught.value.sent


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is not there by itself")
def test_after_an_unresponsive_address_the_next_is_tried(transport, resolve_to):
    with SocketServer() as server, unresponsive(("127.0.0.2", server.port)):
        resolve_to("127.0.0.2", "127.0.0.1")

        assert transport.send(replace(post(f"http://statsig.invalid:{server.port}/v1"), timeout=2)).status == 202
        assert server.received[0].headers["host"] == f"statsig.invalid:{server.port}"


def test_a_response_has_a_size_limit(transport):
    body = b'{"ids":["' + b"a" * 1_100_000 + b'"]}'

    def answer(connection: Connection) -> None:
        while connection.read():
            connection.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with SocketServer(answer) as server:
        assert transport.send(replace(post(server.url), max_response_bytes=2_000_000)).body == body
        with pytest.raises(TransportError, match="longer than 1,048,576 bytes") as caught:
            transport.send(post(server.url))

    assert caught.value.sent


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(post("statsigapi.net/v1"), id="no scheme"),
        pytest.param(post("htp://statsigapi.net/v1"), id="unknown scheme"),
        pytest.param(post("http://[::1/v1"), id="broken address"),
    ],
)
def test_an_invalid_request_ends_the_run_without_naming_the_key(transport, request_):
    with pytest.raises(FatalRunError, match="address cannot be used") as caught:
        transport.send(request_)

    assert KEY not in str(caught.value)


def test_missing_certificates_end_the_run_at_once(transport, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/certificates.pem")
    with pytest.raises(FatalRunError, match="certificate bundle, invalid path: /nowhere/certificates"):
        transport.send(post("https://127.0.0.1:1/v1"))


def test_the_repr_of_a_request_hides_its_key_and_body():
    text = repr(post("http://127.0.0.1:1/v1", body=b'{"ids":["somebody"]}'))

    assert KEY not in text
    assert "somebody" not in text
