"""On whose behalf operations are carried out, where a process works for others."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final


class Errand:
    """Somebody's request, while this thread carries it out.

    Attributes:
        caller: Who asked.
        request_id: The id of the request.
        recorded: Whether an event has told of it.
    """

    __slots__ = ("caller", "recorded", "request_id")

    def __init__(self, caller: str, request_id: str) -> None:
        self.caller = caller
        self.request_id = request_id
        self.recorded = False


ERRAND: Final[ContextVar[Errand | None]] = ContextVar("kmscore_errand", default=None)
"""The request that is being carried out: events name its caller and, where the provider gave no
other, its request id."""
