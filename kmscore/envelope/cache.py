"""A cache of data keys, so that many small messages cost one call to the provider."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import copy
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Self, TypeVarTuple, Unpack

from kmscore.envelope.recipients import Materials, Opener, Source, make_materials, open_materials
from kmscore.errors import ConfigError, KmsError
from kmscore.key import Key

if TYPE_CHECKING:
    from collections.abc import Hashable

    from kmscore.context import EncryptionContext
    from kmscore.envelope.header import Header
    from kmscore.envelope.suites import Suite

Arguments = TypeVarTuple("Arguments")

MAX_MESSAGES: Final = 1 << 20
MAX_BYTES: Final = 1 << 40
"""Most that one data key encrypts; each message has a key of its own derived from it."""

_IDENTITY: Final = attrgetter("identity")


class _Entry:
    """A data key, until when it is used, and what was done with it."""

    __slots__ = ("bytes", "ends", "materials", "messages")

    def __init__(self, materials: Materials, ends: float) -> None:
        self.materials = materials
        self.ends = ends
        self.messages = 0
        self.bytes = 0

    def derive(self, suite: Suite, message_id: bytes) -> tuple[tuple[bytes, bytes], bytes]:
        """Message key and commitment of one message, and what its header shares with others."""
        materials = self.materials
        return suite.derive(materials.data_key, message_id), materials.shared


class _Fetch:
    """A call to the provider that others wait for, and how it failed if all of them would."""

    __slots__ = ("done", "failure")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.failure: KmsError | None = None


class DataKeyCache(Source):
    """Remembers data keys for a while. Safe to use from several threads; empty after a fork.

    Data keys for writing are kept by recipients, suite and context; those for reading by the
    encrypted data keys themselves, the openers and the context. A key or a provider that was opened
    a second time is another one, since it may have other rights. While a data key is remembered,
    disabling its key in the provider does not stop its use: ``max_age`` is how long that can be.

    When several threads need the same one, a single call fetches it and the others wait. What fails
    is never remembered; but when the provider is out of reach, those who waited fail together
    instead of finding out one after the other.

    A data key is overwritten when it is found worn out or too old, when others need its room, and
    by `clear`; leaving the cache as a context manager clears it.

    Args:
        max_age: Seconds that a data key is used.
        max_messages: Messages that one data key encrypts.
        max_bytes: Bytes that one data key encrypts.
        capacity: Data keys that are kept; the one not used for longest makes room.
        monotonic: Seconds that never run backwards; for tests.

    Raises:
        ConfigError: A bound is zero or beyond what a data key may do.
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
        if not 0 < max_age < inf or capacity < 1 or not 0 < max_messages <= MAX_MESSAGES:
            raise ConfigError(
                "the bounds of a data-key cache must be positive and finite",
                hint=f"One data key encrypts at most {MAX_MESSAGES} messages",
            )
        if not 0 < max_bytes <= MAX_BYTES:
            raise ConfigError(f"a data key encrypts at most {MAX_BYTES} bytes")
        self._max_age = max_age
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._capacity = capacity
        self._monotonic = monotonic
        self._reset()
        _caches.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._fetches: dict[Hashable, _Fetch] = {}
        self._cleared = 0

    def begin(
        self,
        keys: Sequence[Key],
        context: EncryptionContext,
        suite: Suite,
        size: int | None,
        message_id: bytes,
    ) -> tuple[tuple[bytes, bytes], bytes]:
        """From a data key that is remembered or fresh.

        A message of unknown size gets a fresh one: its bytes could not be counted.
        """
        if size is None or size > self._max_bytes:
            return super().begin(keys, context, suite, size, message_id)
        place = (tuple(map(_IDENTITY, keys)), suite.number, context.items)
        return self._derive(place, size, suite, message_id, make_materials, keys, context)

    def resume(self, header: Header, openers: Sequence[Opener]) -> tuple[bytes, bytes]:
        """From a data key that is remembered or fetched."""
        # Reading has no bounds but age: whoever sends messages could wear a data key out.
        place = (header.recipients, tuple(map(_name, openers)), header.context.items)
        derived, _ = self._derive(
            place, None, header.suite, header.message_id, _open, header, openers
        )
        return derived

    def clear(self) -> None:
        """Forget and overwrite every data key; those on their way are not remembered either."""
        with self._lock:
            self._cleared += 1
            while self._entries:
                self._forget(next(iter(self._entries)))

    def after_fork(self) -> None:
        """Forget all, in the child of a fork: both would count, and a held lock stays held."""
        for entry in list(self._entries.values()):
            entry.materials.wipe()
        self._reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<DataKeyCache with {len(self)} data keys>"

    def _derive(
        self,
        place: Hashable,
        size: int | None,
        suite: Suite,
        message_id: bytes,
        fetch: Callable[[Unpack[Arguments]], Materials],
        *arguments: *Arguments,
    ) -> tuple[tuple[bytes, bytes], bytes]:
        """What `_Entry.derive` gives, by the data key at that place.

        The lock is held meanwhile: it is not wiped while it is used, and need not be copied.
        """
        while True:
            with self._lock:
                entry = self._entries.get(place)
                if entry is not None:
                    if self._serves(entry, size):
                        self._entries.move_to_end(place)
                        return entry.derive(suite, message_id)
                    self._forget(place)
                others = self._fetches.get(place)
                if others is None:
                    mine = self._fetches[place] = _Fetch()
                    cleared = self._cleared
                    break
            others.done.wait()
            if others.failure is not None:
                raise copy(others.failure) from others.failure
        try:
            entry = _Entry(fetch(*arguments), self._monotonic() + self._max_age)
            with self._lock:
                if cleared != self._cleared:
                    try:
                        return entry.derive(suite, message_id)
                    finally:
                        entry.materials.wipe()
                self._make_room()
                self._entries[place] = entry
                self._serves(entry, size)  # and counts; it was fetched for this message
                return entry.derive(suite, message_id)
        except KmsError as error:
            if error.retryable:
                mine.failure = error
            raise
        finally:
            with self._lock:
                del self._fetches[place]
            mine.done.set()

    def _serves(self, entry: _Entry, size: int | None) -> bool:
        """Whether a data key is good for one more message, which then counts as done."""
        if self._monotonic() >= entry.ends:
            return False
        if size is not None:
            if entry.messages >= self._max_messages or entry.bytes + size > self._max_bytes:
                return False
            entry.messages += 1
            entry.bytes += size
        return True

    def _make_room(self) -> None:
        now = self._monotonic()
        for place in [place for place, entry in self._entries.items() if now >= entry.ends]:
            self._forget(place)
        while len(self._entries) >= self._capacity:
            self._forget(next(iter(self._entries)))

    def _forget(self, place: Hashable) -> None:
        self._entries.pop(place).materials.wipe()


_caches: weakref.WeakSet[DataKeyCache] = weakref.WeakSet()


def _after_fork() -> None:
    for cache in _caches:
        cache.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _open(header: Header, openers: Sequence[Opener]) -> Materials:
    return Materials(open_materials(header.recipients, openers, header.context), b"")


def _name(opener: Opener) -> Hashable:
    return opener.identity if isinstance(opener, Key) else opener
