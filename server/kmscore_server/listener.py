"""One worker's event loop: takes connections in, watches their time, and ends them gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from kmscore_server.connection import Connection

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from kmscore_server.hall import Desk, Timeouts
    from kmscore_server.metrics import Metrics

TICK: Final = 1.0
"""Seconds between two looks at the clock, and at the time that connections have left."""
HANDSHAKE: Final = 10.0
"""Seconds that a client has for the handshake of TLS."""
LINGER: Final = 0.05
"""Seconds that idle connections stay open when the server ends."""
STEP_BACK: Final = 0.002
"""Seconds that a client is left to workers with fewer connections."""

_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """Serves connections of one listening socket, which several workers may share.

    Args:
        listening: The socket, listening and not blocking; closed when the end begins.
        desk: Answers requests.
        metrics: Counts connections.
        most: Connections at most; further clients wait to be taken in.
        timeouts: How long connections wait.
        tls: For connections by TLS, or None.

    Attributes:
        now: Seconds of the loop's clock at the last tick.
        date: The time at the last tick, as answers state it.
        stopping: Whether it comes to its end.
    """

    def __init__(
        self,
        listening: socket.socket,
        desk: Desk,
        metrics: Metrics,
        *,
        most: int,
        timeouts: Timeouts,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.timeouts = timeouts
        self.desk = desk
        self.stopping = False
        self.date = formatdate(usegmt=True)
        self._listening = listening
        self._metrics = metrics
        self._most = most
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time()
        self._connections: set[Connection] = set()
        self._arriving: set[asyncio.Task[None]] = set()
        self._accepting = False
        self._empty = asyncio.Event()

    async def run(self, stop: asyncio.Event, grace: float) -> None:
        """Serve until `stop` is set; then finish what has begun.

        Args:
            stop: Set when no more connections shall be taken in.
            grace: Seconds that requests which have begun still have.
        """
        ticking = self._loop.create_task(self._tick())
        self._open_door()
        try:
            await stop.wait()
            self._close_door()
            self._take_in_waiting()
            # Whoever comes now is refused at once; in the queue they would wait for nothing.
            self._listening.close()
            self.stopping = True
            await self._wind_down(grace)
        finally:
            self._close_door()
            ticking.cancel()
            for connection in tuple(self._connections):
                connection.abort()

    # --- What connections call ---------------------------------------------------------------

    @property
    def count(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    def soon(self, call: Callable[[], None]) -> None:
        """Call when everybody has had a turn."""
        self._loop.call_soon(call)

    def enter(self, connection: Connection) -> None:
        """A connection was opened."""
        self._connections.add(connection)
        self._metrics.opened()

    def leave(self, connection: Connection) -> None:
        """A connection was closed."""
        self._connections.discard(connection)
        self._metrics.closed()
        if self.stopping:
            self._empty.set()
        else:
            self._open_door()

    # --- Taking in ---------------------------------------------------------------------------
    #
    # Who wakes first could take all clients that come together, and the other workers none. So a
    # worker that has more connections than another one steps back, but not for long: the other
    # may be busy, or dead.

    def _open_door(self) -> None:
        if not (self._accepting or self.stopping) and self._count() < self._most:
            self._accepting = True
            self._loop.add_reader(self._listening, self._accept)

    def _close_door(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listening)

    def _count(self) -> int:
        return len(self._connections) + len(self._arriving)

    def _accept(self) -> None:
        """Take one connection in, or leave it to others: one at a time, so that they get theirs."""
        if self._count() > self._metrics.fewest_elsewhere():
            self._close_door()
            self._loop.call_later(STEP_BACK, self._come_forward)
        else:
            self._take_in()

    def _come_forward(self) -> None:
        """Take in who was left to others, if they did not."""
        if not self.stopping and self._count() < self._most:
            self._take_in()
        self._open_door()

    def _take_in(self) -> bool:
        """Take one connection in, if one is there."""
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            # The next tick, or the next connection that ends, opens the door again.
            self._close_door()
            return False
        accepted.setblocking(False)
        task = self._loop.create_task(self._adopt(accepted))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)
        if self._count() >= self._most:
            self._close_door()
        return True

    async def _adopt(self, accepted: socket.socket) -> None:
        # asyncio sets TCP_NODELAY. What fails here is the client's handshake, or its patience.
        with contextlib.suppress(OSError, TimeoutError):
            await self._loop.connect_accepted_socket(
                lambda: Connection(self),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE if self._tls else None,
            )

    def _take_in_waiting(self) -> None:
        """Who has connected before the end is still served."""
        while self._count() < self._most and self._take_in():
            pass

    # --- Time --------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.now = self._loop.time()
            self.date = formatdate(usegmt=True)
            for connection in tuple(self._connections):
                if connection.deadline is not None and connection.deadline <= self.now:
                    connection.expire()
            self._open_door()

    async def _wind_down(self, grace: float) -> None:
        ends = self._loop.time() + grace
        if self._arriving:
            await asyncio.wait(self._arriving, timeout=grace)
        # Requests that are on their way, or wait in the system's buffers, are still answered.
        await asyncio.sleep(LINGER)
        while self._connections:
            for connection in tuple(self._connections):
                connection.finish()
            self._empty.clear()
            try:
                await asyncio.wait_for(self._empty.wait(), ends - self._loop.time())
            except TimeoutError:
                return
