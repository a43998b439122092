"""The audit trail: one event per operation, to hooks and to a hash-chained log of JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmscore.audit.event import AuditEvent, context_hashes
from kmscore.audit.hooks import emit

if TYPE_CHECKING:
    from kmscore.audit.log import AuditLog
    from kmscore.audit.verify import AuditReport, Finding, verify_log

__all__ = [
    "AuditEvent",
    "AuditLog",
    "AuditReport",
    "Finding",
    "context_hashes",
    "emit",
    "verify_log",
]

# The log and its verifier need json, hashlib and threads; most processes do without.
_HOME = {"AuditLog": "log", "AuditReport": "verify", "Finding": "verify", "verify_log": "verify"}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'kmscore.audit' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"kmscore.audit.{home}"), name)
    globals()[name] = value
    return value
