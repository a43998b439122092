"""What a token can do, by name, as the probe finds it out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GCM: Final = "AES_GCM"
RAW_RSA: Final = "RSA_X_509"
FLAGS: Final = "USAGE_FLAGS"
ALLOWED: Final = "ALLOWED_MECHANISMS"
COPYABLE: Final = "COPYABLE"
HMAC: Final = "SHA256_HMAC"
RANDOM: Final = "RANDOM"
ED25519_BY_OID: Final = "ED25519_BY_OID"
EXPLICIT_REJECTION: Final = "EXPLICIT_REJECTION"
NEVER_WRAPPED: Final = "NEVER_WRAPPED"
BORROWS_RSA: Final = "BORROWS_RSA"
"""It takes a known RSA pair for a trial; where it takes none, larger sizes are as it lists them."""

ED25519_OID: Final = bytes.fromhex("06032b6570")


class Abilities:
    """What a token can do.

    Args:
        found: By name: an empty string when it works, otherwise why it does not.
    """

    def __init__(self, found: Mapping[str, str]) -> None:
        self.found = dict(found)

    def can(self, name: str) -> bool:
        """Whether that works."""
        return self.found.get(name) == ""
