"""A cache of data keys, so that many small messages cost one call to the provider."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from kmscore.envelope.recipients import Materials, Opener, Source, make_materials, open_materials
from kmscore.errors import ConfigError
from kmscore.key import Key

if TYPE_CHECKING:
    from kmscore.context import EncryptionContext
    from kmscore.envelope.header import EncryptedDataKey
    from kmscore.envelope.suites import Suite

MAX_MESSAGES: Final = 1 << 20
MAX_BYTES: Final = 1 << 40
"""Most that one data key encrypts; each message has a key of its own derived from it."""


class _Entry:
    """A data key, and what was done with it. Its lock makes others wait for a first fetch."""

    __slots__ = ("bytes", "ends", "lock", "materials", "messages")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.materials: Materials | None = None
        self.ends = 0.0
        self.messages = 0
        self.bytes = 0

    def wipe(self) -> None:
        if self.materials is not None:
            self.materials.wipe()
            self.materials = None


class DataKeyCache(Source):
    """Remembers data keys for a while. Safe to use from several threads.

    Data keys for writing are kept by recipients, suite and context; those for reading by the
    encrypted data key itself, the openers and the context. What fails is never remembered. While
    a data key is remembered, disabling its key in the provider does not stop its use: ``max_age``
    is how long that can be.

    Args:
        max_age: Seconds that a data key is used.
        max_messages: Messages that one data key encrypts.
        max_bytes: Bytes that one data key encrypts.
        capacity: Data keys that are kept; the one not used for longest makes room.
        monotonic: Seconds that never run backwards; for tests.
    """

    def __init__(
        self,
        *,
        max_age: float = 300.0,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        capacity: int = 1000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_age <= 0 or capacity < 1 or not 0 < max_messages <= MAX_MESSAGES:
            raise ConfigError("the bounds of a data-key cache must be positive")
        if not 0 < max_bytes <= MAX_BYTES:
            raise ConfigError(f"a data key encrypts at most {MAX_BYTES} bytes")
        self._max_age = max_age
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._capacity = capacity
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._entries: OrderedDict[object, _Entry] = OrderedDict()

    def make(
        self, keys: Sequence[Key], context: EncryptionContext, suite: Suite, size: int
    ) -> Materials:
        """A data key for writing, remembered or fresh."""
        if size > self._max_bytes:
            return make_materials(keys, context)
        names = tuple((key.provider_name, key.key_id) for key in keys)
        entry = self._entry((names, suite.number, context.items))
        with entry.lock:
            worn = entry.messages >= self._max_messages or entry.bytes + size > self._max_bytes
            if entry.materials is None or worn or self._monotonic() >= entry.ends:
                entry.wipe()
                entry.materials = make_materials(keys, context)
                entry.ends = self._monotonic() + self._max_age
                entry.messages = entry.bytes = 0
            entry.messages += 1
            entry.bytes += size
            # A copy: the entry may be wiped while the message is being written.
            return Materials(bytearray(entry.materials.data_key), entry.materials.recipients)

    def open(
        self,
        recipients: Sequence[EncryptedDataKey],
        openers: Sequence[Opener],
        context: EncryptionContext,
    ) -> bytearray:
        """A data key for reading, remembered or fetched."""
        entry = self._entry((_digest(recipients), _names(openers), context.items))
        with entry.lock:
            if entry.materials is None or self._monotonic() >= entry.ends:
                entry.wipe()
                data_key = open_materials(recipients, openers, context)
                entry.materials = Materials(data_key, tuple(recipients))
                entry.ends = self._monotonic() + self._max_age
            return bytearray(entry.materials.data_key)

    def clear(self) -> None:
        """Forget and wipe every data key."""
        with self._lock:
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            with entry.lock:
                entry.wipe()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<DataKeyCache with {len(self)} data keys>"

    def _entry(self, place: object) -> _Entry:
        evicted: _Entry | None = None
        with self._lock:
            entry = self._entries.get(place)
            if entry is None:
                entry = self._entries[place] = _Entry()
                if len(self._entries) > self._capacity:
                    _, evicted = self._entries.popitem(last=False)
            else:
                self._entries.move_to_end(place)
        if evicted is not None:
            with evicted.lock:
                evicted.wipe()
        return entry


def _digest(recipients: Sequence[EncryptedDataKey]) -> bytes:
    digest = hashlib.sha256()
    for each in recipients:
        for part in (each.provider_id.encode(), each.provider_info, each.ciphertext):
            digest.update(len(part).to_bytes(4) + part)
    return digest.digest()


def _names(openers: Sequence[Opener]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (each.provider_name, each.key_id) if isinstance(each, Key) else (each.name, "")
        for each in openers
    )
