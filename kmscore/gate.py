"""The gate that every call to a provider passes: first audit, then retry, then the provider."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kmscore.audit import AuditEvent, context_hashes, emit
from kmscore.audit.errand import ERRAND
from kmscore.audit.event import ERROR, OK
from kmscore.context import EMPTY, EncryptionContext
from kmscore.errors import InternalError, InvalidRequest, KmsError, Unsupported
from kmscore.spi import NOTHING, last_request_id, note_request_id

if TYPE_CHECKING:
    from kmscore.audit import AuditLog
    from kmscore.retry import Replay, Retrier

DEFECT: Final = "This is a defect of the provider: please report it"
"""What to do about a provider that breaks the contract."""

Result = TypeVar("Result")
Interface = TypeVar("Interface")


class Gate:
    """Carries calls to one provider.

    Args:
        provider: Configured name of the provider, for errors and events.
        retrier: Carries on after a first failure.
        log: The audit log, or None.
        hooks: pluggy's relay when somebody listens for audit events, or None.
        clock: Seconds since the epoch.
    """

    __slots__ = ("_clock", "_closed", "_hooks", "_log", "_retrier", "_watched", "provider")

    def __init__(
        self,
        provider: str,
        retrier: Retrier,
        *,
        log: AuditLog | None = None,
        hooks: Any = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.provider = provider
        self._retrier = retrier
        self._log = log
        self._hooks = hooks
        self._clock = clock
        self._watched = log is not None or hooks is not None
        self._closed = False

    def run(
        self,
        operation: str,
        key: str,
        replay: Replay,
        call: Callable[..., Result],
        arguments: tuple[Any, ...] = (),
        context: EncryptionContext = EMPTY,
    ) -> Result:
        """Call the provider, and tell the audit trail how it went.

        Args:
            operation: Its name in errors and events.
            key: Id of the key, or empty.
            replay: Whether it may be sent again.
            call: The provider's method.
            arguments: Its arguments.
            context: The encryption context, for the audit trail.

        Raises:
            InvalidRequest: The provider was closed.
            KmsError: Always one of the tree, with provider, operation and key filled in.
        """
        if self._closed:
            raise InvalidRequest(
                "the provider was closed",
                hint="Open it again with connect(), or stay within its `with` block",
                provider=self.provider,
                operation=operation,
                key=key,
            )
        if not self._watched:
            return self._attempt(operation, key, replay, call, arguments)
        note_request_id("")
        began = time.perf_counter()
        try:
            result = self._attempt(operation, key, replay, call, arguments)
        except KmsError as error:
            self._report(operation, key, began, context, error)
            raise
        except BaseException:
            # An interrupted operation may have been carried out all the same.
            self._report(operation, key, began, context, InternalError("interrupted"))
            raise
        self._report(operation, key or getattr(result, "key_id", ""), began, context, None)
        return result

    @property
    def is_watched(self) -> bool:
        """Whether anybody takes notice of events."""
        return self._watched

    def record(self, *events: AuditEvent) -> None:
        """Tell the audit trail of events, in one write.

        Raises:
            Unavailable: The log is to be complete, and cannot be written.
        """
        if self._hooks is not None:
            for event in events:
                emit(self._hooks, event)
        if self._log is not None:
            self._log.extend(events)

    def defect(self, error: Exception, operation: str, key: str = "") -> InternalError:
        """What a foreign exception of the provider is told as."""
        # Its text may hold anything, secrets too: name its class.
        return InternalError(
            f"the provider failed with {type(error).__name__}",
            hint=DEFECT,
            provider=self.provider,
            operation=operation,
            key=key,
        )

    def close(self) -> None:
        """Let nothing pass any more, and finish the audit log."""
        self._closed = True
        if self._log is not None:
            self._log.close()

    def _attempt(
        self,
        operation: str,
        key: str,
        replay: Replay,
        call: Callable[..., Result],
        arguments: tuple[Any, ...],
    ) -> Result:
        try:
            return call(*arguments)
        except KmsError as error:
            error.at(provider=self.provider, operation=operation, key=key)
            if not error.retryable:
                raise
            send = partial(self._send, operation, key, call, arguments)
            return self._retrier.resume(error, send, replay)
        except Exception as error:
            raise self.defect(error, operation, key) from error

    def _send(
        self, operation: str, key: str, call: Callable[..., Result], arguments: tuple[Any, ...]
    ) -> Result:
        try:
            return call(*arguments)
        except KmsError as error:
            error.at(provider=self.provider, operation=operation, key=key)
            raise
        except Exception as error:
            raise self.defect(error, operation, key) from error

    def _report(
        self,
        operation: str,
        key: str,
        began: float,
        context: EncryptionContext,
        error: KmsError | None,
    ) -> None:
        errand = ERRAND.get()
        request_id = error.request_id if error else last_request_id()
        if errand is not None:
            errand.recorded = True
            request_id = request_id or errand.request_id
        event = AuditEvent(
            time=self._clock(),
            provider=self.provider,
            operation=operation,
            key=key,
            outcome=ERROR if error else OK,
            error=type(error).__name__ if error else "",
            duration=time.perf_counter() - began,
            request_id=request_id,
            context=context_hashes(context) if context else NOTHING,
            caller=errand.caller if errand else "",
        )
        if errand is not None and errand.held is not None:
            errand.held.append(event)
        else:
            self.record(event)


def interface(provider: object, kind: type[Interface], name: str) -> Interface:
    """The provider as one of the abstract classes of the SPI.

    Raises:
        Unsupported: It does not implement that one.
    """
    if isinstance(provider, kind):
        return provider
    raise Unsupported(
        f"provider {name!r} does not offer {kind.__name__}",
        hint="See what it offers with: kmscore providers",
        provider=name,
    )
