"""The server of the review page: on loopback by default, and for visitors with the token.

open_endpoint ── a socket and its token ── serve ── guard ── app
"""

import asyncio
import errno
import ipaddress
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from h11 import IDLE, SEND_BODY
from uvicorn.protocols.http.h11_impl import H11Protocol

from kiyome.artifacts.storage import writing
from kiyome.errors import InputError, MissingExtra
from kiyome.reviewing.guard import MAX_HEAD, App, Guard, Rules, redirect_page

if TYPE_CHECKING:
    from uvicorn import Config

MAX_CONNECTIONS = 256
"""A browser opens six."""

HEAD_SECONDS = 10.0
"""Longest time for the head of a request to arrive."""

READ_SECONDS = 30.0
"""Longest time for a client to read its answer, or to keep an unused connection."""


class TimeoutProtocol(H11Protocol):
    """A connection that is closed when its client stalls.

    Without timeouts, 900 half-open requests stayed open forever; with a limit on connections alone they would
    lock everyone else out. So at the limit, one makes room for the newest: an idle one, else one whose head
    is not whole, else one whose body is not; the oldest of these.
    """

    head_timer: asyncio.TimerHandle | None = None
    read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout of the first request."""
        super().connection_made(transport)
        self.head_timer = self.loop.call_later(HEAD_SECONDS, transport.abort)
        if len(self.connections) > MAX_CONNECTIONS:
            _to_close(self).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Start or stop the timeout of a head."""
        super().data_received(data)
        if self.conn.their_state is not IDLE:
            _stop(self.head_timer)
            self.head_timer = None
        elif self.head_timer is None:
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """Start the timeout of a client that does not read."""
        super().pause_writing()
        self.read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that timeout: the client reads."""
        super().resume_writing()
        _stop(self.read_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        _stop(self.head_timer)
        _stop(self.read_timer)
        super().connection_lost(exc)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _to_close(newest: TimeoutProtocol) -> TimeoutProtocol:
    """Return the connection to close; the newest one itself where all others are being answered."""
    others = (each for each in newest.connections if isinstance(each, TimeoutProtocol) and each is not newest)
    ranks = {each: rank for each in others if (rank := _rank(each))}
    return min(ranks, key=lambda each: ranks[each], default=newest)


def _rank(one: TimeoutProtocol) -> tuple[int, float] | None:
    """Return the rank of a connection to close, lowest first; None where it is being answered or closing."""
    if one.transport.is_closing():
        return None
    if one.timeout_keep_alive_task is not None:
        return 0, one.timeout_keep_alive_task.when()
    if one.head_timer is not None:
        return 1, one.head_timer.when()
    return (2, 0.0) if one.conn.their_state is SEND_BODY else None


LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8642
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
SHORTEST_TOKEN = 16
"""Characters of a token that people choose."""

STOP_SECONDS = 5
"""Longest time that a stop waits for unfinished answers."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The socket, host, port and token of the server."""

    listener: socket.socket
    """Listening already, so that a browser may connect; `serve` closes it."""
    host: str
    """As given by the user."""
    port: int
    token: str | None
    """None on loopback, if the user wants none."""
    token_was_made: bool = False
    """Whether it is new at this start, so that no browser knows it."""
    port_was_taken: bool = False
    """Whether another program has the default port."""

    @property
    def address(self) -> str:
        """The address for browsers, with the token."""
        name = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def rules(self, csrf: str, *, cookie_key: bytes | None = None) -> Rules:
        """Return the rules of the guard for this endpoint.

        With the `cookie_key` of the review, a browser stays signed in when the server restarts with a new
        token.
        """
        everywhere = self.host in ("0.0.0.0", "::")  # noqa: S104
        own = {socket.gethostname().lower(), socket.getfqdn().lower()} if everywhere else {self.host.lower()}
        named = {f"[{name}]" if ":" in name else name for name in own}
        return Rules(
            hosts=LOOPBACK_NAMES | named,
            any_address=everywhere,
            csrf=csrf,
            token=self.token,
            cookie_key=cookie_key if self.token_was_made else None,
            cookie=f"kiyome-{self.port}",
        )


def open_endpoint(
    host: str = LOOPBACK, port: int | None = None, token: str | None = None, *, no_token: bool = False
) -> Endpoint:
    """Return a listening socket and the token of its visitors.

    The port is 0 for any free one, and by default `DEFAULT_PORT`, or a free one where that is in use. The
    token has at least 16 letters, digits, ``-`` or ``_``, and is random by default; `no_token` admits every
    user and program of this machine, on loopback only.

    >>> endpoint = open_endpoint(port=0)
    >>> endpoint.listener.close()
    >>> endpoint.listener.family.name, endpoint.address == f"http://127.0.0.1:{endpoint.port}/?token={endpoint.token}"
    ('AF_INET', True)
    """
    if token is not None and not (len(token) >= SHORTEST_TOKEN and _is_plain(token)):
        raise InputError(
            f"The token of {len(token)} characters is not valid.",
            expected=f"Expected at least {SHORTEST_TOKEN} letters, digits, - or _.",
            remedy="Leave --token out, and one is made.",
        )
    if no_token and (token is not None or not is_loopback(host)):
        raise InputError(
            f"--no-token came with {f'--host {host}' if token is None else 'a token'}.",
            expected="A server without a token is possible on loopback only.",
            remedy="Leave --no-token out" + ("." if token is None else ", or --token and KIYOME_TOKEN."),
        )
    is_made = token is None and not no_token
    if is_made:
        token = secrets.token_urlsafe(24)
    wanted = DEFAULT_PORT if port is None else port
    try:
        listener, in_use = _bound(host, wanted), False
    except OSError as error:
        if port is not None or error.errno != errno.EADDRINUSE:
            raise InputError(
                f"The server cannot listen on {host}, port {wanted}: {error.strerror or error}.",
                remedy="Name an address of this machine with --host, and a free port with --port.",
            ) from error
        listener, in_use = _bound(host, 0), True
    return Endpoint(
        listener=listener,
        host=host,
        port=listener.getsockname()[1],
        token=token,
        token_was_made=is_made,
        port_was_taken=in_use,
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(app: App, endpoint: Endpoint, *, csrf: str, cookie_key: bytes) -> None:
    """Answer requests behind the guard until Ctrl-C or SIGTERM; running ones are finished."""
    try:
        from uvicorn import Server
    except ImportError as error:
        raise MissingExtra("The review page", extra="review") from error
    server = Server(config_of(Guard(app=app, rules=endpoint.rules(csrf, cookie_key=cookie_key))))
    try:
        server.run(sockets=[endpoint.listener])
    except KeyboardInterrupt:
        return  # the normal end; uvicorn raises it again after the last answer
    finally:
        endpoint.listener.close()


def config_of(app: App) -> "Config":
    """Return the configuration of uvicorn: one process, HTTP only, no access log."""
    from uvicorn import Config

    return Config(
        app,
        http=TimeoutProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=int(READ_SECONDS),
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def _is_plain(token: str) -> bool:
    return token.isascii() and token.replace("-", "").replace("_", "").isalnum()


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket at the first address of the host's name."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def private_link(path: Path, address: str) -> Iterator[str]:
    """The URL of a file, for its owner alone, that redirects to an address while the block runs."""
    with writing(path, private=True) as file:
        file.write(redirect_page(address).encode())
    try:
        yield path.absolute().as_uri()
    finally:
        path.unlink(missing_ok=True)
