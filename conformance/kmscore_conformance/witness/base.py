"""What a witness is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmscore.algorithms import EncryptionAlgorithm, SigningAlgorithm
    from kmscore.signing import Signable


class Witness(ABC):
    """An implementation that knows public keys only.

    Attributes:
        name: Its name in results.
        dear: Whether a call costs milliseconds: a process to start, or slow arithmetic.
    """

    name: str
    dear: bool = False

    @property
    @abstractmethod
    def version(self) -> str:
        """What it is and which version, or what is missing."""

    @abstractmethod
    def lacks(self, algorithm: SigningAlgorithm | EncryptionAlgorithm) -> str:
        """Why it cannot do an algorithm, or an empty string."""

    @abstractmethod
    def verify(
        self, public_key: bytes, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Whether a signature is right.

        Args:
            public_key: SubjectPublicKeyInfo in DER.
            algorithm: One that it does not lack.
            data: What was signed.
            signature: DER for ECDSA and SM2.
        """

    @abstractmethod
    def encrypt(self, public_key: bytes, algorithm: EncryptionAlgorithm, plaintext: bytes) -> bytes:
        """Encrypt for a public key; SM2 ciphertexts are DER."""

    def __repr__(self) -> str:
        return f"<Witness {self.name}>"
