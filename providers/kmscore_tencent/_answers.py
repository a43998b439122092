"""Fields of requests and answers: one that is missing or malformed is told by its name."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any, cast

from kmscore.errors import InternalError

Answer = dict[str, Any]
"""The content of ``Response``."""


def text_from(data: bytes) -> str:
    """Bytes as a field holds them: in base64."""
    return b64encode(data).decode()


def text_of(answer: Answer, field: str) -> str:
    """A field of text.

    Raises:
        InternalError: There is none; so for all functions below.
    """
    value = answer.get(field)
    if not isinstance(value, str) or not is_whole(value):
        raise _lacking(field)
    return value


def is_whole(text: str) -> bool:
    """Whether text has no half characters (RFC 8259, section 8.2), which nobody could print."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def bytes_of(answer: Answer, field: str) -> bytes:
    """A field of bytes, which are sent in base64."""
    try:
        return b64decode(text_of(answer, field), validate=True)
    except (binascii.Error, ValueError):
        # The native error may hold what it could not read.
        raise InternalError(f"the service's {field} is not base64") from None


def table_of(answer: Answer, field: str) -> Answer:
    """A field with fields of its own."""
    value = answer.get(field)
    if not isinstance(value, dict):
        raise _lacking(field)
    return cast("Answer", value)


def tables_of(answer: Answer, field: str) -> list[Answer]:
    """A list of such fields; empty ones are left out by the service."""
    entries: Any = answer.get(field) or []
    if not isinstance(entries, list):
        raise _lacking(field)
    for entry in cast("Any", entries):
        if not isinstance(entry, dict):
            raise _lacking(field)
    return cast("list[Answer]", entries)


def count_of(answer: Answer, field: str) -> int:
    """A whole number."""
    value = answer.get(field)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _lacking(field)
    return value


def time_of(answer: Answer, field: str) -> datetime:
    """A time, which is sent in seconds since the epoch."""
    try:
        return datetime.fromtimestamp(count_of(answer, field), UTC)
    except (ValueError, OverflowError, OSError):
        raise _lacking(field) from None


def _lacking(field: str) -> InternalError:
    return InternalError(f"the service's answer has no usable {field}")
