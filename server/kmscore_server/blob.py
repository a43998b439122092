"""``CiphertextBlob``: a ciphertext of the key store with the key's id, as text without escapes.

::

    version    1   1
    key id     1   its length in bytes, then the id in ASCII
    ciphertext     as the key store made it

In base64url without padding (RFC 4648, section 5), in its one canonical form. The key id says whose
key it is, before anything is decrypted. It is authenticated by the ciphertext: in kmscore's own
format the key store's id of the key is part of what is authenticated, and the two must belong
together.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import Final

from kmscore.ciphertext import MAGIC, parse
from kmscore.errors import CiphertextInvalid

MAX_CHARACTERS: Final = 16384
"""Longest blob that is looked at; one of 4096 bytes of plaintext has about 5,600 characters."""

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")


def head(key_id: str) -> bytes:
    """What stands before the ciphertext in every blob of a key."""
    name = key_id.encode("ascii")
    return b"%c%c%b" % (1, len(name), name)


def seal(head: bytes, ciphertext: bytes) -> str:
    """The blob of a ciphertext."""
    encoded = b2a_base64(head + ciphertext, newline=False)
    return encoded.translate(_TO_URL).rstrip(b"=").decode("ascii")


def unseal(blob: str) -> tuple[str, bytes]:
    """The key id and the ciphertext of a blob; neither is authenticated yet.

    Raises:
        CiphertextInvalid: It is no blob.
    """
    if not blob.isascii() or len(blob) > MAX_CHARACTERS:
        raise CiphertextInvalid
    text = blob.encode("ascii")
    try:
        data = a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4), strict_mode=True)
    except Error as error:
        raise CiphertextInvalid from error
    # The last character may hold bits that no byte takes: other text, the same bytes.
    if b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=") != text:
        raise CiphertextInvalid
    if len(data) < 2 or data[0] != 1:
        raise CiphertextInvalid
    end = 2 + data[1]
    name, ciphertext = data[2:end], data[end:]
    if not name.isascii() or not ciphertext:
        raise CiphertextInvalid
    return name.decode("ascii"), ciphertext


def require_made_by(provider_id: str, ciphertext: bytes) -> None:
    """Refuse a ciphertext of another key, even of one that holds the same imported material.

    Raises:
        CiphertextInvalid: It names another key.
    """
    if ciphertext.startswith(MAGIC) and parse(ciphertext).key_id != provider_id:
        raise CiphertextInvalid


def version_of(ciphertext: bytes) -> int | None:
    """The version of the key that made a ciphertext, or None where that cannot be seen."""
    return parse(ciphertext).key_version if ciphertext.startswith(MAGIC) else None
