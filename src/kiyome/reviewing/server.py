"""Where the review page is served: on loopback unless told otherwise, and to who knows the token.

take_place ── a socket and its token ── serve ── guard ── app
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
from kiyome.reviewing.guard import MAX_HEAD, App, Guard, Rules, leading_to

if TYPE_CHECKING:
    from uvicorn import Config

MAX_CONNECTIONS = 256
"""A browser opens six."""

HEAD_SECONDS = 10.0
"""A request whose head is not whole by then never will be."""

READ_SECONDS = 30.0
"""For so long a client may let its answer wait, or keep a connection that it does not use."""


class Impatient(H11Protocol):
    """A connection that is cut when its client stalls.

    Without this, 900 half-open requests stayed open for as long as they liked; with a limit on connections
    alone they would lock everyone else out. So where all are taken, one that costs least makes room for the
    newest: an idle one, else one whose head is not whole, else one whose body is not; the oldest of these.
    """

    head_timer: asyncio.TimerHandle | None = None
    read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first request."""
        super().connection_made(transport)
        self.head_timer = self.loop.call_later(HEAD_SECONDS, transport.abort)
        if len(self.connections) > MAX_CONNECTIONS:
            _least_missed(self).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head; stop waiting once it is whole."""
        super().data_received(data)
        if self.conn.their_state is not IDLE:
            _stop(self.head_timer)
            self.head_timer = None
        elif self.head_timer is None:
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """Start to wait for a client that reads its answer."""
        super().pause_writing()
        self.read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting: the client reads."""
        super().resume_writing()
        _stop(self.read_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no timer behind."""
        _stop(self.head_timer)
        _stop(self.read_timer)
        super().connection_lost(exc)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _least_missed(newest: Impatient) -> Impatient:
    """The connection that makes room; the newest one itself where all others are being answered."""
    others = (each for each in newest.connections if isinstance(each, Impatient) and each is not newest)
    ranks = {each: rank for each in others if (rank := _rank(each))}
    return min(ranks, key=lambda each: ranks[each], default=newest)


def _rank(one: Impatient) -> tuple[int, float] | None:
    """How soon a connection is to go; None where it is being answered, or cut already."""
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
"""For so long a stop waits for answers that are under way."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the server listens, and what its visitors must know."""

    listener: socket.socket
    """It listens already, so that a browser may be sent there; it belongs to `serve`, which closes it."""
    host: str
    """As the user named it."""
    port: int
    token: str | None
    """None on loopback, if the user asked for none."""
    token_was_made: bool = False
    """Whether it is new at this start, so that browsers of an earlier one could not know it."""
    port_was_taken: bool = False
    """Whether this is not the usual port, because another program has that."""

    @property
    def address(self) -> str:
        """What a browser opens, with the token."""
        name = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def rules(self, csrf: str, *, cookie_key: bytes | None = None) -> Rules:
        """What the guard asks of requests to this place.

        Parameters
        ----------
        csrf
            As `Rules.csrf`.
        cookie_key
            Of the review: a browser that came in once stays in when the server starts again with a new token.
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


def take_place(
    host: str = LOOPBACK, port: int | None = None, token: str | None = None, *, no_token: bool = False
) -> Place:
    """Return a socket that listens, and the token that its visitors must know.

    Parameters
    ----------
    host
        An address or name of this machine.
    port
        0 for any free one; `DEFAULT_PORT` if not given, or a free one where that is taken.
    token
        At least 16 letters, digits, ``-`` or ``_``; made at random if not given.
    no_token
        Let in every user and program of this machine; on loopback only.

    Raises
    ------
    InputError
        When the token is short, there is to be none where other machines reach the server, the host is no
        address of this machine, or the named port is taken.

    Examples
    --------
    >>> place = take_place(port=0)
    >>> place.listener.close()
    >>> place.listener.family.name, place.address == f"http://127.0.0.1:{place.port}/?token={place.token}"
    ('AF_INET', True)
    """
    if token is not None and not (len(token) >= SHORTEST_TOKEN and _is_plain(token)):
        raise InputError(
            f"A token has at least {SHORTEST_TOKEN} letters, digits, - or _.",
            came=f"one of {len(token)} characters",
            remedy="Leave --token away, and one is made.",
        )
    if no_token and (token is not None or not is_loopback(host)):
        raise InputError(
            "A server goes without a token only on loopback, and where none is given.",
            came=f"--no-token with --host {host}" if token is None else "--no-token with a token",
            remedy="Leave --no-token away" + ("." if token is None else ", or --token and KIYOME_TOKEN."),
        )
    is_made = token is None and not no_token
    if is_made:
        token = secrets.token_urlsafe(24)
    wanted = DEFAULT_PORT if port is None else port
    try:
        listener, taken = _bound(host, wanted), False
    except OSError as error:
        if port is not None or error.errno != errno.EADDRINUSE:
            raise InputError(
                "The server can listen on its host and port.",
                came=f"{host}, port {wanted}: {error.strerror or error}",
                remedy="Name an address of this machine with --host, and a free port with --port.",
            ) from error
        listener, taken = _bound(host, 0), True
    return Place(
        listener=listener,
        host=host,
        port=listener.getsockname()[1],
        token=token,
        token_was_made=is_made,
        port_was_taken=taken,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(app: App, place: Place, *, csrf: str, cookie_key: bytes) -> None:
    """Answer requests at `place`, behind the guard, until Ctrl-C or SIGTERM; what runs then is finished.

    Raises
    ------
    MissingExtra
        Without uvicorn.
    """
    try:
        from uvicorn import Server
    except ImportError as error:
        raise MissingExtra("The review page", extra="review") from error
    server = Server(config_of(Guard(app=app, rules=place.rules(csrf, cookie_key=cookie_key))))
    try:
        server.run(sockets=[place.listener])
    except KeyboardInterrupt:
        return  # the usual end; uvicorn raises it again once all is answered
    finally:
        place.listener.close()


def config_of(app: App) -> "Config":
    """How uvicorn serves: one process, HTTP only, nothing logged of who asked for what."""
    from uvicorn import Config

    from kiyome.reviewing.server import MAX_CONNECTIONS, READ_SECONDS, Impatient

    return Config(
        app,
        http=Impatient,
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
    """A socket at the first address that the host's name stands for."""
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
def private_way(path: Path, address: str) -> Iterator[str]:
    """The address of a file, for its owner alone, that leads to an address while the block runs."""
    with writing(path, private=True) as file:
        file.write(leading_to(address).encode())
    try:
        yield path.absolute().as_uri()
    finally:
        path.unlink(missing_ok=True)
