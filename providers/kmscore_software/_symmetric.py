"""Symmetric keys ready for use: AES-GCM and SM4-GCM behind one pair of methods."""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kmscore.algorithms import KeySpec
from kmscore.ciphertext import NONCE_BYTES, TAG_BYTES
from kmscore.errors import Unsupported

WrongTag = InvalidTag


class SymmetricKey(Protocol):
    """A cipher with its key."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """Ciphertext and tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        """The plaintext, or InvalidTag."""
        ...


class Sm4Gcm:
    """SM4-GCM (RFC 8998) with the methods of `AESGCM`.

    Args:
        key: 16 bytes.

    Raises:
        Unsupported: This machine has no SM4.
    """

    def __init__(self, key: bytes) -> None:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        self._cipher = Cipher
        self._gcm = modes.GCM
        self._key = algorithms.SM4(key)
        try:
            Cipher(self._key, modes.GCM(bytes(NONCE_BYTES))).encryptor()
        except UnsupportedAlgorithm as error:
            # Some distributions build OpenSSL, and `cryptography` on it, without SM4.
            raise Unsupported(
                "the `cryptography` of this machine has no SM4",
                hint="Install it with pip, in a virtual environment: its own build has it",
            ) from error

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """Ciphertext and tag."""
        encryptor = self._cipher(self._key, self._gcm(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated_data)
        return encryptor.update(data) + encryptor.finalize() + encryptor.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """The plaintext.

        Raises:
            InvalidTag: Ciphertext, nonce or associated data are not those of the encryption.
        """
        tag = data[-TAG_BYTES:]
        decryptor = self._cipher(self._key, self._gcm(nonce, tag)).decryptor()
        decryptor.authenticate_additional_data(associated_data)
        return decryptor.update(data[:-TAG_BYTES]) + decryptor.finalize()


def symmetric_key(spec: KeySpec, material: bytes) -> SymmetricKey:
    """A key of AES or SM4, from 16 or 32 bytes of material."""
    return Sm4Gcm(material) if spec is KeySpec.SM4 else AESGCM(material)
