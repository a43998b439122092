"""What a connection has around it: the hall that it shares with others, the desk that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmscore_server.connection import Connection
    from kmscore_server.message import BadMessage, Head, Reply, Request


class Timeouts(NamedTuple):
    """Seconds that a connection has, for each thing that it may wait for.

    Attributes:
        idle: Until the next request begins.
        head: From the first byte of a request to the end of its head.
        body: From there to the end of its body.
        write: For taking an answer that does not fit into the system's buffers.
        last: For reading a refusal, and ending what it is sending.
    """

    idle: float = 75.0
    head: float = 10.0
    body: float = 60.0
    write: float = 30.0
    last: float = 10.0


class Desk(Protocol):
    """Answers requests."""

    def answer(
        self, request: Request, peer: Connection, done: Callable[[Reply | None], None]
    ) -> None:
        """Answer a request, at once or later.

        Args:
            request: The request.
            peer: The connection that it came over.
            done: Takes the answer, on the thread of the event loop; None drops the connection.
        """
        ...

    def refuse(self, error: BadMessage, peer: Connection) -> Reply:
        """The answer to bytes that are no request."""
        ...

    def refuse_size(self, head: Head, peer: Connection) -> Reply:
        """The answer to a request whose body is too large."""
        ...


class Hall(Protocol):
    """What all connections of a server share.

    Attributes:
        now: Seconds of the event loop's clock, renewed about once a second.
        date: The time as answers state it.
        stopping: Whether the server comes to its end.
        timeouts: How long connections wait.
        desk: Answers requests.
    """

    now: float
    date: str
    stopping: bool
    timeouts: Timeouts
    desk: Desk

    @property
    def count(self) -> int:
        """Connections that are open."""
        ...

    def soon(self, call: Callable[[], None]) -> None:
        """Call when everybody has had a turn."""
        ...

    def enter(self, connection: Connection) -> None:
        """A connection was opened."""
        ...

    def leave(self, connection: Connection) -> None:
        """A connection was closed."""
        ...
