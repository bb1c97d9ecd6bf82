"""HTTP/1.1 with an end to waiting: uvicorn itself waits for ever for the head of a request."""

import asyncio

from h11 import IDLE, SEND_BODY
from uvicorn.protocols.http.h11_impl import H11Protocol

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
