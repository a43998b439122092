"""Sessions of one login: taken for a call and given back, thrown away after any error."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.exceptions import PKCS11Error

from kmscore.errors import IntegrityError, KeyNotFound, Unavailable
from kmscore_pkcs11._binding import BINDING
from kmscore_pkcs11._errors import code_of
from kmscore_pkcs11._native import NativeError
from kmscore_pkcs11._operations import Gcm, Signatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmscore_pkcs11._native import Native

Place = tuple[ObjectClass, bytes]
"""Where a key is on the token: its class, and the 16 random bytes that are its CKA_ID."""

MOST_HANDLES: Final = 100_000
LOOK_AGAIN: Final = (0.005, 0.02, 0.08)
"""Seconds after which a key that is not found is looked for again.

SoftHSM does not show an object while somebody, in this process or another, writes its flags.
"""

USER_NOT_LOGGED_IN: Final = 0x101
SESSION_COUNT: Final = 0xB1


class KeyOnSession(
    BINDING.SignMixin,  # type: ignore[misc]
    BINDING.DecryptMixin,  # type: ignore[misc]
    BINDING.UnwrapMixin,  # type: ignore[misc]
    BINDING.Object,  # type: ignore[misc]
):
    """python-pkcs11's key with a handle that is set, so that sessions share what one has found.

    The library binds a key to the session that found it, and gives it only the methods that its
    usage flags allowed then. Handles hold for all sessions of a process (PKCS#11 2.40, 6.7.4), and
    the token itself refuses what a flag forbids.

    Attributes:
        session: The session that does the work.
        handle: The key's handle.
        key_type: Its type; asking the token would be one call more.
    """

    session: Any = None
    handle: int = 0
    key_type: KeyType = KeyType.AES

    def __init__(self, session: Any) -> None:
        self.session = session


class Session:
    """A session of python-pkcs11, and what is kept ready with it. One thread at a time.

    Attributes:
        pool: Where it belongs.
        raw: The library's session.
        handles: Handles of keys by their place, shared by the sessions of one login.
        gcm: AES-GCM on this session.
        signatures: Signatures on this session.
        is_writable: Whether keys may be made with it; such a session is not used twice.
    """

    __slots__ = ("_key", "gcm", "handles", "is_writable", "pool", "raw", "signatures")

    def __init__(self, pool: Pool, raw: Any, native: Native, *, is_writable: bool) -> None:
        self.pool = pool
        self.is_writable = is_writable
        self.raw = raw
        self.handles = pool.handles
        self.gcm = Gcm(native, raw.handle)
        self.signatures = Signatures(native, raw.handle)
        self._key = KeyOnSession(raw)

    def key(self, handle: int, kind: KeyType) -> Any:
        """The key with that handle, for the next call only."""
        key = self._key
        key.handle = handle
        key.key_type = kind
        return key

    def search(self, identity: bytes, kind: ObjectClass | None = None, most: int = 16) -> list[int]:
        """Handles of the objects with that CKA_ID; with a class, only those of that class."""
        return self.pool.native.find_objects(self.raw.handle, identity, kind, most)

    def destroy(self, handle: int) -> None:
        """Destroy an object."""
        self.pool.native.destroy_object(self.raw.handle, handle)

    def set_flag(self, handle: int, flag: Attribute, value: bool) -> None:
        """Change a usage flag of a key."""
        self.pool.native.set_flag(self.raw.handle, handle, flag, value)

    def find(self, place: Place) -> int:
        """The handle of the one key at that place.

        Raises:
            KeyNotFound: It is not there, though the login holds.
            IntegrityError: There are several.
            NativeError: The login was lost.
        """
        kind, identity = place
        found = self.search(identity, kind, 2)
        for pause in LOOK_AGAIN:
            if found or not self.pool.native.is_logged_in(self.raw.handle):
                break
            time.sleep(pause)
            found = self.search(identity, kind, 2)
        if len(found) > 1:
            raise IntegrityError(
                f"several objects on the token have the CKA_ID {identity.hex()}",
                hint="Find out who copied the key, and destroy the copy",
            )
        if not found:
            # Without a login, a token shows no private objects, and says so in no other way.
            if not self.pool.native.is_logged_in(self.raw.handle):
                raise NativeError(USER_NOT_LOGGED_IN, "C_FindObjects")
            raise KeyNotFound(
                "the key is no longer on the token",
                hint="Somebody destroyed it with another tool; restore the token from a backup",
            )
        handle = found[0]
        if len(self.handles) >= MOST_HANDLES:
            self.handles.clear()
        self.handles[place] = handle
        return handle

    def close(self) -> None:
        """Give it back to the token; it may be dead already."""
        with suppress(PKCS11Error):
            self.raw.close()


class Pool:
    """The sessions of one login, and the handles that were found meanwhile.

    What is given back and taken again needs no lock: single operations of a deque are atomic.

    Args:
        open_raw: Opens a session of the library, read-write if so asked.
        native: The module's functions.
        most: How many sessions there may be at once.
        patience: How long to wait for one, in seconds.

    Attributes:
        native: The module's functions.
        handles: Handles of keys by their place. A new login begins with none: modules use the same
            numbers again, for other keys.
    """

    def __init__(
        self, open_raw: Callable[[bool], Any], native: Native, most: int, patience: float
    ) -> None:
        self.handles: dict[Place, int] = {}
        self.idle: deque[Session] = deque()
        self._open_raw = open_raw
        self.native = native
        self._most = most
        self._patience = patience
        self._opened = 0
        self._waiting = 0
        self._changed = threading.Condition(threading.Lock())
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the login is over."""
        return self._closed

    def take(self) -> Session:
        """A session for one call; the quick way is ``idle.pop()``.

        Raises:
            IndexError: The pool is closed.
            Unavailable: All sessions are in use for too long.
            PKCS11Error: The token opens none.
        """
        try:
            return self.idle.pop()
        except IndexError:
            return self._wait(writable=False)

    def take_writable(self) -> Session:
        """A new read-write session; to be dropped afterwards. Raises what `take` raises."""
        return self._wait(writable=True)

    def give(self, session: Session) -> None:
        """Take a session back after a call that succeeded."""
        self.idle.append(session)
        if self._waiting:
            with self._changed:
                self._changed.notify_all()

    def drop(self, session: Session) -> None:
        """Close a session that saw an error: an operation may still be active in it."""
        session.close()
        with self._changed:
            self._opened -= 1
            self._changed.notify_all()

    def pause(self, timeout: float) -> list[Session] | None:
        """Take every session, so that no thread is inside a call; `resume` gives them back.

        Returns:
            The sessions, or None when some call did not return in time: then all goes on.
        """
        deadline = time.monotonic() + timeout
        taken: list[Session] = []
        with self._changed:
            self._closed = True
            self._waiting += 1
            while True:
                with suppress(IndexError):
                    while True:
                        taken.append(self.idle.pop())
                left = deadline - time.monotonic()
                if len(taken) == self._opened or left <= 0:
                    break
                self._changed.wait(left)
            self._waiting -= 1
            if len(taken) == self._opened:
                return taken
        self.resume(taken)
        return None

    def resume(self, taken: list[Session]) -> None:
        """Go on after `pause`."""
        with self._changed:
            self._closed = False
            self.idle.extend(taken)
            self._changed.notify_all()

    def close(self, taken: list[Session]) -> None:
        """Close the sessions that `pause` took; the pool is of no use any more."""
        for session in taken:
            session.close()

    def _wait(self, *, writable: bool) -> Session:
        deadline = time.monotonic() + self._patience
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    if self._closed:
                        raise IndexError
                    if not writable:
                        with suppress(IndexError):
                            return self.idle.pop()
                    elif self._opened >= self._most and self.idle:
                        # Room for the session that writes, unless another thread is quicker.
                        with suppress(IndexError):
                            self.idle.pop().close()
                            self._opened -= 1
                    if self._opened < self._most:
                        self._opened += 1
                        break
                    if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                        raise Unavailable(
                            f"all {self._most} sessions with the token are in use",
                            hint="Raise max_sessions if the token has more, or look for a call "
                            "that hangs",
                        )
            finally:
                self._waiting -= 1
        try:
            raw = self._open_raw(writable)
            return Session(self, raw, self.native, is_writable=writable)
        except BaseException as error:
            with self._changed:
                self._opened -= 1
                is_crowded = self._opened > 0 and code_of(error) == SESSION_COUNT
                if is_crowded:
                    # The token has fewer than it was asked for.
                    self._most = self._opened
                self._changed.notify_all()
            if not is_crowded:
                raise
        return self._wait(writable=writable)
