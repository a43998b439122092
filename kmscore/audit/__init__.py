"""The audit trail: one event per operation, to hooks and to a hash-chained log of JSON lines."""

from kmscore.audit.event import AuditEvent

__all__ = ["AuditEvent"]
