"""Checks of what callers pass, before it reaches a provider or a C library."""

from __future__ import annotations

from io import TextIOBase
from typing import Any

from kmscore.errors import InvalidRequest, LimitExceeded


def require_bytes(value: Any, what: str) -> bytes:
    """The value, if it is a non-empty bytes object.

    Raises:
        InvalidRequest: It is something else, or empty.
    """
    if not isinstance(value, bytes):
        raise InvalidRequest(f"the {what} is a {type(value).__name__}", hint="Give bytes")
    if not value:
        raise InvalidRequest(f"the {what} is empty")
    return value


def require_text(value: Any, what: str) -> str:
    """The value, if it is printable text.

    Lone surrogates crash C libraries further down, and line breaks forge log lines.

    Raises:
        InvalidRequest: It is something else.
    """
    if not isinstance(value, str):
        raise InvalidRequest(f"the {what} is a {type(value).__name__}", hint="Give a str")
    if not value.isprintable():
        raise InvalidRequest(f"the {what} holds characters that cannot be printed")
    return value


def require_length(value: Any, most: int, what: str) -> int:
    """The value, if it is a whole number from 1 to ``most``, in bytes.

    Raises:
        InvalidRequest: It is no such number.
        LimitExceeded: It is larger.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidRequest(f"the length of the {what} is {value!r}", hint="Give bytes, from 1")
    if value > most:
        raise LimitExceeded(f"the {what} would have {value} bytes", hint=f"At most {most}")
    return value


def require_days(value: Any, span: tuple[int, int], what: str) -> int:
    """The value, if it is a whole number of days within a span.

    Raises:
        InvalidRequest: It is not.
    """
    low, high = span
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidRequest(f"the {what} is {value!r} days", hint=f"Use {low} to {high}")
    return value


def require_binary(file: Any, method: str, what: str) -> None:
    """Refuse what is no open binary file, before anything is read of it or written.

    Raises:
        InvalidRequest: It is a text file, or something without that method.
    """
    if isinstance(file, TextIOBase) or not hasattr(file, method):
        raise InvalidRequest(
            f"the {what} is a {type(file).__name__}", hint="Give an open binary file"
        )
