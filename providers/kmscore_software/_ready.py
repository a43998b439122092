"""Keys in memory, unsealed and parsed, so that a call costs no more than its cryptography."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Generic, TypeVar

READY_KEYS: Final = 1024
"""How many versions of keys are kept of each sort."""

Ready = TypeVar("Ready")


class ReadyKeys(Generic[Ready]):
    """A table of bounded size, by key id and version; the oldest entry makes room.

    It says nothing about whether a key may be used: the registry is asked at every call. There is
    no lock, which a fork could leave held: single operations of a dict are atomic, and whoever
    finds no entry makes it again.
    """

    def __init__(self, most: int = READY_KEYS) -> None:
        self._keys: dict[tuple[str, int], Ready] = {}
        self._most = most

    def get(self, key_id: str, number: int) -> Ready | None:
        """What was kept, or None."""
        return self._keys.get((key_id, number))

    def keep(self, key_id: str, number: int, ready: Ready) -> Ready:
        """Keep an entry; returns it."""
        while len(self._keys) >= self._most:
            # Other threads may have changed the table meanwhile, and made room themselves.
            with suppress(RuntimeError, StopIteration):
                self._keys.pop(next(iter(self._keys)), None)
        self._keys[key_id, number] = ready
        return ready

    def forget(self, key_id: str) -> None:
        """Drop all versions of a key."""
        for place in list(self._keys):
            if place[0] == key_id:
                self._keys.pop(place, None)

    def clear(self) -> None:
        """Drop everything."""
        self._keys.clear()

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<ReadyKeys {len(self)}>"
