"""The hooks that plugins may implement, one documented function each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

    from kmscore.audit import AuditEvent
    from kmscore.plugin import ProviderType

PROJECT = "kmscore"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def kmscore_provider_types() -> Sequence[ProviderType]:  # type: ignore[empty-body]
    """The kinds of provider that this plugin brings.

    Called once, when a configuration first names a type of the plugin. Import heavy libraries in
    `ProviderType.open`, not here.
    """


@hookspec
def kmscore_audit_event(event: AuditEvent) -> None:
    """Take notice of an operation that has just ended, well or badly.

    Called in the thread of the operation, so be quick. What it raises is logged, and does not
    reach the caller: a log that must not fail belongs into ``[audit]``.
    """


@hookspec
def kmscore_register_commands(group: click.Group) -> None:
    """Add commands to the ``kmscore`` command line."""
