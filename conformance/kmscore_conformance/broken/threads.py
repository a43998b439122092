"""Animals that work well alone, and not in company."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kmscore.errors import AlreadyExists, KeyNotFound
from kmscore.spi import KeyInfo, NewKey
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.materials import ECDSA
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from kmscore.context import EncryptionContext
    from kmscore.signing import Signable

PAUSE = 0.0005
"""Long enough for another thread to come in between."""


@animal(
    "shared-buffer",
    "Plaintexts pass through a buffer that threads share.",
    "One session of a token, used by two threads.",
    caught_by="thread.encrypt",
    also="thread.mixed thread.rotate",
)
class SharedBuffer(Sound):
    """One for all."""

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """By way of the buffer."""
        self._buffer = plaintext
        time.sleep(PAUSE)
        return super().encrypt(key_id, self._buffer, context)


@animal(
    "shared-operation",
    "A signature belongs to whichever message came last.",
    "C_SignInit and C_Sign on one session.",
    caught_by="thread.sign",
    also="thread.mixed",
)
class SharedOperation(Sound):
    """One at a time, and two of them."""

    kinds = ECDSA

    def sign_ecdsa(self, key: ec.EllipticCurvePrivateKey, data: Signable) -> bytes:
        """In two steps."""
        self._begun = data
        time.sleep(PAUSE)
        return super().sign_ecdsa(key, self._begun)


@animal(
    "alias-raced",
    "Two threads that claim an alias at the same time both get it.",
    "A look, and then a leap.",
    caught_by="thread.alias",
)
class AliasRaced(Sound):
    """Looks first."""

    def create_key(self, new: NewKey) -> KeyInfo:
        """Then makes the key, and says that it has the name."""
        if new.alias is None:
            return super().create_key(new)
        try:
            self.registry.find(new.alias)
        except KeyNotFound:
            time.sleep(PAUSE * 20)
            info = super().create_key(new._replace(alias=None))
            try:
                self.registry.set_alias(info.key_id, new.alias)
            except AlreadyExists:
                return info._replace(alias=new.alias)
            return self.describe_key(info.key_id)
        raise AlreadyExists("the alias is taken")


@animal(
    "rotation-with-a-gap",
    "While a key rotates, it is disabled for a moment.",
    "Rotation that takes a key down and puts it up again.",
    caught_by="thread.rotate",
)
class RotationWithAGap(Sound):
    """Out for lunch."""

    def rotate_key(self, key_id: str) -> None:
        """Down, and up."""
        super().rotate_key(key_id)
        self.registry.disable(key_id)
        time.sleep(PAUSE * 100)
        self.registry.enable(key_id)
