"""Hands audit events to the plugins that listen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmscore.audit.event import AuditEvent


def emit(relay: Any, event: AuditEvent) -> None:
    """Tell every subscriber of the hook ``kmscore_audit_event``.

    What a subscriber raises is logged under ``kmscore.audit`` and goes no further. pluggy then
    calls no other subscriber for this event: what must not be lost belongs into the audit log.

    Args:
        relay: pluggy's hook relay.
        event: What has happened.
    """
    try:
        relay.kmscore_audit_event(event=event)
    except Exception as error:
        import logging

        log = logging.getLogger("kmscore.audit")
        # Where nobody set up logging, Python writes to standard error: a person reads that.
        log.error(
            "a subscriber of audit events failed with %s",
            type(error).__name__,
            exc_info=log.hasHandlers(),
        )
