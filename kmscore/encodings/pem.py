"""PEM, strictly: one block, the expected label, canonical base64 (RFC 7468)."""

from __future__ import annotations

import binascii

from kmscore.errors import InvalidRequest

_WIDTH = 64


def pem_encode(data: bytes, label: str = "PUBLIC KEY") -> str:
    """DER as PEM text, in lines of 64 characters, with a line feed at the end."""
    text = binascii.b2a_base64(data, newline=False).decode()
    lines = [text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def pem_decode(pem: str | bytes, label: str = "PUBLIC KEY") -> bytes:
    """The DER inside PEM text.

    Lines may end with CR LF and have any width; white space around the block is ignored.

    Args:
        pem: The text, with one block and nothing else.
        label: What the block must be.

    Raises:
        InvalidRequest: It is something else, or its base64 is not the canonical one.
    """
    text = pem.decode("ascii", errors="replace") if isinstance(pem, bytes) else pem
    # Callers without a type checker pass anything at all.
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(f"the PEM is a {type(pem).__name__}", hint="Give str or bytes")
    lines = [line.removesuffix("\r") for line in text.strip().split("\n")]
    if lines[0] != f"-----BEGIN {label}-----" or lines[-1] != f"-----END {label}-----":
        raise InvalidRequest(
            f"this is not one PEM block of {label}",
            hint=f"It must begin with -----BEGIN {label}----- and hold nothing else",
        )
    try:
        body = "".join(lines[1:-1]).encode("ascii")
        data = binascii.a2b_base64(body, strict_mode=True)
    except ValueError as error:
        raise InvalidRequest("the PEM holds something that is not base64") from error
    # Spare bits of the last character may be anything for the decoder.
    if not data or binascii.b2a_base64(data, newline=False) != body:
        raise InvalidRequest("the base64 of the PEM is empty or not canonical")
    return data
