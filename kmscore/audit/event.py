"""The audit event: what is recorded of an operation, the same for every provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

OK = "ok"
ERROR = "error"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One operation that has ended. It never holds data: no plaintext, ciphertext or signature.

    Attributes:
        time: When it ended, in seconds since the epoch.
        provider: Configured name of the provider.
        operation: Such as ``encrypt``, ``create_key``, ``import_key_material``.
        key: Id of the key, or empty.
        outcome: ``ok`` or ``error``.
        error: Class of the error, or empty.
        duration: Seconds, retries and waiting included.
        request_id: The provider's id of the request, or empty.
        context: Keys of the encryption context, each with the first 16 bytes of the SHA-256 of
            its value in hex: enough to compare, not to read.
    """

    time: float
    provider: str
    operation: str
    key: str
    outcome: str
    error: str = ""
    duration: float = 0.0
    request_id: str = ""
    context: Mapping[str, str] = field(default_factory=dict[str, str])
