"""ECDSA and SM2 signatures: DER SEQUENCE {r, s}, and r ‖ s as tokens and JOSE have it."""

from __future__ import annotations

from kmscore.checks import require_bytes
from kmscore.encodings import der
from kmscore.errors import InvalidRequest


def signature_integers(signature: bytes) -> tuple[int, int]:
    """The integers r and s of a DER signature (RFC 3279, 2.2.3; GM/T 0009-2012, clause 7).

    Raises:
        InvalidRequest: It is not strict DER of two non-negative integers.
    """
    outer = der.Reader(signature, "signature")
    pair = outer.sequence()
    r, s = pair.integer(), pair.integer()
    pair.end()
    outer.end()
    return r, s


def signature_der(r: int, s: int) -> bytes:
    """The DER signature of r and s."""
    return der.sequence(der.integer(r), der.integer(s))


def signature_to_raw(signature: bytes, size: int) -> bytes:
    """From DER to r ‖ s (IEEE P1363).

    Args:
        signature: SEQUENCE {r, s} in DER.
        size: Bytes per integer: 32 for P-256 and SM2, 48 for P-384.

    Raises:
        InvalidRequest: It is not strict DER, or an integer does not fit.
    """
    r, s = signature_integers(signature)
    _require_size(size)
    if max(r, s).bit_length() > 8 * size:
        raise InvalidRequest(f"the signature holds an integer of more than {size} bytes")
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def signature_from_raw(raw: bytes, size: int | None = None) -> bytes:
    """From r ‖ s (IEEE P1363) to DER.

    Args:
        raw: Both integers, padded to the same size.
        size: Bytes per integer that the curve asks for, such as 32; None takes half of what is
            there.

    Raises:
        InvalidRequest: The length is odd or zero, or not twice the size.
    """
    require_bytes(raw, "raw signature")
    half = len(raw) // 2 if size is None else _require_size(size)
    if len(raw) != 2 * half:
        raise InvalidRequest(
            f"the raw signature has {len(raw)} bytes",
            hint="It must be r and s, both padded to the size of the curve",
        )
    return signature_der(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def _require_size(size: int) -> int:
    # Callers without a type checker pass anything at all.
    if type(size) is not int:
        raise InvalidRequest(f"the size is a {type(size).__name__}", hint="Give bytes, such as 32")
    return size
