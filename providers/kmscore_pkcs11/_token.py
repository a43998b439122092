"""A token: found by label and serial number, logged in once, and connected anew when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pkcs11.exceptions import PKCS11Error

from kmscore.errors import InternalError, KmsError, Unavailable
from kmscore_pkcs11._errors import LOST, STALE, code_of, is_lost
from kmscore_pkcs11._failures import FAILURES, code_of_failure, explain
from kmscore_pkcs11._login import Facts, Identity, facts_of, find, log_in, require_login
from kmscore_pkcs11._sessions import Place, Pool, Session
from kmscore_pkcs11._templates import attribute_mapper

if TYPE_CHECKING:
    from kmscore.plugin import Secret
    from kmscore_pkcs11._module import Module

Result = TypeVar("Result")
Action = Callable[..., Result]
"""What is done on a session: called with the session, the key's handle and its arguments."""

_POISONED: Final = frozenset({0x90, 0x91})
"""An operation is active, or is not: the session is not in the state that we left it in."""

_P11_KIT: Final = "PKCS#11 Kit"
"""CK_INFO.manufacturerID of p11-kit's modules."""

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0
"""Seconds between tries to connect to a lost token; calls meanwhile fail at once."""


class Token:
    """One token through one module. Safe to use from several threads, and after a fork.

    Args:
        module: The module.
        identity: Which of its tokens.
        pin: Where the user's PIN is; read for each login, and not kept.
        max_sessions: Most sessions beside the one that holds the login.
        patience: How long a call waits for a session, in seconds.

    Attributes:
        changing: Held while keys are changed on the token and in the registry.
        turn: Held during calls, where only one may be made at a time.
        pool: The sessions of the present login, or None before it.

    Raises:
        ConfigError: No token, or several, fit the description; the PIN cannot be read.
        AuthenticationFailed: The token refuses the PIN, or is one wrong try away from locking.
        Unavailable: The token cannot be reached.
    """

    def __init__(
        self,
        module: Module,
        identity: Identity,
        pin: Secret,
        max_sessions: int,
        patience: float = 30.0,
    ) -> None:
        self.module = module
        self.identity = identity
        self.changing = threading.RLock()
        self.turn = threading.RLock()
        self.pool: Pool | None = None
        self._pin = pin
        self._max_sessions = max_sessions
        self._patience = patience
        self._login: Any = None
        self._mapper = attribute_mapper()
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._closed = False
        with module.lock:
            module.attach(self)
            try:
                self._connect()
            except BaseException:
                module.detach(self)
                raise

    # --- Calls -------------------------------------------------------------------------------

    def use(self, place: Place, function: str, action: Action[Result], *arguments: Any) -> Result:
        """Do something with a key that may be done twice.

        Args:
            place: The key.
            function: The PKCS#11 function that does it, for errors.
            action: Called with a session, the key's handle and the arguments. Afterwards the
                session must have no operation active.
            arguments: What else it needs.

        Raises:
            KeyNotFound: The key is not on the token.
            KmsError: As the token's answer is understood.
        """
        try:
            session = self.pool.idle.pop()  # type: ignore[union-attr]
        except (IndexError, AttributeError):
            session = self._take()
        try:
            handle = session.handles.get(place) or session.find(place)
            result = action(session, handle, *arguments)
        except FAILURES as error:
            session.pool.drop(session)
            failure = error
        except BaseException:
            session.pool.drop(session)
            raise
        else:
            session.pool.give(session)
            return result

        def attempt(other: Session) -> Result:
            return action(other, other.handles.get(place) or other.find(place), *arguments)

        self._recover(failure, function, session.pool, place)
        return self._repeat(function, attempt, place=place)

    def ask(self, function: str, action: Action[Result], *arguments: Any) -> Result:
        """Do something without a key that may be done twice; as `use`, without a handle."""
        return self._repeat(function, lambda session: action(session, *arguments))

    def change(self, function: str, action: Action[Result], *arguments: Any) -> Result:
        """Do something on a read-write session of its own, which is closed afterwards.

        Args:
            function: The PKCS#11 function that does it, for errors.
            action: Called with the session and the arguments; again if the token was lost and
                came back, so it looks first what is there.
            arguments: What else it needs.
        """
        return self._repeat(function, lambda session: action(session, *arguments), writable=True)

    def _repeat(
        self,
        function: str,
        attempt: Callable[[Session], Result],
        *,
        writable: bool = False,
        place: Place | None = None,
    ) -> Result:
        """Try, and once more after a failure that may pass.

        With a key that makes three tries: a logout first shows as a handle that is stale.
        """
        for is_last in (False, True):
            session = self._take(writable=writable)
            try:
                result = attempt(session)
            except FAILURES as error:
                session.pool.drop(session)
                if is_last:
                    raise explain(error, function) from error
                self._recover(error, function, session.pool, place)
            except BaseException:
                session.pool.drop(session)
                raise
            else:
                if writable:
                    session.pool.drop(session)
                else:
                    session.pool.give(session)
                return result
        raise AssertionError

    def _take(self, *, writable: bool = False) -> Session:
        while True:
            pool = self.pool
            try:
                if pool is None:
                    raise IndexError
                return pool.take_writable() if writable else pool.take()
            except IndexError:
                self._reconnect(pool, is_paused=True)
            except PKCS11Error as error:
                if code_of(error) not in LOST:
                    raise explain(error, "C_OpenSession") from error
                self._reconnect(pool)

    def _recover(
        self, error: Exception, function: str, pool: Pool | None, place: Place | None
    ) -> None:
        """Make ready for another try after an error, or raise what it means."""
        code = code_of_failure(error)
        if is_lost(code, function):
            self._reconnect(pool)
        elif code in STALE and place is not None and pool is not None:
            pool.handles.pop(place, None)
        elif code not in _POISONED:
            raise explain(error, function) from error

    # --- Connecting --------------------------------------------------------------------------

    def is_logged_in(self) -> bool:
        """Whether the login holds, for `health`; connects when nobody has yet."""

        def ask(session: Session) -> bool:
            return session.pool.native.is_logged_in(session.raw.handle)

        return self.ask("C_GetSessionInfo", ask)

    def facts(self) -> Facts:
        """What the token says of itself now."""
        with self.module.lock:
            self.module.initialise()
            token = find(self.module, self.identity)
            return facts_of(self.module, token)

    def mechanisms(self) -> list[int]:
        """Numbers of the mechanisms that the token lists."""
        with self.module.lock:
            return [int(each) for each in find(self.module, self.identity).slot.get_mechanisms()]

    def mechanism_info(self, mechanism: Any) -> Any:
        """What the token lists of a mechanism: smallest and largest key among others."""
        with self.module.lock:
            return find(self.module, self.identity).slot.get_mechanism_info(mechanism)

    def forget_login(self) -> None:
        """Sessions and login are gone: the module was finalised, or this is a child process."""
        self.pool = None
        self._login = None

    def close(self) -> None:
        """Close all sessions, and with the last one of a process the login ends."""
        with self.module.lock:
            if self._closed:
                return
            self._closed = True
            pool = self.pool
            taken = pool.pause(1.0) if pool is not None else None
            if pool is not None and taken is not None:
                pool.close(taken)
            if self._login is not None:
                with suppress(PKCS11Error):
                    self._login.close()
            self.forget_login()
            self.module.detach(self)

    def _reconnect(self, lost: Pool | None, *, is_paused: bool = False) -> None:
        """Connect again, unless another thread has done so since that login.

        A pool that gave no session may have been paused for a fork only, and goes on then.
        """
        with self.module.lock:
            if self._closed:
                raise InternalError("the provider was closed")
            if self.pool is not None and self.pool is not lost:
                return
            if is_paused and lost is not None and not lost.is_closed:
                return
            wait = self._not_before - time.monotonic()
            if wait > 0:
                raise Unavailable(
                    f"the token is not reachable; the next try is in {wait:.1f} s",
                    hint="Check that the token is there, and its service runs",
                )
            try:
                if self.pool is not None:
                    self.module.restart()
                self._connect()
            except KmsError:
                self._back_off()
                raise
            except FAILURES as error:
                self._back_off()
                raise explain(error, "C_Initialize") from error
            self._pause = _FIRST_PAUSE

    def _back_off(self) -> None:
        self.module.end_unless_used()
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _connect(self) -> None:
        self.module.initialise()
        try:
            token = find(self.module, self.identity)
            require_login(token)
            login = token.open()
        except PKCS11Error as error:
            raise explain(error, "C_OpenSession") from error
        try:
            log_in(self.module, self._pin, login, token)
        except BaseException:
            with suppress(PKCS11Error):
                login.close()
            raise
        self._login = login
        self.pool = Pool(
            lambda writable: token.open(rw=writable, attribute_mapper=self._mapper),
            self.module.native,
            self._max_sessions,
            self._patience,
        )


class OneAtATime(Token):
    """A token behind a module that is used by one thread at a time.

    p11-kit's client sends all calls over one connection. When that breaks while several threads
    wait for answers, some of them wait for ever (p11-kit 0.24).
    """

    def use(self, place: Place, function: str, action: Action[Result], *arguments: Any) -> Result:
        """As `Token.use`."""
        with self.turn:
            return super().use(place, function, action, *arguments)

    def ask(self, function: str, action: Action[Result], *arguments: Any) -> Result:
        """As `Token.ask`."""
        with self.turn:
            return super().ask(function, action, *arguments)

    def change(self, function: str, action: Action[Result], *arguments: Any) -> Result:
        """As `Token.change`."""
        with self.turn:
            return super().change(function, action, *arguments)


def open_token(module: Module, *arguments: Any) -> Token:
    """The token, used by several threads at a time if its module can bear that."""
    manufacturer: str = module.library.manufacturer_id
    kind = OneAtATime if manufacturer == _P11_KIT else Token
    return kind(module, *arguments)
