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

from .socket_server import CERTIFICATE, TRICKLED_BODY, YES, Connection, SocketServer, say_yes_in_secret, trickle, tunnel

KEY = "secret-abcdefghijklmnop"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def transport():
    made = HttpTransport()
    yield made
    made.close()


def post(url: str, body: bytes | None = b'{"events":[]}', **headers: str) -> Request:
    return Request("POST", url, {"statsig-api-key": KEY, **headers}, timeout=60, body=body)


def test_a_request_arrives_as_it_was_given_and_its_answer_comes_back(transport):
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
    """Return what answers so many connections only once each has sent a request, and then all that come on them."""
    all_are_here = threading.Barrier(count)

    def serve(connection: Connection) -> None:
        connection.read()
        all_are_here.wait(timeout=60)
        connection.answer()
        while connection.read():
            connection.answer()

    return serve


def test_a_connection_is_kept(transport):
    with SocketServer() as server:
        for _ in range(3):
            send_from_threads(transport, server.url, 1)

        assert server.connections == 1


def test_no_thread_waits_for_the_connection_of_another(transport):
    with SocketServer(answer_together(4)) as server:
        send_from_threads(transport, server.url, 4)

        assert len(server.received) == server.connections == 4


def test_a_connection_that_was_closed_while_idle_is_opened_again(transport):
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


def test_a_redirect_is_an_answer_like_any_other(transport):
    def redirect(connection: Connection) -> None:
        connection.read()
        connection.answer(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    with SocketServer(redirect) as server:
        assert transport.send(post(server.url)).status == 302


def test_a_compressed_answer_is_unpacked(transport):
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
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n{}", id="the end of the connection"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", id="a length, HTTP 1.0"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n{}", id="the connection, in an encoding of its own"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", id="a length, then closed"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 4", id="a length, with more after it"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", id="the last chunk"
        ),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            id="a length, after hints",
        ),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", id="a length, in lines of Unix"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nB: b\r\n c\r\nContent-Length: 2\r\n\r\n{}", id="a length, after a folded line"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n",
            id="the last chunk, whatever its length",
        ),
    ],
)
def test_an_answer_ends_with(transport, answer):
    def serve(connection: Connection) -> None:
        connection.read()
        connection.answer(answer)

    with SocketServer(serve) as server:
        for _ in range(2):  # the second on a connection of its own
            got = transport.send(post(server.url))

            assert (got.status, got.body) == (200, b"{}")
            assert "a" not in got.headers
            server.served.acquire(timeout=60)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nServer: a\r\n", "without response", id="no end of its headers"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", "before the end", id="another was to follow"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "before the end", id="too short for its length"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "before the end", id="no last chunk"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", "decode", id="not packed"
        ),
        pytest.param(
            b"HTTP/1.2 200 OK\r\nContent-Length: 3\r\n\r\n{}", "IncompleteRead", id="too short, of another version"
        ),
        pytest.param(
            b"HTTP/1.2 200 OK\r\nContent-Length: 99999999999999\r\n\r\n",
            "longer than",
            id="too long, of another version",
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "BadStatusLine", id="not HTTP"),
    ],
)
def test_an_answer_that_is_not_whole_is_lost(transport, answer, what):
    def serve(connection: Connection) -> None:
        connection.read()
        connection.answer(answer)

    with SocketServer(serve) as server, pytest.raises(TransportError, match=what) as caught:
        transport.send(post(server.url))

    assert caught.value.sent


UNTIDY = {
    "its length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "an encoding that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
    "another version": b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a prefix of a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("answer", UNTIDY.values(), ids=UNTIDY)
@pytest.mark.parametrize("first", [1, 20, 1_000])
def test_an_answer_with_what_llhttp_refuses_is_read_at_once(transport, answer, first):
    def serve(connection: Connection) -> None:
        connection.read()
        connection.answer(answer[:first])
        connection.answer(answer[first:])
        connection.read()  # it stays open until the client has closed it

    with SocketServer(serve) as server:
        for _ in range(2):
            got = transport.send(post(server.url))

            assert (got.status, got.body) == (200, b"{}")


def test_a_compressed_answer_is_unpacked_so_far_and_no_further(transport):
    body = gzip.compress(bytes(2_000_000))

    def serve(connection: Connection) -> None:
        connection.read()
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.answer(head.encode() + body)

    with SocketServer(serve) as server, pytest.raises(TransportError, match="longer than 1,048,576 bytes"):
        transport.send(post(server.url))


def test_netrc_adds_no_password(transport, monkeypatch, tmp_path):
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
            connection.answer(YES.replace(b"\r\n", b"\r\nSet-Cookie: who=you; Path=/\r\n", 1))

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
def trusted(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))


@pytest.mark.usefixtures("trusted")
def test_requests_are_encrypted_over_one_connection_that_is_kept(transport):
    with SocketServer(say_yes_in_secret) as server:
        url = server.url.replace("http:", "https:")
        answers = [transport.send(post(url)) for _ in range(3)]

        assert [answer.status for answer in answers] == [202, 202, 202]
        assert server.connections == 1
        assert server.received[2].headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.usefixtures("trusted")
def test_a_proxy_passes_on_what_it_cannot_read(transport, monkeypatch):
    with SocketServer(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        for _ in range(2):
            transport.send(post("https://statsig.invalid/v1/log_event"))

        asked, *sent = proxy.received
        assert asked.line.startswith("CONNECT statsig.invalid:443 ")
        assert asked.headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
        assert [request.line for request in sent] == ["POST /v1/log_event HTTP/1.1"] * 2
        assert all(request.headers["statsig-api-key"] == KEY for request in sent)
        assert not any("proxy-authorization" in request.headers for request in sent)


@pytest.mark.usefixtures("trusted")
def test_a_proxy_that_is_reached_in_secret_reads_what_goes_to_an_open_address(transport, monkeypatch):
    with SocketServer(say_yes_in_secret) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"https://me:secret@127.0.0.1:{proxy.port}")
        transport.send(post("http://statsig.invalid/v1/log_event"))

        assert proxy.received[0].line == "POST http://statsig.invalid/v1/log_event HTTP/1.1"
        assert proxy.received[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"


class SocksProxy(PoolManager):
    """Stands for urllib3's class, which needs PySocks: here the proxy is passed by."""

    def __init__(self, _url, *, username, password, **options):
        super().__init__(**options)


def test_several_addresses_are_reached_through_one_socks_proxy(transport, monkeypatch):
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
    # Otherwise the answer may wait for an acknowledgement of what went before it, and the RST overtakes it.
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.answer(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")


def refuse_unread_in_secret(connection: Connection) -> None:
    connection.secure()
    refuse_unread(connection)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("scheme", "behaviour"), [pytest.param("http", refuse_unread), pytest.param("https", refuse_unread_in_secret)]
)
def test_an_answer_counts_although_the_server_hung_up_before_it_had_read_everything(transport, scheme, behaviour):
    with SocketServer(behaviour) as server:
        url = server.url.replace("http:", f"{scheme}:")

        assert transport.send(post(url, b"x" * 8_000_000)).status == 413


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(transport):
    with SocketServer(say_yes_in_secret) as server:
        with pytest.raises(TransportError, match="SSLCertVerificationError") as caught:
            transport.send(post(server.url.replace("http:", "https:")))

        assert not caught.value.sent
        assert not server.received


def read_and_reset(connection: Connection) -> None:
    connection.read()
    connection.reset()


def read_and_hang_up(connection: Connection) -> None:
    connection.read()


def read_and_say_nothing(connection: Connection) -> None:
    connection.read()
    connection.sock.recv(1)


def break_off_in_the_answer(connection: Connection) -> None:
    connection.read()
    connection.answer(YES[:-5])


def answer_gibberish(connection: Connection) -> None:
    connection.read()
    connection.answer(b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n")


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(read_and_reset, id="reset after the request"),
        pytest.param(read_and_hang_up, id="closed after the request"),
        pytest.param(read_and_say_nothing, id="timed out"),
        pytest.param(break_off_in_the_answer, id="broken off in the answer"),
        pytest.param(answer_gibberish, id="no HTTP"),
    ],
)
def test_a_lost_answer_may_have_been_taken(transport, behaviour):
    with SocketServer(behaviour) as server, pytest.raises(TransportError) as caught:
        # Long enough to send it on a busy machine.
        transport.send(Request("POST", server.url, {}, timeout=0.5, body=b"{}"))

    assert caught.value.sent


def reset_in_the_handshake(connection: Connection) -> None:
    connection.sock.recv(1)
    connection.reset()


def listen_in_silence(connection: Connection) -> None:
    while connection.sock.recv(4096):
        pass


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(answer_gibberish, id="no TLS server"),
        pytest.param(reset_in_the_handshake, id="reset in the handshake"),
        pytest.param(listen_in_silence, id="timed out in the handshake"),
    ],
)
def test_what_fails_while_tls_is_agreed_upon_was_surely_not_sent(transport, behaviour):
    with SocketServer(behaviour) as server, pytest.raises(TransportError) as caught:
        transport.send(Request("POST", server.url.replace("http:", "https:"), {}, timeout=0.1, body=b"{}"))

    assert not caught.value.sent


def test_a_refused_connection_was_surely_not_sent(transport):
    with SocketServer() as server:
        url = server.url

    with pytest.raises(TransportError, match="ConnectionRefusedError") as caught:
        transport.send(post(url))

    assert not caught.value.sent
    assert "127.0.0.1" not in str(caught.value)


def test_an_unknown_host_was_surely_not_sent(transport, monkeypatch):
    def fail(*arguments: object, **named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(TransportError, match="Name or service not known") as caught:
        transport.send(post("http://statsig.invalid/v1"))

    assert not caught.value.sent


def test_what_began_it_is_named_even_while_another_error_is_handled(transport):
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
        pytest.param(trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="answers before the answer"),
        pytest.param(trickle(TRICKLED_BODY, b"a"), id="body"),
        pytest.param(trickle(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"a"), id="body without a length"),
        pytest.param(
            trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"), id="body in chunks"
        ),
    ],
)
def test_an_answer_that_trickles_in_is_given_up_when_the_time_is_over(transport, behaviour):
    with SocketServer(behaviour) as server, pytest.raises(TransportError, match="`request_timeout`") as caught:
        transport.send(replace(post(server.url), timeout=0.3))

    assert caught.value.sent


def test_a_proxy_whose_answer_trickles_in_is_given_up_when_the_time_is_over(transport, monkeypatch):
    with SocketServer(trickle(b"HTTP/1.1 200 ", b"O")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(TransportError, match="`request_timeout`") as caught:
            transport.send(Request("POST", "https://statsig.invalid/v1", {}, timeout=0.2, body=b"{}"))

    assert not caught.value.sent


def test_a_request_that_is_not_read_is_given_up_when_the_time_is_over(transport):
    def read_slowly(connection: Connection) -> None:
        for _ in range(20):
            connection.sock.recv(1)
            threading.Event().wait(0.02)

    with SocketServer(read_slowly) as server, pytest.raises(TransportError, match="`request_timeout`"):
        transport.send(Request("POST", server.url, {}, timeout=0.2, body=b"a" * 20_000_000))


def test_the_time_begins_anew_with_each_request(transport):
    with SocketServer() as server:
        for _ in range(3):
            transport.send(replace(post(server.url), timeout=0.5))
            threading.Event().wait(0.3)

        assert server.connections == 1


@contextmanager
def deaf(address):
    """Let an address of this machine take no more connections, as one behind a firewall that drops them."""
    with socket.create_server(address, backlog=0), ExitStack() as waiting:
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        yield


@pytest.fixture
def resolve_to(monkeypatch):
    """Let `statsig.invalid` have these addresses."""
    resolve = socket.getaddrinfo

    def use(*hosts):
        def resolved(host, *rest, **named):
            names = hosts if host == "statsig.invalid" else [host]
            return [found for name in names for found in resolve(name, *rest, **named)]

        monkeypatch.setattr(socket, "getaddrinfo", resolved)

    return use


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is not there by itself")
def test_all_addresses_of_a_host_share_the_time_of_a_request(transport, resolve_to):
    with SocketServer() as server, deaf(("127.0.0.2", server.port)):
        resolve_to(*["127.0.0.2"] * 20)
        with pytest.raises(TransportError, match="`request_timeout`") as caught:
            transport.send(replace(post(f"http://statsig.invalid:{server.port}/v1"), timeout=0.2))

    assert not caught.value.sent


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is not there by itself")
def test_an_address_that_does_not_answer_leaves_time_for_the_next(transport, resolve_to):
    with SocketServer() as server, deaf(("127.0.0.2", server.port)):
        resolve_to("127.0.0.2", "127.0.0.1")

        assert transport.send(replace(post(f"http://statsig.invalid:{server.port}/v1"), timeout=2)).status == 202
        assert server.received[0].headers["host"] == f"statsig.invalid:{server.port}"


def test_an_answer_is_read_so_far_and_no_further(transport):
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
        pytest.param(
            Request("POST", "http://127.0.0.1:1", {"k": KEY + "\r\nx: y"}, timeout=1),
            id="line break in a header",
        ),
    ],
)
def test_what_cannot_be_sent_at_all_ends_the_run_without_naming_the_key(transport, request_):
    with pytest.raises(FatalRunError, match="could not be built") as caught:
        transport.send(request_)

    assert KEY not in str(caught.value)


def test_certificates_that_are_not_there_end_the_run_at_once(transport, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/certificates.pem")
    with pytest.raises(FatalRunError, match="no certificates at /nowhere/certificates"):
        transport.send(post("https://127.0.0.1:1/v1"))


def test_a_request_does_not_show_its_key_nor_its_body():
    shown = repr(post("http://127.0.0.1:1/v1", body=b'{"ids":["somebody"]}'))

    assert KEY not in shown
    assert "somebody" not in shown
