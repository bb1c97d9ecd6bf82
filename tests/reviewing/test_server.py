"""Where the server listens, and clients that stall, flood or send too much, against a real uvicorn."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from uvicorn import Server

from kiyome.errors import InputError
from kiyome.reviewing import guard
from kiyome.reviewing import server as patience
from kiyome.reviewing.guard import MAX_BODY, MAX_HEAD, Guard, Rules
from kiyome.reviewing.server import DEFAULT_PORT, config_of, is_loopback, open_endpoint

CSRF = "c" * 32
RULES = Rules(hosts=frozenset({"127.0.0.1"}), csrf=CSRF)
POST = f"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: same-origin\r\nX-CSRF-Token: {CSRF}\r\n"


async def count_body(scope, receive, send):
    """Say how long the body was."""
    body = (await receive())["body"] if scope["method"] == "POST" else b""
    answer = b"x" * int(scope["query_string"] or 0) or str(len(body)).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@contextmanager
def running() -> Iterator[int]:
    """The port of a server in a thread."""
    with serving() as (port, _):
        yield port


@contextmanager
def serving() -> Iterator[tuple[int, Server]]:
    """A server in a thread, with its port."""
    endpoint = open_endpoint(port=0)
    server = Server(config_of(Guard(app=count_body, rules=RULES)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [endpoint.listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield endpoint.port, server
    finally:
        server.should_exit = True
        thread.join(timeout=20)


def say(port: int, text: str | bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(text.encode() if isinstance(text, str) else text)
    return connection


def status(connection: socket.socket) -> int:
    """Of the answer; 0 where the connection ended without one."""
    try:
        head = connection.recv(2**16)
    except ConnectionError:
        return 0
    return int(head.split()[1]) if head else 0


def get(port: int) -> int:
    with say(port, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as connection:
        return status(connection)


def test_only_this_machine_can_reach_the_usual_place() -> None:
    endpoint = open_endpoint(port=0)
    with endpoint.listener as listener:
        assert listener.getsockname() == ("127.0.0.1", endpoint.port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing; tells our own outer address
            except OSError:
                pytest.skip("this machine has no other address")
            outer = probe.getsockname()[0]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((outer, endpoint.port), timeout=5)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1"])
def test_every_address_gets_a_token(host: str) -> None:
    endpoint = open_endpoint(host, 0)
    endpoint.listener.close()
    assert endpoint.token is not None
    assert len(endpoint.token) >= 32
    assert endpoint.address.endswith(f"/?token={endpoint.token}")
    rules = endpoint.rules(CSRF)
    assert rules.any_address is (host != "127.0.0.1")
    assert rules.token == endpoint.token
    assert "localhost" in rules.hosts


@pytest.mark.parametrize(
    "token", ["short", "fifteen-letters", "a token with blanks in it", "ä" * 20, "x&y=" * 9]
)
def test_a_token_that_is_short_or_odd_is_refused(token: str) -> None:
    with pytest.raises(InputError, match=r"The token of .* is not valid. Expected at least 16 letters"):
        open_endpoint(token=token)


def test_only_loopback_goes_without_a_token() -> None:
    endpoint = open_endpoint(port=0, no_token=True)
    endpoint.listener.close()
    assert (endpoint.token, endpoint.rules(CSRF).token) == (None, None)
    assert endpoint.address == f"http://127.0.0.1:{endpoint.port}/"
    for host, token, problem in (
        ("0.0.0.0", None, "--no-token came with --host 0.0.0.0"),
        ("127.0.0.1", "t" * 20, "--no-token came with a token"),
    ):
        with pytest.raises(InputError, match=rf"{problem}.*on loopback only"):
            open_endpoint(host, 0, token, no_token=True)


def test_a_browser_stays_in_over_a_restart_unless_another_token_is_chosen() -> None:
    def cookie(token: str | None = None, key: bytes = b"of this review") -> str:
        endpoint = open_endpoint(port=0, token=token)
        endpoint.listener.close()
        return endpoint.rules(CSRF, cookie_key=key).cookie_value

    assert cookie() == cookie() != cookie(key=b"of another review")
    assert cookie("t" * 20) == cookie("t" * 20) != cookie("u" * 20) != cookie()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *(("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.evil.com", False), ("", False)),
    ],
)
def test_which_addresses_are_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_taken_port_gives_way_to_a_free_one_unless_it_was_named() -> None:
    try:
        usual = socket.create_server(("127.0.0.1", DEFAULT_PORT))
    except OSError:
        usual = socket.socket()  # another program has it, which is what we need
    with usual:
        endpoint = open_endpoint()
        endpoint.listener.close()
        assert endpoint.port_was_taken
        assert endpoint.port != DEFAULT_PORT
        with pytest.raises(InputError, match=f"127.0.0.1, port {DEFAULT_PORT}: Address already in use"):
            open_endpoint(port=DEFAULT_PORT)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InputError, match="Name an address of this machine"):
        open_endpoint("192.0.2.1", 0)


@pytest.mark.parametrize("head_seconds", [0.5, 3600])
def test_half_open_requests_are_cut_and_lock_nobody_out(
    monkeypatch: pytest.MonkeyPatch, head_seconds: float
) -> None:
    """By their age, and long before that by their number."""
    monkeypatch.setattr(patience, "HEAD_SECONDS", head_seconds)
    with running() as port:
        half_open = [say(port, "GET / HTTP/1.1\r\nHost: 127") for _ in range(patience.MAX_CONNECTIONS + 50)]
        assert get(port) == 200
        cut = half_open if head_seconds < 60 else half_open[:50]
        assert [status(connection) for connection in cut] == [0] * len(cut)
        for connection in half_open:
            connection.close()


def answered(port: int) -> socket.socket:
    """A connection whose whole answer was read, and that may be used again."""
    connection, answer = say(port, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), b""
    while not answer.endswith(b"\r\n\r\n0"):
        answer += (part := connection.recv(2**16))
        assert part, "the newest is cut"
    return connection


def test_idle_connections_make_room_first_the_longest_idle_one_before_others() -> None:
    with running() as port, ExitStack() as opened:
        half_open = opened.enter_context(say(port, "GET / HTTP/1.1\r\nHost: 127"))
        idle = [opened.enter_context(answered(port)) for _ in range(patience.MAX_CONNECTIONS - 1)]
        newest = [opened.enter_context(answered(port)) for _ in range(20)]
        assert [status(connection) for connection in idle[:20]] == [0] * 20
        for connection in (idle[20], idle[-1], newest[0]):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert status(connection) == 200
        half_open.sendall(b".0.0.1\r\n\r\n")
        assert status(half_open) == 200


def test_bodies_that_drip_make_room_for_who_waits() -> None:
    with serving() as (port, server), ExitStack() as opened:
        for _ in range(patience.MAX_CONNECTIONS):
            opened.enter_context(say(port, f"{POST}Content-Length: 100\r\n\r\n["))
        connections = server.server_state.connections
        while len(connections) < patience.MAX_CONNECTIONS or any(each.head_timer for each in connections):
            time.sleep(0.01)
        assert [get(port) for _ in range(5)] == [200] * 5


def test_a_head_that_drips_is_cut_also_on_a_connection_that_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.5)
    with running() as port, say(port, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as connection:
        assert status(connection) == 200
        with pytest.raises(ConnectionError):  # noqa: PT012 - which byte meets the end is up to the system
            for _ in range(50):
                connection.sendall(b"G")
                time.sleep(0.1)


def test_a_body_that_drips_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)
    with running() as port, say(port, f"{POST}Content-Length: 100\r\n\r\n[") as connection:
        assert status(connection) == 408


def test_an_answer_that_nobody_reads_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "READ_SECONDS", 0.5)
    asked = b"GET /?%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" % 50_000_000
    with serving() as (port, server), say(port, asked) as connection:
        while server.server_state.total_requests < 1 or server.server_state.connections:
            time.sleep(0.01)
        received = 0
        with suppress(ConnectionError):
            while part := connection.recv(2**20):
                received += len(part)
        assert 0 < received < 50_000_000


def test_200_megabytes_are_refused_before_they_are_read() -> None:
    with running() as port, say(port, f"{POST}Content-Length: 200000000\r\n\r\n") as connection:
        assert status(connection) == 413


def test_chunks_without_end_are_refused() -> None:
    chunk = b"%x\r\n%s\r\n" % (2**16, b"x" * 2**16)
    with running() as port, say(port, f"{POST}Transfer-Encoding: chunked\r\n\r\n") as connection:
        sent = 0
        with suppress(ConnectionError):
            while sent < 100 * MAX_BODY:
                connection.sendall(chunk)
                sent += len(chunk)
        assert sent < 2 * MAX_BODY + 2**24  # what the system holds under way comes on top


def test_a_body_of_the_allowed_size_arrives_whole() -> None:
    with running() as port, say(port, f"{POST}Content-Length: {MAX_BODY}\r\n\r\n") as connection:
        connection.sendall(b"x" * MAX_BODY)
        answer = b""
        while not answer.endswith(str(MAX_BODY).encode()):
            answer += connection.recv(2**16)
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [
        f"GET /?{'x' * MAX_HEAD} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {'x' * 2 * MAX_HEAD}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
        f"{POST}Content-Length: -1\r\n\r\n",
        f"{POST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    ],
    ids=["long line", "long header", "two hosts", "no host", "no host 1.0", "tls", "negative", "two lengths"],
)
def test_broken_heads_are_refused(head: str) -> None:
    with running() as port, say(port, head) as connection:
        assert status(connection) in (400, 403, 431)
