"""PKCS#11 modules in this process: each initialised once, with locks, and again after a fork."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from pkcs11.exceptions import PKCS11Error

from kmscore.errors import ConfigError, Unavailable
from kmscore_pkcs11._binding import BINDING
from kmscore_pkcs11._errors import from_code, translate
from kmscore_pkcs11._native import Native, NativeError

if TYPE_CHECKING:
    from kmscore_pkcs11._sessions import Pool, Session
    from kmscore_pkcs11._token import Token

ALREADY_INITIALISED: Final = 0x191
DRAIN_SECONDS: Final = 5.0
"""How long running calls are waited for before the module is initialised again, or a fork."""


class _Library(BINDING.lib):  # type: ignore[misc]
    """python-pkcs11's library, initialised by us; so it never finalises the module either."""

    begin: Any = None

    def initialize(self) -> None:
        """Called by the library's constructor."""
        self.begin()


class Module:
    """A module that is loaded; shared by all providers of this process that use it.

    Args:
        path: The library, after links.
        init_args: Its own initialisation string.

    Attributes:
        path: The library.
        native: Its functions.
        generation: Grows with every initialisation; what was found before holds no longer.
        lock: Held while the module is initialised or a token logged in.

    Raises:
        ConfigError: It is no PKCS#11 module, or refuses the string.
    """

    def __init__(self, path: Path, init_args: str) -> None:
        self.path = path
        self.init_args = init_args
        self.lock = threading.RLock()
        self.generation = 0
        self._tokens: weakref.WeakSet[Token] = weakref.WeakSet()
        self._paused: list[tuple[Pool, list[Session]]] = []
        self._ready = False
        self._ours = False
        self._forked = False
        try:
            # In two steps: the second one initialises the module.
            self.library: Any = cast("Any", _Library).__new__(_Library, str(path))
        except PKCS11Error as error:
            raise ConfigError(
                f"{path} is no PKCS#11 module, or a library that it needs is missing",
                hint=f"Check it with: ldd {path}",
            ) from error
        # One reference too many: the binding must not unload the module at the interpreter's end,
        # when threads may still be inside it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.library))
        self.native = Native(self.library)
        self.library.begin = self.initialise
        try:
            BINDING.lib.__init__(self.library, str(path))
        except NativeError as error:
            raise from_code(error.code, error.function) from error
        except PKCS11Error as error:
            raise translate(error, "C_GetInfo") from error

    @property
    def is_used(self) -> bool:
        """Whether a provider has it open."""
        return bool(self._tokens)

    def initialise(self) -> None:
        """Initialise the module if it is not; with the lock held.

        Raises:
            NativeError: It refuses.
        """
        if self._ready:
            return
        try:
            self.native.initialise(self.init_args)
        except NativeError as error:
            if error.code != ALREADY_INITIALISED:
                raise
            if self._ours and self._forked:
                # The parent did that. What is finalised here is this process's copy.
                self.native.finalise()
                self.native.initialise(self.init_args)
            else:
                # Other code of this process did: finalising would end its sessions.
                self._ours = False
        else:
            self._ours = True
        self._ready = True
        self._forked = False
        self.generation += 1

    def restart(self) -> None:
        """Finalise and initialise again: after a lost token, nothing less brings it back.

        With the lock held. Where others initialised the module, only logins begin anew.

        Raises:
            NativeError: It refuses.
            Unavailable: A call does not return, so nothing was done.
        """
        paused: list[tuple[Pool, list[Session]]] = []
        for token in self._tokens:
            pool = token.pool
            if pool is None:
                continue
            taken = pool.pause(DRAIN_SECONDS)
            if taken is None:
                for other, sessions in paused:
                    other.resume(sessions)
                raise Unavailable(
                    "a call to the token does not return, so it cannot be connected anew",
                    hint="If that lasts, the module hangs: start the process again",
                )
            paused.append((pool, taken))
        for pool, taken in paused:
            pool.close(taken)
        for token in self._tokens:
            token.forget_login()
        self.end()
        self.initialise()

    def end(self) -> None:
        """Finalise the module if it was initialised here; with the lock held."""
        if self._ready and self._ours:
            with suppress(NativeError):
                self.native.finalise()
        self._ready = False

    def end_unless_used(self) -> None:
        """As `end`, but not while a token is logged in."""
        if all(token.pool is None for token in self._tokens):
            self.end()

    def attach(self, token: Token) -> None:
        """Have the token told of restarts and forks; with the lock held."""
        self._tokens.add(token)

    def detach(self, token: Token) -> None:
        """Forget the token; the module is finalised with the last one."""
        with self.lock:
            self._tokens.discard(token)
            if not self._tokens:
                self.end()

    # --- Forks -------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Let changes and calls come to their end, so that the child inherits no lock in use.

        Calls that take longer than that are left alone.
        """
        for token in self._tokens:
            token.changing.acquire(timeout=DRAIN_SECONDS)
        self.lock.acquire()
        for token in self._tokens:
            taken = token.pool.pause(DRAIN_SECONDS) if token.pool else None
            if token.pool is not None and taken is not None:
                self._paused.append((token.pool, taken))

    def after_fork_in_parent(self) -> None:
        """Go on."""
        for pool, taken in self._paused:
            pool.resume(taken)
        self._paused = []
        self.lock.release()
        for token in self._tokens:
            with suppress(RuntimeError):
                token.changing.release()

    def after_fork_in_child(self) -> None:
        """Forget everything: sessions, logins and locks are the parent's."""
        self._paused = []
        self.lock = threading.RLock()
        self._ready = False
        self._forked = True
        for token in self._tokens:
            token.changing = threading.RLock()
            token.turn = threading.RLock()
            token.forget_login()


_MODULES: Final[dict[Path, Module]] = {}
_GATE: Final = threading.Lock()


def load(path: Path, init_args: str) -> Module:
    """The module at that path, loaded once in a process.

    Args:
        path: An absolute path; links are followed, since a module under two names is one.
        init_args: Its own initialisation string, which NSS needs.

    Raises:
        ConfigError: There is no such module, or it runs already with another string.
    """
    real = Path(os.path.realpath(path))
    if not real.is_file():
        raise ConfigError(f"there is no PKCS#11 module {path}", hint="Check the path")
    with _GATE:
        module = _MODULES.get(real)
        if module is None:
            module = _MODULES[real] = Module(real, init_args)
        elif module.is_used and module.init_args != init_args:
            raise ConfigError(
                f"{real} runs already in this process, with other init_args",
                hint="Use the same for all providers, or another process",
            )
        else:
            module.init_args = init_args
    return module


def _before_fork() -> None:
    _GATE.acquire()
    for module in _MODULES.values():
        module.before_fork()


def _after_fork_in_parent() -> None:
    for module in _MODULES.values():
        module.after_fork_in_parent()
    _GATE.release()


def _after_fork_in_child() -> None:
    for module in _MODULES.values():
        module.after_fork_in_child()
    _GATE.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
