"""The five forms of an SM2 ciphertext.

Sources: DER, GM/T 0009-2012 (= GB/T 35276-2017), clause 7; the raw forms, GM/T 0003.4-2012,
clause 6.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from kmscore.algorithms import parse
from kmscore.checks import require_bytes
from kmscore.encodings import der
from kmscore.encodings.curves import SM2
from kmscore.errors import InvalidRequest

MAX_SM2_PLAINTEXT: Final = 4096
"""Most bytes that are encrypted to an SM2 key, as many as under a symmetric key itself.

The standard's own bound, 2³² - 1 blocks of 32 bytes, is of no use: whoever has more to say encrypts
a data key. Cloud services stop far earlier, at about 146 bytes.
"""

_C3_SIZE: Final = 32


class SM2CiphertextFormat(StrEnum):
    """How the parts of an SM2 ciphertext are put together.

    C1 is the point (x, y), C2 the encrypted data, as long as the plaintext, and C3 an SM3 digest.
    The form cannot be told from the bytes: one in 256 bare ciphertexts begins with 04, and as many
    with 30 like DER. So it is always said, never guessed.
    """

    DER = "DER"
    """SEQUENCE {x, y, C3, C2}: GM/T 0009-2012, the form that kmscore itself speaks."""
    C1C3C2 = "C1C3C2"
    """04 ‖ x ‖ y ‖ C3 ‖ C2: GM/T 0003.4-2012."""
    C1C2C3 = "C1C2C3"
    """04 ‖ x ‖ y ‖ C2 ‖ C3: the order before 2012."""
    C1C3C2_BARE = "C1C3C2_BARE"
    """x ‖ y ‖ C3 ‖ C2, without the 04: Tencent Cloud KMS and gmssl."""
    C1C2C3_BARE = "C1C2C3_BARE"
    """x ‖ y ‖ C2 ‖ C3, without the 04."""


class SM2Ciphertext(NamedTuple):
    """The parts of an SM2 ciphertext.

    Attributes:
        x: First coordinate of C1.
        y: Second coordinate of C1.
        c3: The SM3 digest, 32 bytes.
        c2: The encrypted data.
    """

    x: int
    y: int
    c3: bytes
    c2: bytes


def sm2_ciphertext_convert(
    data: bytes, source: SM2CiphertextFormat | str, target: SM2CiphertextFormat | str
) -> bytes:
    """Bring a ciphertext from one form into another; the secret inside is not touched.

    Args:
        data: The ciphertext, with 1 to 4096 bytes of C2.
        source: The form that it has.
        target: The form that it gets.

    Raises:
        InvalidRequest: It is not of the source's form, C1 is not on the curve, or there is no such
            form.
    """
    given = parse(SM2CiphertextFormat, source, "form of an SM2 ciphertext")
    wanted = parse(SM2CiphertextFormat, target, "form of an SM2 ciphertext")
    return encode_ciphertext(decode_ciphertext(data, given), wanted)


def decode_ciphertext(data: bytes, form: SM2CiphertextFormat) -> SM2Ciphertext:
    """Take a ciphertext apart: C1 is on the curve, C3 has 32 bytes, and C2 is not empty.

    Raises:
        InvalidRequest: It is not of that form.
    """
    if form is SM2CiphertextFormat.DER:
        parts = _from_der(data)
    else:
        parts = _from_raw(require_bytes(data, "SM2 ciphertext"), form)
    if len(parts.c3) != _C3_SIZE or not 0 < len(parts.c2) <= MAX_SM2_PLAINTEXT:
        raise InvalidRequest(
            "a part of the SM2 ciphertext has the wrong length",
            hint=f"C3 has {_C3_SIZE} bytes, C2 has 1 to {MAX_SM2_PLAINTEXT}",
        )
    if not SM2.contains(parts.x, parts.y):
        raise InvalidRequest("C1 of the SM2 ciphertext is not on the curve")
    return parts


def encode_ciphertext(parts: SM2Ciphertext, form: SM2CiphertextFormat) -> bytes:
    """Put a ciphertext together."""
    if form is SM2CiphertextFormat.DER:
        return der.sequence(
            der.integer(parts.x),
            der.integer(parts.y),
            der.octet_string(parts.c3),
            der.octet_string(parts.c2),
        )
    mark = b"\x04" if form in _MARKED else b""
    tail = parts.c3 + parts.c2 if form in _C3_FIRST else parts.c2 + parts.c3
    return mark + parts.x.to_bytes(32, "big") + parts.y.to_bytes(32, "big") + tail


_MARKED: Final = (SM2CiphertextFormat.C1C3C2, SM2CiphertextFormat.C1C2C3)
_C3_FIRST: Final = (SM2CiphertextFormat.C1C3C2, SM2CiphertextFormat.C1C3C2_BARE)


def _from_der(data: bytes) -> SM2Ciphertext:
    outer = der.Reader(data, "SM2 ciphertext")
    cipher = outer.sequence()
    x, y = cipher.integer(), cipher.integer()
    c3, c2 = cipher.octet_string(), cipher.octet_string()
    cipher.end()
    outer.end()
    return SM2Ciphertext(x, y, c3, c2)


def _from_raw(data: bytes, form: SM2CiphertextFormat) -> SM2Ciphertext:
    if form in _MARKED:
        if data[0] != 0x04:
            raise InvalidRequest(f"an SM2 ciphertext in the form {form} begins with the byte 04")
        data = data[1:]
    x, y, tail = data[:32], data[32:64], data[64:]
    if len(tail) <= _C3_SIZE:
        raise InvalidRequest("the SM2 ciphertext is too short")
    if form in _C3_FIRST:
        c3, c2 = tail[:_C3_SIZE], tail[_C3_SIZE:]
    else:
        c3, c2 = tail[-_C3_SIZE:], tail[:-_C3_SIZE]
    return SM2Ciphertext(int.from_bytes(x, "big"), int.from_bytes(y, "big"), c3, c2)
