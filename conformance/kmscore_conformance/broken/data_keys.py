"""Animals whose data keys, re-encryption or random bytes are wrong."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from kmscore.ciphertext import parse
from kmscore.context import EMPTY, EncryptionContext
from kmscore.spi import DataKey
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    pass


@animal(
    "data-key-repeated",
    "Every data key of a key is the same.",
    "Caches that were meant for something else.",
    caught_by="sym.data-key",
    also="envelope.data-key",
)
class DataKeyRepeated(Sound):
    """Generates once."""

    _made: bytes = b""

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """The first one again."""
        if len(self._made) < length:
            self._made = os.urandom(length)
        made = self._made[:length]
        return DataKey(key_id, bytearray(made), self.encrypt(key_id, made, context))


@animal(
    "data-key-rounded",
    "Data keys have 16 or 32 bytes, whatever was asked for.",
    "Services where KeySpec and NumberOfBytes get into each other's way.",
    caught_by="contract.data-key-limit",
    also="envelope.data-key",
)
class DataKeyRounded(Sound):
    """Knows two sizes."""

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """Rounded up."""
        return super().generate_data_key(key_id, 16 if length <= 16 else 32, context)


@animal(
    "data-key-without-context",
    "A data key is encrypted without the context that it was asked for.",
    "Wrappers that pass the context to encryption, and forget it here.",
    caught_by="sym.data-key",
    also="envelope.data-key",
)
class DataKeyWithoutContext(Sound):
    """Forgets it."""

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """In the empty context."""
        return super().generate_data_key(key_id, length, EMPTY)


@animal(
    "re-encrypted-in-old-context",
    "Re-encryption leaves the ciphertext in its old context.",
    "Two parameters with nearly the same name.",
    caught_by="sym.re-encrypt",
)
class ReEncryptedInOldContext(Sound):
    """Mixes them up."""

    def re_encrypt(
        self,
        ciphertext: bytes,
        source: EncryptionContext,
        key_id: str,
        context: EncryptionContext,
    ) -> bytes:
        """Another key, the same context."""
        return super().re_encrypt(ciphertext, source, key_id, source)


@animal(
    "re-encrypted-in-place",
    "Re-encryption stays under the old key.",
    "A destination key that is ignored when the ciphertext is fresh.",
    caught_by="sym.re-encrypt",
)
class ReEncryptedInPlace(Sound):
    """Stays where it is."""

    def re_encrypt(
        self,
        ciphertext: bytes,
        source: EncryptionContext,
        key_id: str,
        context: EncryptionContext,
    ) -> bytes:
        """The same key."""
        return super().re_encrypt(ciphertext, source, parse(ciphertext).key_id, context)


@animal(
    "random-repeated",
    "The generator gives the same bytes again.",
    "NSS gives parent and child the same ones after a fork.",
    caught_by="contract.random",
)
class RandomRepeated(Sound):
    """Seeded."""

    def generate_random(self, length: int) -> bytes:
        """Always these."""
        return random.Random(4).randbytes(length)  # noqa: S311 - that is what is wrong


@animal(
    "random-short",
    "Random values are one byte shorter than asked for.",
    "Leading zeros that are lost on the way through an integer.",
    caught_by="contract.random",
)
class RandomShort(Sound):
    """Loses one."""

    def generate_random(self, length: int) -> bytes:
        """One less."""
        return os.urandom(length - 1)
