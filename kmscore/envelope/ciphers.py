"""The ciphers of messages: AES-256-GCM and SM4-GCM, into buffers of the caller."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import GCM

from kmscore.envelope.suites import TAG_BYTES, FrameCipher
from kmscore.errors import IntegrityError


class AesGcm(FrameCipher):
    """AES-GCM (NIST SP 800-38D), by the one-shot interface, which lets other threads run."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal_into(
        self, iv: bytes, plaintext: memoryview | bytes, aad: bytes, out: memoryview
    ) -> None:
        """Encrypt."""
        self._cipher.encrypt_into(iv, plaintext, aad, out)

    def open_into(self, iv: bytes, sealed: memoryview | bytes, aad: bytes, out: memoryview) -> None:
        """Decrypt, or leave zeros."""
        try:
            self._cipher.decrypt_into(iv, sealed, aad, out)
        except InvalidTag as error:
            out[:] = bytes(len(out))
            raise IntegrityError("the message was altered") from error

    def seal(self, iv: bytes, plaintext: memoryview | bytes, aad: bytes) -> bytes:
        """Encrypt."""
        return self._cipher.encrypt(iv, plaintext, aad)

    def open(self, iv: bytes, sealed: memoryview | bytes, aad: bytes) -> bytes:
        """Decrypt."""
        try:
            return self._cipher.decrypt(iv, sealed, aad)
        except InvalidTag as error:
            raise IntegrityError("the message was altered") from error


class Sm4Gcm(FrameCipher):
    """SM4-GCM (GM/T 0002-2012, RFC 8998)."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = SM4(key)

    def seal_into(
        self, iv: bytes, plaintext: memoryview | bytes, aad: bytes, out: memoryview
    ) -> None:
        """Encrypt."""
        encryptor = Cipher(self._key, GCM(iv)).encryptor()
        encryptor.authenticate_additional_data(aad)
        size = len(plaintext)
        if size:
            encryptor.update_into(plaintext, out[:size])
        encryptor.finalize()
        out[size:] = encryptor.tag

    def open_into(self, iv: bytes, sealed: memoryview | bytes, aad: bytes, out: memoryview) -> None:
        """Decrypt, or leave zeros."""
        size = len(sealed) - TAG_BYTES
        tag = bytes(sealed[size:])
        decryptor = Cipher(self._key, GCM(iv, tag)).decryptor()
        decryptor.authenticate_additional_data(aad)
        if size:
            decryptor.update_into(sealed[:size], out)
        try:
            decryptor.finalize()
        except InvalidTag as error:
            out[:] = bytes(size)
            raise IntegrityError("the message was altered") from error
