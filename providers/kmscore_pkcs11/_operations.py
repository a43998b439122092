"""AES-GCM and signatures on one session, called directly: two calls each, and no more.

python-pkcs11 asks for the size of each output first: a call more, which is a third more time on a
token behind a network; and it believes the answer, which NSS understates for AES-GCM.

Structures: OASIS PKCS#11 Base Specification 2.40, as packed on Unix.
"""

from __future__ import annotations

import ctypes
from ctypes import Structure, c_char_p, c_ulong, c_void_p, sizeof
from typing import Any, Final

from kmscore.ciphertext import NONCE_BYTES, TAG_BYTES
from kmscore_pkcs11._native import Native, NativeError

_INIT: Final = (c_ulong, c_void_p, c_ulong)
_RUN: Final = (c_ulong, c_char_p, c_ulong, c_void_p, c_void_p)
_SIGNATURE_BYTES: Final = 1024
_PARAMETER_BYTES: Final = 64


class _Mechanism(Structure):
    _fields_ = (("mechanism", c_ulong), ("parameter", c_void_p), ("length", c_ulong))


class _GcmParams(Structure):
    _fields_ = (
        ("iv", c_void_p),
        ("iv_bytes", c_ulong),
        ("iv_bits", c_ulong),
        ("aad", c_char_p),
        ("aad_bytes", c_ulong),
        ("tag_bits", c_ulong),
    )


class Gcm:
    """GCM with nonces of 96 and tags of 128 bits, on one session (SP 800-38D).

    One thread at a time. Structures and buffer are kept.

    Args:
        native: The module's functions.
        session: The session's handle.
    """

    __slots__ = (
        "_at_buffer",
        "_at_length",
        "_at_mechanism",
        "_buffer",
        "_decrypt",
        "_decrypt_init",
        "_encrypt",
        "_encrypt_init",
        "_length",
        "_mechanism",
        "_nonce",
        "_params",
        "_session",
        "_size",
    )

    def __init__(self, native: Native, session: int) -> None:
        self._session = session
        self._encrypt_init = native.function("C_EncryptInit", *_INIT)
        self._encrypt = native.function("C_Encrypt", *_RUN)
        self._decrypt_init = native.function("C_DecryptInit", *_INIT)
        self._decrypt = native.function("C_Decrypt", *_RUN)
        # The token may write into the nonce, so it gets a copy.
        self._nonce = ctypes.create_string_buffer(NONCE_BYTES)
        self._params = _GcmParams(
            iv=ctypes.addressof(self._nonce),
            iv_bytes=NONCE_BYTES,
            iv_bits=8 * NONCE_BYTES,
            tag_bits=8 * TAG_BYTES,
        )
        self._mechanism = _Mechanism(
            parameter=ctypes.addressof(self._params), length=sizeof(_GcmParams)
        )
        self._at_mechanism = ctypes.addressof(self._mechanism)
        self._length = c_ulong()
        self._at_length = ctypes.addressof(self._length)
        self._reserve(8192)

    @property
    def nonce(self) -> bytes:
        """The nonce after the last call: another one when the token makes its own."""
        return self._nonce.raw

    def encrypt(self, key: int, mechanism: int, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        """Ciphertext and tag.

        Args:
            key: The key's handle.
            mechanism: CKM_AES_GCM, or a vendor's number with the same parameters.
            nonce: 12 bytes that are never used again with that key.
            data: Up to 65536 bytes.
            aad: What is authenticated besides, not empty.

        Raises:
            NativeError: The token fails; the session must not be used again.
        """
        self._prepare(mechanism, nonce, len(data), aad)
        code = self._encrypt_init(self._session, self._at_mechanism, key)
        if code:
            raise NativeError(code, "C_EncryptInit")
        code = self._encrypt(self._session, data, len(data), self._at_buffer, self._at_length)
        if code:
            raise NativeError(code, "C_Encrypt")
        sealed: bytes = self._buffer[: self._length.value]
        return sealed

    def decrypt(self, key: int, mechanism: int, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        """The plaintext of a ciphertext with its tag; arguments as in `encrypt`.

        Raises:
            NativeError: The token fails, or the tag is wrong; the session must not be used again.
        """
        self._prepare(mechanism, nonce, len(data), aad)
        code = self._decrypt_init(self._session, self._at_mechanism, key)
        if code:
            raise NativeError(code, "C_DecryptInit")
        code = self._decrypt(self._session, data, len(data), self._at_buffer, self._at_length)
        if code:
            raise NativeError(code, "C_Decrypt")
        size = min(self._length.value, self._size)
        plaintext: bytes = self._buffer[:size]
        ctypes.memset(self._buffer, 0, size)
        return plaintext

    def _prepare(self, mechanism: int, nonce: bytes, size: int, aad: bytes) -> None:
        self._nonce.raw = nonce
        params = self._params
        params.aad = aad
        params.aad_bytes = len(aad)
        self._mechanism.mechanism = mechanism
        if size + 64 > self._size:
            self._reserve(size + 64)
        self._length.value = self._size

    def _reserve(self, size: int) -> None:
        self._size = size
        self._buffer: Any = ctypes.create_string_buffer(size)
        self._at_buffer = ctypes.addressof(self._buffer)


class Signatures:
    """Signatures on one session. One thread at a time.

    Args:
        native: The module's functions.
        session: The session's handle.
    """

    __slots__ = (
        "_at_buffer",
        "_at_length",
        "_at_mechanism",
        "_at_parameter",
        "_buffer",
        "_init",
        "_length",
        "_mechanism",
        "_parameter",
        "_session",
        "_sign",
    )

    def __init__(self, native: Native, session: int) -> None:
        self._session = session
        self._init = native.function("C_SignInit", *_INIT)
        self._sign = native.function("C_Sign", *_RUN)
        self._parameter = ctypes.create_string_buffer(_PARAMETER_BYTES)
        self._at_parameter = ctypes.addressof(self._parameter)
        self._mechanism = _Mechanism()
        self._at_mechanism = ctypes.addressof(self._mechanism)
        self._buffer: Any = ctypes.create_string_buffer(_SIGNATURE_BYTES)
        self._at_buffer = ctypes.addressof(self._buffer)
        self._length = c_ulong()
        self._at_length = ctypes.addressof(self._length)

    def sign(self, key: int, mechanism: int, parameter: bytes, data: bytes) -> bytes:
        """Sign.

        Args:
            key: The key's handle.
            mechanism: A CKM_ number.
            parameter: Its structure, up to 64 bytes, or nothing.
            data: What the mechanism signs.

        Returns:
            The signature, as the mechanism forms it, up to 1024 bytes.

        Raises:
            NativeError: The token fails; the session must not be used again.
        """
        wanted = self._mechanism
        wanted.mechanism = mechanism
        wanted.length = len(parameter)
        wanted.parameter = None
        if parameter:
            self._parameter.raw = parameter
            wanted.parameter = self._at_parameter
        code = self._init(self._session, self._at_mechanism, key)
        if code:
            raise NativeError(code, "C_SignInit")
        self._length.value = _SIGNATURE_BYTES
        code = self._sign(self._session, data, len(data), self._at_buffer, self._at_length)
        if code:
            raise NativeError(code, "C_Sign")
        signature: bytes = self._buffer[: self._length.value]
        return signature
