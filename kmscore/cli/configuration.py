"""The command ``config``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from kmscore.cli.session import Session, common_options, pass_session
from kmscore.errors import ConfigError, KmsError
from kmscore.plugin import Secret

if TYPE_CHECKING:
    from kmscore.plugin import ProviderType


@click.group("config")
@common_options
def config() -> None:
    """Look at the configuration."""


@config.command()
@common_options
@pass_session
def check(session: Session) -> None:
    """Check every provider of the configuration against its type; nothing is opened."""
    from kmscore.discovery import Plugins

    settings = session.config()
    plugins = Plugins()
    problems: list[str] = []
    for name in settings.plugins:
        try:
            plugins.load(name)
        except KmsError as error:
            problems.append(str(error))
    for entry in settings.providers.values():
        try:
            settings.setting(entry, plugins.provider_type(entry.type))
        except KmsError as error:
            problems.append(str(error))
    if problems:
        for problem in problems[:-1]:
            click.echo(f"error: {problem}", err=True)
        raise ConfigError(problems[-1])
    names = sorted(settings.providers)
    session.show(
        {"path": str(settings.path), "providers": names},
        f"{settings.path} is right: {', '.join(names) or 'no providers'}",
    )


@config.command()
@common_options
@pass_session
def show(session: Session) -> None:
    """The configuration that is in force; secrets are shown as what they refer to."""
    from kmscore.discovery import Plugins

    settings = session.config()
    plugins = Plugins()
    shown: dict[str, Any] = {
        "path": str(settings.path),
        "default": settings.default,
        "plugins": list(settings.plugins),
        "providers": {
            # What was not checked may hold a secret where a reference belongs.
            entry.name: {
                "type": entry.type,
                **_plain(settings.setting(entry, plugins.provider_type(entry.type)).options),
            }
            for entry in settings.providers.values()
        },
        "retry": {
            "max_attempts": settings.retry.max_attempts,
            "initial_delay": settings.retry.initial_delay,
            "max_delay": settings.retry.max_delay,
            "deadline": settings.retry.deadline,
        },
        "audit": None,
    }
    if settings.audit is not None:
        key = settings.audit.key
        shown["audit"] = {
            "path": str(settings.audit.path),
            "key": key.source if key else None,
            "fail_closed": settings.audit.fail_closed,
        }
    session.show(shown, json.dumps(shown, indent=2, ensure_ascii=False))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Checked options in plain values, for JSON."""
    plain: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Secret):
            plain[name] = value.source
        elif isinstance(value, Mapping):
            plain[name] = _plain(cast("Mapping[str, Any]", value))
        else:
            plain[name] = str(value) if isinstance(value, Path) else value
    return plain


@config.command()
@common_options
@pass_session
def schema(session: Session) -> None:
    """The JSON Schema of kms.toml, with the options of every provider that is installed."""
    from kmscore.discovery import Plugins
    from kmscore.schema import config_schema

    types: list[ProviderType] = []
    for described in Plugins().describe():
        if described.problem:
            session.say(f"left out: {described.problem}")
        types += described.types
    click.echo(json.dumps(config_schema(types), indent=2))
