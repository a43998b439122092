"""One connection: requests are taken from it one after the other, and answered in that order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from kmscore_server.body import ChunkedBody, TooLarge
from kmscore_server.message import (
    MAX_BODY,
    MAX_HEAD,
    BadMessage,
    Head,
    Reply,
    Request,
    parse_head,
    write_reply,
)

if TYPE_CHECKING:
    from kmscore_server.hall import Hall

_MOST_WAITING: Final = 256 * 1024
"""Bytes that may wait while a request is being answered: further requests, sent ahead."""
_MOST_AT_ONCE: Final = 8
"""Requests sent ahead that are answered before other clients have their turn."""
_MOST_DISCARDED: Final = 8 * MAX_BODY
"""Bytes of a body that is too large that are read, so that its sender comes to see the answer."""


class Connection(asyncio.Protocol):
    """A client's connection.

    Args:
        hall: What it shares with the others.

    Attributes:
        deadline: When its patience ends, by the clock of the hall; None while it is our turn.
    """

    __slots__ = (
        "_answering",
        "_body",
        "_chunks",
        "_closing",
        "_discard",
        "_ended",
        "_full",
        "_hall",
        "_head",
        "_incoming",
        "_resting",
        "_running",
        "_searched",
        "_transport",
        "deadline",
    )

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._transport: asyncio.Transport | None = None
        self._incoming = b""
        self._searched = 0  # bytes in which no head ends
        self._head: Head | None = None
        self._body = bytearray()
        self._chunks: ChunkedBody | None = None
        self._discard: int | None = None  # bytes still to be thrown away; then it is closed
        self._answering = False
        self._running = False
        self._resting = False  # others have their turn, then it goes on
        self._full = False  # the client does not take what we write
        self._closing = False
        self._ended = False  # the client sends no more
        self.deadline: float | None = hall.now + hall.timeouts.head

    # --- What asyncio calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream it always is
        self._transport = transport
        self._hall.enter(self)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        if self._closing:
            return
        if self._discard is not None:
            self._throw_away(len(data))
            return
        self._incoming = self._incoming + data if self._incoming else data
        if not (self._answering or self._resting):
            self._go_on()
        elif len(self._incoming) > _MOST_WAITING and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool | None:
        """The client sends no more; what it has sent is still answered."""
        if (self._answering or self._resting) and self._transport is not None:
            self._ended = True
            return self._transport.get_extra_info("sslcontext") is None
        return None

    def pause_writing(self) -> None:
        """The client does not take its answers."""
        self._full = True
        self.deadline = self._hall.now + self._hall.timeouts.write

    def resume_writing(self) -> None:
        """It does again."""
        self._full = False
        if not self._answering:
            self.deadline = self._hall.now + self._hall.timeouts.idle
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._closing = True
        self._transport = None
        self._hall.leave(self)

    # --- What the server calls ---------------------------------------------------------------

    @property
    def address(self) -> str:
        """Where the client is, for logs."""
        peer = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(cast("Any", peer)[0]) if isinstance(peer, tuple) else ""

    @property
    def is_alone(self) -> bool:
        """Whether the server has no other connection."""
        return self._hall.count == 1

    def expire(self) -> None:
        """Its time is over."""
        begun = self._head is not None or bool(self._incoming)
        if begun and not (self._full or self._closing) and self._discard is None:
            error = BadMessage(408, "the request took too long")
            self._part_with(self._hall.desk.refuse(error, self), _MOST_DISCARDED)
        elif self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """End it, as soon as the request that has begun is answered."""
        begun = self._answering or self._head is not None or bool(self._incoming)
        if (not begun or self._discard is not None) and self._transport is not None:
            self._closing = True
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- Requests ----------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Answer requests that are there, until one takes longer, or others have their turn."""
        if self._running or self._resting:
            return
        self._running = True
        answered = 0
        try:
            while self._incoming and self._serves():
                if answered == _MOST_AT_ONCE:
                    self._rest()
                    return
                request = self._next()
                if request is None:
                    break
                answered += 1
                self._answering = True
                self._closing = not request.head.keep_alive
                self.deadline = None
                self._hall.desk.answer(request, self, self._answer)
        except BadMessage as error:
            self._part_with(self._hall.desk.refuse(error, self), _MOST_DISCARDED)
        except TooLarge:
            self._refuse_size()
        finally:
            self._running = False
        if self._serves():
            self._read_on()

    def _serves(self) -> bool:
        """Whether the next request may be answered now."""
        if self._answering or self._closing or self._full or self._transport is None:
            return False
        # Who has gone is not noticed before something was written.
        return not self._transport.is_closing()

    def _rest(self) -> None:
        """Go on when others have had their turn."""
        self._resting = True

        def go_on() -> None:
            self._resting = False
            if self._transport is not None and not self._transport.is_closing():
                self._go_on()

        self._hall.soon(go_on)

    def _read_on(self) -> None:
        """Take more in, while there is room for it."""
        if self._transport is None:
            return
        if self._ended:
            # What is left, if anything, is a request that will never be whole.
            self._closing = True
            self._transport.close()
        elif len(self._incoming) <= _MOST_WAITING:
            self._transport.resume_reading()

    def _next(self) -> Request | None:
        """The next request, when all of it is there."""
        if self._head is None and not self._read_head():
            return None
        head = self._head
        assert head is not None  # noqa: S101 - that is what it has been read for
        if self._chunks is not None:
            self._incoming, whole = self._chunks.feed(self._incoming)
            if not whole:
                return None
            body = self._chunks.body
            self._chunks = None
        else:
            missing = (head.length or 0) - len(self._body)
            if len(self._incoming) < missing:
                self._body += self._incoming
                self._incoming = b""
                return None
            body = self._incoming[:missing]
            self._incoming = self._incoming[missing:]
            if self._body:
                body = bytes(self._body) + body
                self._body = bytearray()
        self._head = None
        return Request(head, body)

    def _read_head(self) -> bool:
        # An empty line before a request is the end of what an old client sent before it.
        if self._incoming.startswith(b"\r\n"):
            self._incoming = self._incoming[2:]
        end = self._incoming.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            if len(self._incoming) > MAX_HEAD:
                raise BadMessage(431, "the head of the request is too long")
            if not self._searched:
                self.deadline = self._hall.now + self._hall.timeouts.head
            self._searched = len(self._incoming)
            return False
        self._searched = 0
        if end > MAX_HEAD:
            raise BadMessage(431, "the head of the request is too long")
        self._head = head = parse_head(self._incoming[:end])
        self._incoming = self._incoming[end + 4 :]
        if head.length is None:
            self._chunks = ChunkedBody(MAX_BODY)
        elif head.length > MAX_BODY:
            raise TooLarge
        if head.length != 0:
            self.deadline = self._hall.now + self._hall.timeouts.body
            if not self._incoming and head.fields.get("expect", "").lower() == "100-continue":
                self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _answer(self, reply: Reply | None) -> None:
        """Take the answer to the request that is being answered."""
        self._answering = False
        if self._transport is None:
            return
        if reply is None:
            self._closing = True
            self._transport.abort()
            return
        self._write(reply, self._closing or self._hall.stopping)
        if not self._running:
            self._go_on()

    def _write(self, reply: Reply, close: bool) -> None:
        self.deadline = self._hall.now + self._hall.timeouts.idle
        self._send(write_reply(reply, self._hall.date, close=close))
        if close and self._transport is not None:
            self._closing = True
            self._transport.close()

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    # --- The end ------------------------------------------------------------------------------

    def _refuse_size(self) -> None:
        head = self._head
        assert head is not None  # noqa: S101 - it says how long the body is
        rest = _MOST_DISCARDED if head.length is None else min(head.length, _MOST_DISCARDED)
        self._part_with(self._hall.desk.refuse_size(head, self), rest)

    def _part_with(self, reply: Reply, rest: int) -> None:
        """Answer for the last time, and read on: who is still sending would not see the answer.

        Args:
            reply: The answer.
            rest: Bytes that are read at most, and thrown away.
        """
        transport = self._transport
        if transport is None:
            return
        self._send(write_reply(reply, self._hall.date, close=True))
        if transport.can_write_eof():
            transport.write_eof()
        transport.resume_reading()
        self.deadline = self._hall.now + self._hall.timeouts.last
        waiting, self._incoming = len(self._incoming), b""
        self._discard = rest
        self._throw_away(waiting)

    def _throw_away(self, count: int) -> None:
        assert self._discard is not None  # noqa: S101
        self._discard -= count
        if self._discard <= 0 and self._transport is not None:
            self._closing = True
            self._transport.close()
