"""Algorithm suites of envelope messages: which cipher, how keys are derived and committed to.

Suites 0x0478 and 0x0578 are those of the AWS Encryption SDK ("framework/algorithm-suites" of its
specification). Suite 0x8478 is ours, for surroundings where only Chinese commercial cryptography is
allowed: the same message with SM4-GCM (GM/T 0002-2012, RFC 8998) and HKDF over HMAC-SM3
(RFC 5869, GM/T 0004-2012). Other readers refuse it as unknown.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from kmscore.errors import InvalidRequest, Unsupported
from kmscore.hashing import INNER_PAD, OUTER_PAD, sha512

TAG_BYTES: Final = 16
IV_BYTES: Final = 12
DATA_KEY_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32
MESSAGE_ID_BYTES: Final = 32


class FrameCipher(ABC):
    """The cipher of one message, keyed with its message key. Usable from several threads."""

    __slots__ = ()

    @abstractmethod
    def seal_into(
        self, iv: bytes, plaintext: memoryview | bytes, aad: bytes, out: memoryview
    ) -> None:
        """Encrypt into ``out``, which holds exactly the ciphertext and 16 bytes of tag."""

    @abstractmethod
    def open_into(self, iv: bytes, sealed: memoryview | bytes, aad: bytes, out: memoryview) -> None:
        """Decrypt ciphertext and tag into ``out``, which holds exactly the plaintext.

        Raises:
            IntegrityError: The tag is wrong; ``out`` is all zeros then.
        """

    def seal(self, iv: bytes, plaintext: memoryview | bytes, aad: bytes) -> bytes:
        """Ciphertext and tag, of what is small enough to be copied."""
        out = bytearray(len(plaintext) + TAG_BYTES)
        self.seal_into(iv, plaintext, aad, memoryview(out))
        return bytes(out)

    def open(self, iv: bytes, sealed: memoryview | bytes, aad: bytes) -> bytes:
        """The plaintext of what is small enough to be copied.

        Raises:
            IntegrityError: The tag is wrong.
        """
        out = bytearray(len(sealed) - TAG_BYTES)
        self.open_into(iv, sealed, aad, memoryview(out))
        return bytes(out)


Hkdf = Callable[[bytes, bytes | bytearray, bytes, bytes], tuple[bytes, bytes]]
"""HKDF (RFC 5869), its first block for each of two infos that end with the byte 1.

From a salt of at most one block of the hash, and a secret.
"""


class Suite:
    """One algorithm suite.

    Attributes:
        number: The id in the header.
        name: For people.
        hkdf: Derives two keys of one block each: see `Hkdf`.
        key_bytes: Length of the message key.
        cipher: Makes the cipher from a message key.
        signed: Whether an ECDSA P-384 signature follows the body.
    """

    __slots__ = ("_info", "cipher", "hkdf", "key_bytes", "name", "number", "signed")

    def __init__(
        self,
        number: int,
        name: str,
        hkdf: Hkdf,
        key_bytes: int,
        cipher: Callable[[bytes], FrameCipher],
        *,
        signed: bool = False,
    ) -> None:
        self.number = number
        self.name = name
        self.hkdf = hkdf
        self.key_bytes = key_bytes
        self.cipher = cipher
        self.signed = signed
        self._info = number.to_bytes(2) + b"DERIVEKEY\x01"

    @property
    def written(self) -> Suite:
        """The suite that a message is rewrapped with: signed ones are read only."""
        return AES_256_GCM if self.signed else self

    def derive(self, data_key: bytes | bytearray, message_id: bytes) -> tuple[bytes, bytes]:
        """The message key, and the commitment to it.

        The message id is the salt, and both keys come from one extraction.
        """
        key, commitment = self.hkdf(message_id, data_key, self._info, b"COMMITKEY\x01")
        return key[: self.key_bytes], commitment[:COMMITMENT_BYTES]


def _hkdf_sha512(
    salt: bytes, secret: bytes | bytearray, first: bytes, second: bytes
) -> tuple[bytes, bytes]:
    # HMAC (RFC 2104) is written out: `hmac.digest` looks its hash up by name in OpenSSL at every
    # call, and begins anew for the second info. Small messages cost little else.
    inside = sha512(salt.translate(INNER_PAD).ljust(128, b"\x36") + secret).digest()
    key = sha512(salt.translate(OUTER_PAD).ljust(128, b"\x5c") + inside).digest()
    inner = sha512(key.translate(INNER_PAD).ljust(128, b"\x36"))
    outer = sha512(key.translate(OUTER_PAD).ljust(128, b"\x5c"))
    second_inner, second_outer = inner.copy(), outer.copy()
    inner.update(first)
    outer.update(inner.digest())
    second_inner.update(second)
    second_outer.update(second_inner.digest())
    return outer.digest(), second_outer.digest()


def _hkdf_sm3(
    salt: bytes, secret: bytes | bytearray, first: bytes, second: bytes
) -> tuple[bytes, bytes]:
    extracted = _hmac_sm3(salt, secret)
    return _hmac_sm3(extracted, first), _hmac_sm3(extracted, second)


def _hmac_sm3(key: bytes, data: bytes | bytearray) -> bytes:
    # Not every OpenSSL that `hashlib` was built on has SM3; the one in `cryptography` has.
    from cryptography.hazmat.primitives.hashes import SM3
    from cryptography.hazmat.primitives.hmac import HMAC

    mac = HMAC(key, SM3())
    mac.update(bytes(data))
    return mac.finalize()


def _aes_gcm(key: bytes) -> FrameCipher:
    # Who only looks at messages needs none of the library below; the class takes this place.
    from kmscore.envelope.ciphers import AesGcm

    AES_256_GCM.cipher = AES_256_GCM_SIGNED.cipher = AesGcm
    return AesGcm(key)


def _sm4_gcm(key: bytes) -> FrameCipher:
    from kmscore.envelope.ciphers import Sm4Gcm

    SM4_GCM.cipher = Sm4Gcm
    return Sm4Gcm(key)


AES_256_GCM: Final = Suite(0x0478, "AES_256_GCM_HKDF_SHA512_COMMIT_KEY", _hkdf_sha512, 32, _aes_gcm)
AES_256_GCM_SIGNED: Final = Suite(
    0x0578,
    "AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384",
    _hkdf_sha512,
    32,
    _aes_gcm,
    signed=True,
)
SM4_GCM: Final = Suite(0x8478, "SM4_GCM_HKDF_SM3_COMMIT_KEY", _hkdf_sm3, 16, _sm4_gcm)

SUITES: Final = {suite.number: suite for suite in (AES_256_GCM, AES_256_GCM_SIGNED, SM4_GCM)}


def suite_of(number: int) -> Suite:
    """The suite with that id.

    Raises:
        Unsupported: It is none of ours; suites without key commitment are refused on purpose.
    """
    suite = SUITES.get(number)
    if suite is None:
        raise Unsupported(
            f"the message uses algorithm suite {number:#06x}",
            hint="kmscore reads only suites that commit to their key: 0x0478, 0x0578 and 0x8478",
        )
    return suite


SUITE_NAMES: Final = {"AES_256_GCM": AES_256_GCM, "SM4_GCM": SM4_GCM}
"""Suites that are written."""


def suite_named(name: str | Suite) -> Suite:
    """A suite that messages are written with.

    Raises:
        InvalidRequest: There is none of that name.
    """
    if isinstance(name, Suite) and not name.signed:
        return name
    # Signed ones are only read; and callers without a type checker pass anything at all.
    suite = SUITE_NAMES.get(name.upper().replace("-", "_")) if isinstance(name, str) else None
    if suite is None:
        raise InvalidRequest(
            f"unknown suite {name!r}", hint=f"Use one of: {', '.join(SUITE_NAMES)}"
        )
    return suite
