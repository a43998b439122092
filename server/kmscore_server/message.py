"""Messages of HTTP/1.1 (RFC 9110, RFC 9112): heads are parsed strictly, answers are written.

What two programs could understand differently is refused: lengths said twice, folded or bare lines,
spaces before colons.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_HEAD: Final = 48 * 1024
"""Bytes of request line and fields: room for the longest GET that the API allows, 32 KiB."""
MAX_BODY: Final = 10 * 1024 * 1024
"""Bytes of a body, as the API has it."""

JSON: Final = "application/json"
"""Exactly so: with a charset behind it, SDKs take errors for answers without fields."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a word of the standard
_HEAD: Final = re.compile(
    rf"({_TOKEN}) ([\x21-\x7e\x80-\xff]+) HTTP/(1\.[01])"
    rf"((?:\r\n{_TOKEN}:[\t\x20-\x7e\x80-\xff]*+)*+)"
)
_LENGTH: Final = re.compile(r"[0-9]{1,15}")

_SINGLE: Final = frozenset(
    {
        "authorization",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "x-tc-action",
        "x-tc-content-sha256",
        "x-tc-region",
        "x-tc-timestamp",
        "x-tc-token",
        "x-tc-version",
    }
)
"""Fields whose second value somebody else may have added."""

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class BadMessage(Exception):
    """The bytes are no request that could be answered and followed by another one.

    Args:
        status: The status of HTTP.
        message: What is wrong.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Head(NamedTuple):
    """A request without its body.

    Attributes:
        method: Such as ``POST``.
        path: The target's path.
        query: What follows the question mark, as sent.
        fields: By lower-case name, in Latin-1, without the white space around them.
        length: Bytes of the body; None for a chunked one.
        keep_alive: Whether another request may follow on the connection.
    """

    method: str
    path: str
    query: str
    fields: dict[str, str]
    length: int | None
    keep_alive: bool


class Request(NamedTuple):
    """A whole request."""

    head: Head
    body: bytes


class Reply(NamedTuple):
    """An answer.

    Attributes:
        body: Its content.
        status: The status of HTTP.
        content_type: What the content is.
    """

    body: bytes
    status: int = 200
    content_type: str = JSON


def parse_head(data: bytes) -> Head:
    """Request line and fields, without the empty line that ends them.

    Raises:
        BadMessage: They are not those of a request of HTTP/1.0 or HTTP/1.1.
    """
    match = _HEAD.fullmatch(data.decode("latin-1"))
    if match is None:
        raise BadMessage(400, "this is no request of HTTP/1.1")
    method, target, version, lines = match.groups()
    fields: dict[str, str] = {}
    for line in lines.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name in fields:
            value = _joined(name, fields[name], value)
        fields[name] = value.strip()
    path, _, query = _origin(target).partition("?")
    connection = fields.get("connection", "").lower()
    if version == "1.1":
        if "host" not in fields:
            raise BadMessage(400, "there is no field host")
        keep_alive = "close" not in connection
    else:
        keep_alive = False
    return Head(method, path, query, fields, _length(fields, version), keep_alive)


def write_reply(reply: Reply, date: str, *, close: bool) -> bytes:
    """The bytes of an answer.

    Args:
        reply: The answer.
        date: The time, as `email.utils.formatdate` writes it.
        close: Whether the connection ends with it.
    """
    body = reply.body
    ending = "Connection: close\r\n\r\n" if close else "\r\n"
    head = (
        f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}\r\n"
        f"Content-Type: {reply.content_type}\r\nContent-Length: {len(body)}\r\n"
        f"Date: {date}\r\n{ending}"
    )
    return head.encode("latin-1") + body


def _joined(name: str, first: str, second: str) -> str:
    """The value of a field that comes twice."""
    if name in _SINGLE:
        raise BadMessage(400, f"there is more than one field {name}")
    return f"{first}, {second.strip()}"


def _origin(target: str) -> str:
    """Path and query of a target; a proxy's client sends the whole address."""
    if target.startswith("/"):
        return target
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise BadMessage(400, "the target is no path")
    _, slash, path = rest.partition("/")
    return slash + path or "/"


def _length(fields: dict[str, str], version: str) -> int | None:
    length = fields.get("content-length")
    coding = fields.get("transfer-encoding")
    if coding is None:
        if length is None:
            return 0
        if not _LENGTH.fullmatch(length):
            raise BadMessage(400, "the content length is no number")
        return int(length)
    if length is not None or version != "1.1" or coding.lower() != "chunked":
        raise BadMessage(400, "the length of the body cannot be known")
    return None
