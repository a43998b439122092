"""SHA-2, HMAC and a comparison in constant time, without a second OpenSSL.

`hashlib` and `hmac` load OpenSSL's library, which costs milliseconds at start beside the one in
`cryptography`. The interpreter has the same hashes built in, and its own `random` prefers them for
this reason ("hashlib is pretty heavy to load, try lean internal module first"). They are for what
is short: over long data OpenSSL is twice as fast. To derive the keys of one message they are
0.7 microseconds faster than `hashlib` on CPython 3.11, and 1 slower on 3.12 and 3.13.
"""

from __future__ import annotations

import sys
from _operator import _compare_digest  # pyright: ignore[reportPrivateUsage]
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import sha256, sha512
else:
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256, sha512
        else:
            from _sha256 import sha256
            from _sha512 import sha512
    except ImportError:  # the interpreter was built without them
        from hashlib import sha256, sha512

__all__ = [
    "INNER_PAD",
    "OUTER_PAD",
    "compare_digest",
    "hmac_sha256",
    "keyed_hmac_sha256",
    "sha256",
    "sha512",
]

compare_digest: Final = _compare_digest
"""`hmac.compare_digest`, where `hmac` itself takes it from when there is no OpenSSL."""

INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))
"""Tables that `bytes.translate` turns the key of an HMAC into its pads with (RFC 2104)."""

_BLOCK: Final = 64


def keyed_hmac_sha256(key: bytes) -> Callable[[bytes], bytes]:
    """HMAC-SHA-256 (RFC 2104) under one key, of any length, for data that is short.

    The key's two blocks are hashed once, and not for every code.
    """
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    inner = sha256(key.translate(INNER_PAD).ljust(_BLOCK, b"\x36"))
    outer = sha256(key.translate(OUTER_PAD).ljust(_BLOCK, b"\x5c"))

    def code(data: bytes) -> bytes:
        inside, outside = inner.copy(), outer.copy()
        inside.update(data)
        outside.update(inside.digest())
        return outside.digest()

    return code


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256 of data that is short, under a key of any length; 32 bytes."""
    return keyed_hmac_sha256(key)(data)
