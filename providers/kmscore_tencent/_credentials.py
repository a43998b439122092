"""Credentials as the SDK asks for them: fixed ones, and temporary ones that are renewed in time."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, NamedTuple

from kmscore.errors import AuthenticationFailed, ConfigError, KmsError

RENEW_BEFORE: Final = 300.0
"""Most seconds before their end at which temporary credentials are renewed."""

RENEW_AFTER: Final = 0.9
"""The part of their life after which short-lived ones are renewed."""

TRY_AGAIN: Final = 15.0
"""Seconds until the next try, when a renewal failed and the old credentials still live."""


class Triple(NamedTuple):
    """Credentials for one request; never printed."""

    secret_id: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "<credentials>"


class Fetched(NamedTuple):
    """Temporary credentials, and when they end in seconds since the epoch."""

    triple: Triple
    ends: float


class Credentials(ABC):
    """Credentials from one source.

    Attributes:
        source: Where they come from, for people.
    """

    source: str

    @abstractmethod
    def get_credential_info(self) -> tuple[str, str, str | None]:
        """Secret id, secret key and session token; the SDK calls this for every request."""

    def close(self) -> None:
        """Give back what fetching them needed."""
        return

    def __repr__(self) -> str:
        return f"<{type(self).__name__} from {self.source}>"


class Fixed(Credentials):
    """Credentials that do not change while we run."""

    def __init__(self, source: str, triple: Triple) -> None:
        _require_complete(source, triple)
        self.source = source
        self._triple = triple

    def get_credential_info(self) -> tuple[str, str, str | None]:
        """The credentials."""
        return self._triple


class _Held(NamedTuple):
    triple: Triple
    ends: float
    renew_at: float


class Temporary(Credentials):
    """Credentials that end, and are fetched again before.

    They are renewed five minutes before their end, or after nine tenths of a shorter life. One
    thread renews them, while the others go on with the old ones.

    Args:
        source: Where they come from.
        fetch: Returns new ones.
        clock: Seconds since the epoch.
        close: Gives back what fetching needs.
    """

    def __init__(
        self,
        source: str,
        fetch: Callable[[], Fetched],
        clock: Callable[[], float] = time.time,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.source = source
        self._fetch = fetch
        self._clock = clock
        self._close = close
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._held: _Held | None = None

    def get_credential_info(self) -> tuple[str, str, str | None]:
        """The credentials that hold now.

        Raises:
            AuthenticationFailed: The source refuses to give any.
            Unavailable: The source does not answer, and there are none that still live.
        """
        held, now = self._held, self._clock()
        if held is not None and now < held.renew_at:
            return held.triple
        if self._process != os.getpid():
            # A thread that renewed them during a fork is not there to release the lock.
            self._process, self._lock = os.getpid(), threading.Lock()
        if held is not None and now < held.ends:
            if self._lock.acquire(blocking=False):
                try:
                    self._held = self._renewed(held, now)
                finally:
                    self._lock.release()
            return (self._held or held).triple
        with self._lock:
            if self._held is held or self._held is None:
                self._held = self._fetched(now)
            return self._held.triple

    def close(self) -> None:
        """Close the connection to the source."""
        self._close()

    def _renewed(self, held: _Held, now: float) -> _Held:
        """New credentials; or the old ones for some time more, while they live."""
        try:
            return self._fetched(now)
        except KmsError:
            return held._replace(renew_at=now + TRY_AGAIN)

    def _fetched(self, now: float) -> _Held:
        try:
            triple, ends = self._fetch()
            _require_complete(self.source, triple)
        except KmsError as error:
            if error.retryable:
                raise
            raise AuthenticationFailed(
                f"no credentials from the {self.source}: {error.message}",
                hint=error.hint,
                code=error.code,
                request_id=error.request_id,
            ) from error
        life = ends - now
        return _Held(triple, ends, max(now + life * RENEW_AFTER, ends - RENEW_BEFORE))


def _require_complete(source: str, triple: Triple) -> None:
    names = ("secret id", "secret key", "session token")
    for name, value in zip(names, triple, strict=True):
        if value is None:
            continue
        # What does not belong into a header would be repeated in the error of a library.
        if not value or " " in value or not (value.isascii() and value.isprintable()):
            raise ConfigError(
                f"the {name} from the {source} is empty, or holds blanks or other odd characters",
                hint="Copy it again from the console, without blanks",
            )
