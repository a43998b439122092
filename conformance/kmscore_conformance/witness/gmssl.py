"""The package gmssl: an SM2 that shares no line of code with OpenSSL.

Its arithmetic is right; much of what is around it is not. So only its arithmetic is used, on public
values: the digest e, the key stream and the forms of things are made here.
"""

from __future__ import annotations

import secrets
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.hashes import SM3, Hash

from kmscore.algorithms import SigningAlgorithm
from kmscore.encodings import signature_to_raw, sm2_point
from kmscore.encodings.curves import SM2_ORDER
from kmscore.encodings.sm2_ciphertext import (
    SM2Ciphertext,
    SM2CiphertextFormat,
    encode_ciphertext,
)
from kmscore.errors import InvalidRequest
from kmscore.signing import Digest, hash_message
from kmscore_conformance.witness.base import Witness

if TYPE_CHECKING:
    from kmscore.algorithms import EncryptionAlgorithm
    from kmscore.signing import Signable


def _sm3(data: bytes) -> bytes:
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize()


class Gmssl(Witness):
    """SM2 in pure Python."""

    name = "gmssl"
    dear = True

    @property
    def version(self) -> str:
        """The version of the package."""
        try:
            return version("gmssl")
        except PackageNotFoundError:
            return "the package is missing"

    def lacks(self, algorithm: SigningAlgorithm | EncryptionAlgorithm) -> str:
        """All but SM2."""
        if find_spec("gmssl") is None:
            return "the package gmssl is missing"
        return "" if algorithm.value in ("SM2", "SM2DSA") else "gmssl has SM2 alone"

    def verify(
        self, public_key: bytes, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """GM/T 0003.2-2012, clause 7: strict DER, r and s in range, and then gmssl's arithmetic."""
        if not isinstance(data, Digest):
            data = hash_message(data, SigningAlgorithm.SM2DSA, public_key)
        try:
            raw = signature_to_raw(signature, 32)
        except InvalidRequest:
            return False
        r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
        if not (0 < r < SM2_ORDER and 0 < s < SM2_ORDER) or r + s == SM2_ORDER:
            return False
        try:
            return self._open(public_key).verify(raw.hex(), data.value) is True
        except TypeError:
            # How it says that a sum is the point at infinity.
            return False

    def encrypt(self, public_key: bytes, algorithm: EncryptionAlgorithm, plaintext: bytes) -> bytes:
        """GM/T 0003.4-2012, clause 6; the points are gmssl's."""
        machine = self._open(public_key)
        while True:
            k = 1 + secrets.randbelow(SM2_ORDER - 1)
            first = bytes.fromhex(machine._kg(k, machine.ecc_table["g"]))  # noqa: SLF001
            shared = bytes.fromhex(machine._kg(k, machine.public_key))  # noqa: SLF001
            stream = b"".join(
                _sm3(shared + number.to_bytes(4)) for number in range(1, len(plaintext) // 32 + 2)
            )[: len(plaintext)]
            if any(stream):
                break
        parts = SM2Ciphertext(
            int.from_bytes(first[:32]),
            int.from_bytes(first[32:]),
            _sm3(shared[:32] + plaintext + shared[32:]),
            bytes(a ^ b for a, b in zip(plaintext, stream, strict=True)),
        )
        return encode_ciphertext(parts, SM2CiphertextFormat.DER)

    @staticmethod
    def _open(public_key: bytes) -> Any:
        from gmssl.sm2 import CryptSM2

        machine: Any = CryptSM2("", "", mode=1, asn1=False)
        # Given to the constructor, a key that begins with 0 or 4 would be cut short.
        machine.public_key = sm2_point(public_key).hex()
        return machine
