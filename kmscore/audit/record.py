"""One line of the audit log: how a record is written, sealed and read back.

A line is ASCII: ``{"seq":7,"prev":"…",…,"hash":"…"}`` and a line feed. The hash covers the bytes
of the line before ``,"hash":"``, so nobody needs a canonical form of JSON. docs/audit.md is the
specification.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kmscore.errors import ConfigError, InvalidRequest, LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmscore.audit.event import AuditEvent
    from kmscore.plugin import Secret

FORMAT: Final = 1
NO_PREVIOUS: Final = "0" * 64
MAX_LINE: Final = 1 << 20
"""Bytes of a line, its end included. Readers need no more memory than that."""
MAX_TEXT: Final = 1024
"""Characters of a string; what is longer was chosen by a caller, and is cut."""
MIN_KEY: Final = 32
"""Bytes of a key for HMAC-SHA-256: as many as its output, RFC 2104 section 3."""

KEYED: Final = "HMAC-SHA-256"
"""How a log says that it is sealed under a key."""

HASH_MARK: Final = b',"hash":"'
_END: Final = b'"}\n'
_TAIL_SIZE: Final = len(HASH_MARK) + 64 + len(_END)
_START: Final = re.compile(rb'\{"seq":([0-9]{1,18}),"prev":"[0-9a-f]{64}",')


class Seal:
    """What makes the hash of a record.

    Args:
        key: Key of at least 32 bytes for HMAC-SHA-256, or None for plain SHA-256.

    Attributes:
        algorithm: ``SHA-256`` or ``HMAC-SHA-256``.
        key_id: 16 hex digits that tell one key from another, or empty.
        digest: Makes the hash of bytes, in 64 lower-case hex digits.

    Raises:
        ConfigError: The key cannot be read, or is too short.
    """

    __slots__ = ("algorithm", "digest", "key_id")

    def __init__(self, key: Secret | None) -> None:
        self.digest: Callable[[bytes], str]
        if key is None:
            self.algorithm = "SHA-256"
            self.key_id = ""
            self.digest = lambda body: hashlib.sha256(body).hexdigest()
            return
        secret = key.reveal()
        if len(secret) < MIN_KEY:
            raise ConfigError(
                f"the key of the audit log has {len(secret)} bytes",
                hint=f"Use at least {MIN_KEY} random bytes, such as: openssl rand -base64 32",
            )
        self.algorithm = KEYED
        self.key_id = hmac.digest(secret, b"kmscore audit log key", "sha256").hex()[:16]
        self.digest = lambda body: hmac.digest(secret, body, "sha256").hex()


class Record(NamedTuple):
    """A line as it was read; it has the form of a record, and may have been altered.

    Attributes:
        seq: Its number; the first of a file is 0.
        prev: Hash of the record before it.
        stated: The hash that it has.
        computed: The hash that it should have.
        fields: All its fields.
    """

    seq: int
    prev: str
    stated: str
    computed: str
    fields: dict[str, Any]

    @property
    def intact(self) -> bool:
        """Whether its bytes are those that were sealed."""
        return hmac.compare_digest(self.stated, self.computed)


def event_fields(event: AuditEvent) -> str:
    """An event as the inside of a JSON object.

    Raises:
        InvalidRequest: A field has the wrong type.
    """
    try:
        if not math.isfinite(event.time + event.duration):
            raise ValueError  # JSON has no such numbers
        context = ",".join(
            f"{_quoted(key)}:{_quoted(value)}" for key, value in event.context.items()
        )
        caller = f',"caller":{_quoted(event.caller)}' if event.caller else ""
        return (
            f'"time":{event.time:.6f},"provider":{_quoted(event.provider)}'
            f',"operation":{_quoted(event.operation)},"key":{_quoted(event.key)}'
            f',"outcome":{_quoted(event.outcome)},"error":{_quoted(event.error)}'
            f',"duration":{event.duration:.6f},"request_id":{_quoted(event.request_id)}'
            f',"context":{{{context}}}{caller}'
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidRequest("a field of an audit event has the wrong type") from error


def note_fields(time: float, note: str, **values: str | int) -> str:
    """A record that is no event, as the inside of a JSON object."""
    return json.dumps({"time": round(time, 6), "note": note, **values}, separators=(",", ":"))[1:-1]


def seal_line(seal: Seal, seq: int, prev: str, fields: str) -> tuple[bytes, str]:
    """A whole line, and its hash.

    Raises:
        LimitExceeded: The line is longer than `MAX_LINE`.
    """
    body = f'{{"seq":{seq},"prev":"{prev}",{fields}'.encode("ascii")
    digest = seal.digest(body)
    line = body + end_of_line(digest)
    if len(line) > MAX_LINE:
        raise LimitExceeded(f"a record of the audit log has {len(line)} bytes")
    return line, digest


def end_of_line(digest: str) -> bytes:
    """What every line ends with: its hash, a brace and a line feed."""
    return HASH_MARK + digest.encode("ascii") + _END


def parse_line(line: bytes, seal: Seal) -> Record | None:
    """Read a line with its line feed back; None when it has not the form of a record."""
    body, tail = line[:-_TAIL_SIZE], line[-_TAIL_SIZE:]
    if not tail.startswith(HASH_MARK) or not tail.endswith(_END):
        return None
    try:
        fields: Any = json.loads(line.decode("ascii"))
        # A flipped byte may have made a quote of a digit of the hash.
        stated = tail[len(HASH_MARK) : -len(_END)].decode("ascii")
        seq, prev = fields["seq"], fields["prev"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    if type(seq) is not int or type(prev) is not str:
        return None
    return Record(seq, prev, stated, seal.digest(body), fields)


def read_seal(line: bytes, seal: Seal) -> tuple[int, str] | None:
    """Number and hash of a line that is as it was sealed, in a third of the time of `parse_line`.

    Returns:
        None where it is not, or might not be.
    """
    start = _START.match(line)
    body, tail = line[:-_TAIL_SIZE], line[-_TAIL_SIZE:]
    digest = seal.digest(body)
    if start is None or not hmac.compare_digest(tail, end_of_line(digest)):
        return None
    return int(start[1]), digest


def wrong_beginning(fields: dict[str, Any], seal: Seal) -> str:
    """Why the first record of a file does not fit the seal; empty when it does."""
    if fields.get("note") != "begin" or fields.get("format") != FORMAT:
        return f"is not the beginning of an audit log of format {FORMAT}"
    algorithm, key_id = fields.get("algorithm"), fields.get("key_id")
    if algorithm == KEYED and not seal.key_id:
        return f"the log is sealed under a key (key id {key_id}), and none was given"
    if algorithm != seal.algorithm:
        return f"the log is sealed with {algorithm}, not with {seal.algorithm}"
    if key_id != seal.key_id:
        return f"the log is sealed under another key (key id {key_id}, not {seal.key_id})"
    return ""


def _quoted(text: str) -> str:
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}… ({len(text)} characters)"
    return encode_basestring_ascii(text)
