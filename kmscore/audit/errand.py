"""On whose behalf operations are carried out, where a process works for others."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kmscore.audit.event import AuditEvent


class Errand:
    """Somebody's request, while this thread carries it out.

    Attributes:
        caller: Who asked.
        request_id: The id of the request.
        recorded: Whether an event has told of it.
        held: Its events, which whoever carries it out will record before it answers; None where
            each is recorded at once.
    """

    __slots__ = ("caller", "held", "recorded", "request_id")

    def __init__(self, caller: str, request_id: str, held: list[AuditEvent] | None = None) -> None:
        self.caller = caller
        self.request_id = request_id
        self.recorded = False
        self.held = held


ERRAND: Final[ContextVar[Errand | None]] = ContextVar("kmscore_errand", default=None)
"""The request that is being carried out: events name its caller and, where the provider gave no
other, its request id."""
