"""The SM2 engine on the pure Python package gmssl: a second opinion, not for keys that matter.

Of gmssl 3.2.2 only the scalar multiplication is used. Around it the package draws nonces from a
predictable generator, strips digits from public keys, compares no C3 and checks no point; none of
that is called. What cannot be mended from outside is the multiplication's timing, which depends on
the scalar: on private keys and nonces.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hmac import compare_digest
from importlib import import_module
from importlib.metadata import version
from typing import Final

from kmscore.encodings.curves import SM2, SM2_GENERATOR, SM2_ORDER
from kmscore.encodings.sm2_ciphertext import SM2Ciphertext
from kmscore.encodings.spki import sm2_public_key
from kmscore.errors import Unsupported
from kmscore.sm2.digest import sm3
from kmscore.sm2.engine import Engine, SM2PrivateKey, SM2PublicKey

_VERSION: Final = "3.2.2"

Point = tuple[int, int]
Multiply = Callable[[int, Point], Point]

_G: Final[Point] = (
    int.from_bytes(SM2_GENERATOR[:32], "big"),
    int.from_bytes(SM2_GENERATOR[32:], "big"),
)


class GmsslEngine(Engine):
    """SM2 with the curve arithmetic of gmssl.

    Raises:
        Unsupported: gmssl 3.2.2 is not installed.
    """

    name = "gmssl"
    description = f"gmssl {_VERSION}"

    def __init__(self) -> None:
        self._multiply = _load_multiplication()

    def _private_key(self, d: bytes) -> SM2PrivateKey:
        return GmsslPrivateKey(self._multiply, int.from_bytes(d, "big"))

    def _public_key(self, spki: bytes, point: bytes) -> SM2PublicKey:
        x, y = int.from_bytes(point[:32], "big"), int.from_bytes(point[32:], "big")
        return GmsslPublicKey(self._multiply, spki, (x, y))


class GmsslPublicKey(SM2PublicKey):
    """A public key as a point."""

    def __init__(self, multiply: Multiply, spki: bytes, point: Point) -> None:
        super().__init__(spki)
        self._multiply = multiply
        self._point = point

    def _verify(self, e: bytes, r: int, s: int) -> bool:
        t = (r + s) % SM2_ORDER
        total = _add(self._multiply(s, _G), self._multiply(t, self._point))
        return total is not None and (int.from_bytes(e, "big") + total[0] - r) % SM2_ORDER == 0

    def _encrypt(self, plaintext: bytes) -> SM2Ciphertext:
        k = _nonce()
        x, y = self._multiply(k, _G)
        shared = _bytes(self._multiply(k, self._point))
        return SM2Ciphertext(x, y, _c3(shared, plaintext), _xor_key_stream(shared, plaintext))


class GmsslPrivateKey(SM2PrivateKey):
    """A private key as a number."""

    def __init__(self, multiply: Multiply, d: int) -> None:
        super().__init__(sm2_public_key(_bytes(multiply(d, _G))))
        self._multiply = multiply
        self._d = d

    def _sign(self, e: bytes) -> tuple[int, int]:
        inverse = pow(1 + self._d, -1, SM2_ORDER)
        while True:
            k = _nonce()
            r = (int.from_bytes(e, "big") + self._multiply(k, _G)[0]) % SM2_ORDER
            s = inverse * (k - r * self._d) % SM2_ORDER
            if r and s and r + k != SM2_ORDER:
                return r, s

    def _decrypt(self, parts: SM2Ciphertext) -> bytes | None:
        shared = _bytes(self._multiply(self._d, (parts.x, parts.y)))
        plaintext = _xor_key_stream(shared, parts.c2)
        return plaintext if compare_digest(_c3(shared, plaintext), parts.c3) else None


def _load_multiplication() -> Multiply:
    hint = f"Only version {_VERSION} was examined: pip install 'kmscore[sm]'"
    try:
        found = version("gmssl")
        curve = import_module("gmssl.sm2").CryptSM2("", "")
    except ImportError as error:
        raise Unsupported("gmssl is not installed", hint=hint) from error
    if found != _VERSION:
        raise Unsupported(f"gmssl {found} is installed", hint=hint)

    def multiply(scalar: int, point: Point) -> Point:
        # For a scalar from 1 to n - 1 and a point of the curve it is right; that is seen to.
        result: str = curve._kg(scalar, _bytes(point).hex())  # noqa: SLF001
        return int(result[:64], 16), int(result[64:], 16)

    return multiply


def _nonce() -> int:
    return 1 + secrets.randbelow(SM2_ORDER - 1)


def _add(left: Point, right: Point) -> Point | None:
    """The sum of two points, or None for the point at infinity."""
    p = SM2.p
    (x1, y1), (x2, y2) = left, right
    if x1 != x2:
        slope = (y2 - y1) * pow(x2 - x1, -1, p)
    elif y1 == y2:
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, p)
    else:
        return None
    x = (slope * slope - x1 - x2) % p
    return x, (slope * (x1 - x) - y1) % p


def _bytes(point: Point) -> bytes:
    return point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def _xor_key_stream(shared: bytes, data: bytes) -> bytes:
    """Add the key stream of a shared point (GM/T 0003.4-2012, 5.4.3)."""
    blocks = range(1, (len(data) + 31) // 32 + 1)
    stream = b"".join(sm3(shared, block.to_bytes(4, "big")) for block in blocks)
    return bytes(left ^ right for left, right in zip(data, stream, strict=False))


def _c3(shared: bytes, plaintext: bytes) -> bytes:
    return sm3(shared[:32], plaintext, shared[32:])
