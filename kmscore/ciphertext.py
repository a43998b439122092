"""The portable ciphertext of a key: what providers that make their own all write alike.

One format for software and PKCS#11, so that a key imported into both opens what either wrote::

    magic        4   "KMSC"
    version      1   1
    suite        1   1 AES-128-GCM, 2 AES-256-GCM, 3 SM4-GCM
    key id       1   its length in bytes, 1 to 255, then the id in UTF-8
    key version  4   big-endian, from 1
    nonce       12   random
    sealed    n+16   ciphertext of n bytes, at most 65536, and tag

The associated data is everything before the nonce, then the context's length (4 bytes) and the
context as canonical JSON in UTF-8. AES-GCM: NIST SP 800-38D; SM4-GCM: RFC 8998.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from kmscore.algorithms import KeySpec
from kmscore.errors import CiphertextInvalid

MAGIC: Final = b"KMSC"
VERSION: Final = 1
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
MAX_PLAINTEXT: Final = 65536
"""The most bytes that one holds; what a provider takes is in its limits, and usually 4096."""

_FIXED: Final = len(MAGIC) + 3


class Suite(IntEnum):
    """The cipher of a ciphertext."""

    AES_128_GCM = 1
    AES_256_GCM = 2
    SM4_GCM = 3


SUITE_OF: Final = {
    KeySpec.AES_128: Suite.AES_128_GCM,
    KeySpec.AES_256: Suite.AES_256_GCM,
    KeySpec.SM4: Suite.SM4_GCM,
}


class Parsed(NamedTuple):
    """A ciphertext, taken apart; nothing of it is authenticated yet.

    Attributes:
        suite: The cipher.
        key_id: The key that it names.
        key_version: The version of that key.
        header: Everything before the nonce: the first part of the associated data.
        nonce: 12 bytes.
        sealed: Ciphertext and tag.
    """

    suite: Suite
    key_id: str
    key_version: int
    header: bytes
    nonce: bytes
    sealed: bytes


def header(suite: Suite, key_id: str, key_version: int) -> bytes:
    """What stands before the nonce.

    Args:
        suite: The cipher.
        key_id: 1 to 255 bytes of UTF-8.
        key_version: 1 to 2^32 - 1.
    """
    name = key_id.encode()
    return b"%b%c%c%c%b%b" % (
        MAGIC,
        VERSION,
        suite,
        len(name),
        name,
        key_version.to_bytes(4),
    )


def associated_data(head: bytes, context: bytes) -> bytes:
    """What is authenticated besides the plaintext.

    Args:
        head: The header.
        context: `EncryptionContext.aad`.
    """
    return head + len(context).to_bytes(4) + context


def parse(ciphertext: bytes) -> Parsed:
    """Take a ciphertext apart.

    Raises:
        CiphertextInvalid: It does not have this format.
    """
    if len(ciphertext) <= _FIXED or ciphertext[:5] != b"KMSC\x01":
        raise CiphertextInvalid
    end = _FIXED + ciphertext[6] + 4
    nonce_end = end + NONCE_BYTES
    plaintext_bytes = len(ciphertext) - nonce_end - TAG_BYTES
    if ciphertext[6] == 0 or not 0 <= plaintext_bytes <= MAX_PLAINTEXT:
        raise CiphertextInvalid
    try:
        suite = Suite(ciphertext[5])
        key_id = ciphertext[_FIXED : end - 4].decode()
    except ValueError as error:
        raise CiphertextInvalid from error
    version = int.from_bytes(ciphertext[end - 4 : end])
    if version == 0:
        raise CiphertextInvalid
    return Parsed(
        suite,
        key_id,
        version,
        ciphertext[:end],
        ciphertext[end:nonce_end],
        ciphertext[nonce_end:],
    )
