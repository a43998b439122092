"""The SM2 engine on libcrypto: fast, its timing flat on x86-64, and other threads run meanwhile.

Two things are OpenSSL's own affair and stay so: nonces come from its generator, and on ARM64 and
RISC-V its scalar multiplication, from 3.2 on, branches on secret data (openssl/openssl#31133): who
shares such a machine with strangers should sign in an HSM.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_size_t
from typing import Final, NoReturn

from kmscore.algorithms import KeySpec
from kmscore.encodings import der
from kmscore.encodings.signature import signature_der, signature_integers
from kmscore.encodings.sm2_ciphertext import (
    SM2Ciphertext,
    SM2CiphertextFormat,
    decode_ciphertext,
    encode_ciphertext,
)
from kmscore.encodings.spki import EC_ALGORITHMS, sm2_public_key
from kmscore.errors import InternalError, Unsupported
from kmscore.sm2.engine import Engine, SM2PrivateKey, SM2PublicKey
from kmscore.sm2.libcrypto import HINT, load_libcrypto

_MAX_SIGNATURE: Final = 72  # two INTEGERs of up to 33 bytes, and three headers of 2
_MAX_OVERHEAD: Final = 128  # of a ciphertext: 70 for C1, 34 for C3, and headers of up to 4


class OpenSSLEngine(Engine):
    """SM2 by the libcrypto of this process.

    Raises:
        Unsupported: There is no OpenSSL 3.0 or newer.

    Attributes:
        library: The libcrypto.
    """

    name = "openssl"

    def __init__(self) -> None:
        self.library, self.description = load_libcrypto()

    def _private_key(self, d: bytes) -> SM2PrivateKey:
        # PKCS #8 without the public part (RFC 5958, RFC 5915): libcrypto derives it. It needs one
        # to sign, and takes a wrong one without looking.
        algorithm = EC_ALGORITHMS[KeySpec.SM2]
        key = der.sequence(der.integer(1), der.octet_string(d))
        encoded = der.sequence(der.integer(0), algorithm, der.octet_string(key))
        handle = _Handle(self.library, "d2i_AutoPrivateKey_ex", encoded)
        return OpenSSLPrivateKey(sm2_public_key(handle.point()), handle)

    def _public_key(self, spki: bytes, point: bytes) -> SM2PublicKey:
        return OpenSSLPublicKey(spki, _Handle(self.library, "d2i_PUBKEY_ex", spki))


class OpenSSLPublicKey(SM2PublicKey):
    """A public key that libcrypto holds."""

    def __init__(self, spki: bytes, handle: _Handle) -> None:
        super().__init__(spki)
        self._handle = handle

    def _verify(self, e: bytes, r: int, s: int) -> bool:
        signature = signature_der(r, s)
        library = self._handle.library
        context = self._handle.begin("verify")
        try:
            answer: int = library.EVP_PKEY_verify(context, signature, len(signature), e, len(e))
        finally:
            library.EVP_PKEY_CTX_free(context)
        if answer == 1:
            return True
        # 0 is a wrong signature. Less is an error, and none can lie in strict DER.
        if answer < 0:
            raise self._handle.failure("EVP_PKEY_verify")
        library.ERR_clear_error()
        return False

    def _encrypt(self, plaintext: bytes) -> SM2Ciphertext:
        data = self._handle.transform("encrypt", plaintext, len(plaintext) + _MAX_OVERHEAD)
        if data is None:
            raise self._handle.failure("EVP_PKEY_encrypt")
        return decode_ciphertext(data, SM2CiphertextFormat.DER)


class OpenSSLPrivateKey(SM2PrivateKey):
    """A private key that libcrypto holds."""

    def __init__(self, public_key: bytes, handle: _Handle) -> None:
        super().__init__(public_key)
        self._handle = handle

    def _sign(self, e: bytes) -> tuple[int, int]:
        signature = self._handle.transform("sign", e, _MAX_SIGNATURE)
        if signature is None:
            raise self._handle.failure("EVP_PKEY_sign")
        return signature_integers(signature)

    def _decrypt(self, parts: SM2Ciphertext) -> bytes | None:
        # Encoded anew: libcrypto reads more than DER. The plaintext is shorter than that.
        ciphertext = encode_ciphertext(parts, SM2CiphertextFormat.DER)
        plaintext = self._handle.transform("decrypt", ciphertext, len(ciphertext))
        if plaintext is None:
            self._handle.library.ERR_clear_error()
        return plaintext


class _Handle:
    """An EVP_PKEY: never changed once it is made, so that threads may share it.

    Raises:
        Unsupported: libcrypto does not know SM2.
    """

    __slots__ = ("_key", "library")

    def __init__(self, library: ctypes.CDLL, decoder: str, encoded: bytes) -> None:
        self.library = library
        cursor = c_char_p(encoded)
        self._key: int | None = getattr(library, decoder)(
            None, byref(cursor), len(encoded), None, None
        )
        if self._key is None or library.EVP_PKEY_is_a(self._key, b"SM2") != 1:
            library.ERR_clear_error()
            raise Unsupported("the OpenSSL of this machine has no SM2", hint=HINT)

    def __del__(self) -> None:
        self.library.EVP_PKEY_free(self._key)

    def __reduce__(self) -> NoReturn:
        # A copy would free the same key again.
        raise TypeError("a key of libcrypto can be neither copied nor pickled")

    def point(self) -> bytes:
        """The public point, 04 ‖ x ‖ y."""
        buffer = ctypes.create_string_buffer(65)
        size = c_size_t()
        done = self.library.EVP_PKEY_get_octet_string_param(
            self._key, b"pub", buffer, len(buffer), byref(size)
        )
        if done != 1:
            raise self.failure("EVP_PKEY_get_octet_string_param")
        return buffer.raw[: size.value]

    def begin(self, operation: str) -> int:
        """A context of the key, ready for ``sign``, ``verify``, ``encrypt`` or ``decrypt``.

        Who gets it gives it back with `EVP_PKEY_CTX_free`.
        """
        library = self.library
        context: int | None = library.EVP_PKEY_CTX_new_from_pkey(None, self._key, None)
        initialise = f"EVP_PKEY_{operation}_init"
        if context is None or getattr(library, initialise)(context) != 1:
            error = self.failure(initialise)
            library.EVP_PKEY_CTX_free(context)
            raise error
        return context

    def transform(self, operation: str, data: bytes, most: int) -> bytes | None:
        """Run an operation from bytes to at most so many bytes; None when libcrypto refuses."""
        library = self.library
        buffer = ctypes.create_string_buffer(most)
        size = c_size_t(most)
        context = self.begin(operation)
        try:
            run = getattr(library, f"EVP_PKEY_{operation}")
            done = run(context, buffer, byref(size), data, len(data)) == 1
        finally:
            library.EVP_PKEY_CTX_free(context)
        result = buffer.raw[: size.value] if done else None
        ctypes.memset(buffer, 0, most)
        return result

    def failure(self, function: str) -> InternalError:
        """The error of a function that has no reason to fail; the thread's queue is emptied."""
        code: int = self.library.ERR_peek_last_error()
        self.library.ERR_clear_error()
        return InternalError(
            f"{function} failed", hint="Explain the code with: openssl errstr", code=f"{code:08X}"
        )
