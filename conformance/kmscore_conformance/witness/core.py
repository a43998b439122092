"""kmscore's own public-key code, which users verify and encrypt with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmscore import __version__
from kmscore.public_key import PublicKey
from kmscore_conformance.witness.base import Witness

if TYPE_CHECKING:
    from kmscore.algorithms import EncryptionAlgorithm, SigningAlgorithm
    from kmscore.signing import Signable


class Core(Witness):
    """`kmscore.PublicKey`."""

    name = "kmscore"

    @property
    def version(self) -> str:
        """The version of kmscore."""
        return __version__

    def lacks(self, algorithm: SigningAlgorithm | EncryptionAlgorithm) -> str:
        """Nothing, where this machine has an SM2 engine."""
        if algorithm.value not in ("SM2", "SM2DSA"):
            return ""
        from kmscore.errors import Unsupported
        from kmscore.sm2 import load_engine

        try:
            load_engine()
        except Unsupported as error:
            return error.message
        return ""

    def verify(
        self, public_key: bytes, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """With the library behind `PublicKey`."""
        return PublicKey(public_key).verify(data, signature, algorithm)

    def encrypt(self, public_key: bytes, algorithm: EncryptionAlgorithm, plaintext: bytes) -> bytes:
        """With the library behind `PublicKey`."""
        return PublicKey(public_key).encrypt(plaintext, algorithm)
