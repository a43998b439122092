"""The curves: enough of them to tell whether a point lies on its curve, and more of SM2.

Sources: P-256 and P-384, NIST SP 800-186, 3.2.1; SM2, GM/T 0003.5-2012 (= GB/T 32918.5-2017);
Ed25519, RFC 8032, 5.1.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kmscore.errors import InvalidRequest


class Curve(NamedTuple):
    """A curve y² = x³ - 3x + b over the integers modulo p, of prime order.

    Attributes:
        name: For error texts.
        size: Bytes of a coordinate.
        p: The modulus.
        b: The coefficient.
    """

    name: str
    size: int
    p: int
    b: int

    def contains(self, x: int, y: int) -> bool:
        """Whether (x, y) is a point of the curve, with both coordinates below p."""
        p = self.p
        return x < p and y < p and (y * y - x * x * x + 3 * x - self.b) % p == 0

    def decode(self, point: bytes) -> tuple[int, int]:
        """The coordinates of an uncompressed point, 04 ‖ x ‖ y (SEC 1, 2.3.4).

        Raises:
            InvalidRequest: It is compressed, has the wrong length, or is not on the curve.
        """
        size = self.size
        if len(point) != 2 * size + 1 or point[0] != 0x04:
            raise InvalidRequest(
                f"this is no uncompressed {self.name} point",
                hint=f"It must be 04 ‖ x ‖ y in {2 * size + 1} bytes",
            )
        x, y = int.from_bytes(point[1 : size + 1], "big"), int.from_bytes(point[size + 1 :], "big")
        if not self.contains(x, y):
            raise InvalidRequest(f"the point is not on the curve {self.name}")
        return x, y


P256: Final = Curve(
    "P-256",
    32,
    2**256 - 2**224 + 2**192 + 2**96 - 1,
    0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
)
P384: Final = Curve(
    "P-384",
    48,
    2**384 - 2**128 - 2**96 + 2**32 - 1,
    int(
        "B3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE814112"
        "0314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF",
        16,
    ),
)
SM2: Final = Curve(
    "SM2",
    32,
    0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF,
    0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93,
)

SM2_ORDER: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
"""n, the order of the generator; private keys are from 1 to n - 2."""

SM2_GENERATOR: Final = bytes.fromhex(
    "32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7"
    "bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0"
)
"""G as x ‖ y."""


_P25519: Final = 2**255 - 19
_D25519: Final = -121665 * pow(121666, -1, _P25519) % _P25519
_Y_OF_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER: Final = frozenset(
    {0, 1, _P25519 - 1, _Y_OF_ORDER_8, _P25519 - _Y_OF_ORDER_8}  # y of the 8 points of order 1 to 8
)


def require_ed25519(key: bytes) -> None:
    """Check an Ed25519 public key (RFC 8032, 5.1.3).

    A point of small order is refused: anybody can make signatures for such a key.

    Raises:
        InvalidRequest: It does not have 32 bytes, is no point, or one of small order.
    """
    if len(key) != 32:
        raise InvalidRequest(f"the Ed25519 public key has {len(key)} bytes", hint="It needs 32")
    p = _P25519
    y = int.from_bytes(key, "little") & (2**255 - 1)
    # x² = (y² - 1) / (d y² + 1) has a root exactly if the product of the two numbers has one.
    square = (y * y - 1) * (_D25519 * y * y + 1)
    if y >= p or y in _SMALL_ORDER or pow(square, (p - 1) // 2, p) != 1:
        raise InvalidRequest("the Ed25519 public key is no point of the curve, or of small order")
