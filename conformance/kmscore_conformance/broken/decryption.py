"""Animals that decrypt with key pairs, and do it wrong."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from kmscore.algorithms import EncryptionAlgorithm
from kmscore.encodings.curves import SM2
from kmscore.encodings.sm2_ciphertext import SM2CiphertextFormat, sm2_ciphertext_convert
from kmscore.errors import CiphertextInvalid, InvalidRequest
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.materials import RSA_DECRYPTION, SM2_DECRYPTION
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

E: Final = EncryptionAlgorithm
Point = tuple[int, int]


@animal(
    "oaep-hash-ignored",
    "OAEP is always with SHA-1.",
    "python-pkcs11's default; SoftHSM knows no other.",
    caught_by="asym.sizes",
    also="contract.reopen asym.other-scheme pair.encrypted life.disabled life.scheduled "
    "audit.every-use",
)
class OaepHashIgnored(Sound):
    """Whatever was asked for."""

    kinds = RSA_DECRYPTION

    def open_rsa(
        self, key: rsa.RSAPrivateKey, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """SHA-1."""
        if algorithm is E.RSAES_OAEP_SHA_256:
            algorithm = E.RSAES_OAEP_SHA_1
        return super().open_rsa(key, algorithm, ciphertext)


@animal(
    "schemes-tried",
    "Every RSA scheme is tried until one fits.",
    "Services that forget which one was used.",
    caught_by="asym.other-scheme",
)
class SchemesTried(Sound):
    """One of them will do."""

    kinds = RSA_DECRYPTION

    def open_rsa(
        self, key: rsa.RSAPrivateKey, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """OAEP with either hash."""
        for each in (algorithm, E.RSAES_OAEP_SHA_256, E.RSAES_OAEP_SHA_1):
            try:
                return super().open_rsa(key, each, ciphertext)
            except CiphertextInvalid:
                continue
        raise CiphertextInvalid


def _raw(key: rsa.RSAPrivateKey, ciphertext: bytes) -> bytes:
    numbers = key.private_numbers()
    modulus = numbers.public_numbers.n
    value = int.from_bytes(ciphertext)
    if len(ciphertext) != key.key_size // 8 or value >= modulus:
        raise CiphertextInvalid
    return pow(value, numbers.d, modulus).to_bytes(key.key_size // 8)


@animal(
    "padding-oracle",
    "The error tells a wrong first byte from a wrong hash.",
    "Manger's attack of 2001, and its many heirs.",
    caught_by="asym.uniform",
)
class PaddingOracle(Sound):
    """One bit is enough."""

    kinds = RSA_DECRYPTION

    def open_rsa(
        self, key: rsa.RSAPrivateKey, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """Helpful."""
        try:
            return super().open_rsa(key, algorithm, ciphertext)
        except CiphertextInvalid as error:
            if algorithm is not E.RSAES_PKCS1_V1_5 and _raw(key, ciphertext)[0]:
                raise CiphertextInvalid("the integer is too large") from error
            raise


@animal(
    "pkcs1-lenient",
    "PKCS #1 v1.5 padding is cut at the first zero, and otherwise not looked at.",
    "Raw RSA with the unpadding done by hand.",
    caught_by="asym.pkcs1-padding",
)
class Pkcs1Lenient(Sound):
    """Finds a zero, and is content."""

    kinds = RSA_DECRYPTION

    def open_rsa(
        self, key: rsa.RSAPrivateKey, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """What comes after it."""
        if algorithm is not E.RSAES_PKCS1_V1_5:
            return super().open_rsa(key, algorithm, ciphertext)
        block = _raw(key, ciphertext)
        return block[block.index(0, 2) + 1 :] if 0 in block[2:] else block


@animal(
    "leading-zeros-lost",
    "Zeros at the beginning of a decrypted text are lost.",
    "Big numbers instead of octet strings.",
    caught_by="asym.sizes",
    also="pair.encrypted",
)
class LeadingZerosLost(Sound):
    """Takes it for a number."""

    kinds = SM2_DECRYPTION

    def open_sm2(self, secret: bytes, ciphertext: bytes) -> bytes:
        """Without them."""
        return super().open_sm2(secret, ciphertext).lstrip(b"\0")


# --- SM2 by hand: as slow as it is wrong ---------------------------------------------------------


def _add(one: Point | None, two: Point | None) -> Point | None:
    if one is None or two is None:
        return two if one is None else one
    (x1, y1), (x2, y2), p = one, two, SM2.p
    if x1 == x2 and (y1 + y2) % p == 0:
        return None
    if one == two:
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, p) % p
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, p) % p
    x3 = (slope * slope - x1 - x2) % p
    return x3, (slope * (x1 - x3) - y1) % p


def _multiply(scalar: int, point: Point) -> Point:
    total: Point | None = None
    step: Point | None = point
    while scalar:
        if scalar & 1:
            total = _add(total, step)
        step = _add(step, step)
        scalar >>= 1
    if total is None:
        raise CiphertextInvalid
    return total


def _sm3(data: bytes) -> bytes:
    return hashlib.new("sm3", data).digest()


def _opened(
    secret: bytes, parts: tuple[int, int, bytes, bytes], *, on_curve: bool, c3: bool
) -> bytes:
    """GM/T 0003.4-2012, 7.1, without the checks that are not asked for."""
    x, y, check, sealed = parts
    if on_curve and not SM2.contains(x, y):
        raise CiphertextInvalid
    try:
        x2, y2 = (value.to_bytes(32) for value in _multiply(int.from_bytes(secret), (x, y)))
    except (ValueError, OverflowError) as error:
        raise CiphertextInvalid from error
    stream = b"".join(
        _sm3(x2 + y2 + number.to_bytes(4)) for number in range(1, len(sealed) // 32 + 2)
    )
    text = bytes(a ^ b for a, b in zip(sealed, stream, strict=False))
    if c3 and _sm3(x2 + text + y2) != check:
        raise CiphertextInvalid
    return text


def _parts(ciphertext: bytes) -> tuple[int, int, bytes, bytes]:
    from kmscore.encodings.der import Reader

    try:
        reader = Reader(ciphertext, "ciphertext")
        inner = reader.sequence()
        reader.end()
        found = (inner.integer(), inner.integer(), inner.octet_string(), inner.octet_string())
        inner.end()
    except InvalidRequest as error:
        raise CiphertextInvalid from error
    if len(found[2]) != 32 or not found[3]:
        raise CiphertextInvalid
    return found


@animal(
    "c3-not-compared",
    "The hash in an SM2 ciphertext is not compared.",
    "The package gmssl computes C3, and ignores it.",
    caught_by="asym.sm2.forms asym.tampering",
    also="asym.uniform asym.other-key",
)
class C3NotCompared(Sound):
    """Opens to something."""

    kinds = SM2_DECRYPTION

    def open_sm2(self, secret: bytes, ciphertext: bytes) -> bytes:
        """Without the last step."""
        return _opened(secret, _parts(ciphertext), on_curve=True, c3=False)


@animal(
    "invalid-curve",
    "A point that is not on the curve is multiplied with the private key.",
    "CVE-2026-23966, in sm-crypto.",
    caught_by="asym.sm2.invalid-curve",
    also="asym.sm2.forms",
)
class InvalidCurve(Sound):
    """Does not look where the point is."""

    kinds = SM2_DECRYPTION

    def open_sm2(self, secret: bytes, ciphertext: bytes) -> bytes:
        """Without the first step."""
        return _opened(secret, _parts(ciphertext), on_curve=False, c3=True)


@animal(
    "sm2-old-order",
    "SM2 ciphertexts are C1C2C3.",
    "The order of 2010, which many libraries still have for a default.",
    caught_by="asym.sizes",
    also="contract.reopen asym.sm2.forms pair.encrypted life.disabled life.scheduled "
    "thread.mixed audit.every-use",
)
class Sm2OldOrder(Sound):
    """Takes DER apart in the wrong order."""

    kinds = SM2_DECRYPTION

    def open_sm2(self, secret: bytes, ciphertext: bytes) -> bytes:
        """C2 where C3 is."""
        x, y, c3, c2 = _parts(ciphertext)
        return _opened(secret, (x, y, c2, c3), on_curve=True, c3=True)


@animal(
    "sm2-form-guessed",
    "Raw SM2 ciphertexts open as well, in either order.",
    "Decryption that tries what it knows.",
    caught_by="asym.sm2.forms",
)
class Sm2FormGuessed(Sound):
    """Tries them all."""

    kinds = SM2_DECRYPTION

    def open_sm2(self, secret: bytes, ciphertext: bytes) -> bytes:
        """Until one fits."""
        for form in SM2CiphertextFormat:
            try:
                der = sm2_ciphertext_convert(ciphertext, form, SM2CiphertextFormat.DER)
                return super().open_sm2(secret, der)
            except (CiphertextInvalid, InvalidRequest):
                continue
        raise CiphertextInvalid


@animal(
    "sm2-trailing-bytes",
    "Bytes after an SM2 ciphertext are ignored.",
    "Readers of DER that stop when they have enough.",
    caught_by="asym.tampering asym.sm2.forms",
    also="asym.uniform",
)
class Sm2TrailingBytes(Sound):
    """Reads as far as it needs."""

    kinds = SM2_DECRYPTION

    def open_sm2(self, secret: bytes, ciphertext: bytes) -> bytes:
        """As long as its header says."""
        if len(ciphertext) > 3:
            head = 2 if ciphertext[1] < 0x80 else 2 + (ciphertext[1] & 0x7F)
            size = ciphertext[1] if head == 2 else int.from_bytes(ciphertext[2:head])
            ciphertext = ciphertext[: head + size]
        return super().open_sm2(secret, ciphertext)
