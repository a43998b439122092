"""Commands that look around: providers, doctor."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kmscore.cli.exit_codes import UNAVAILABLE, WRONG, exit_code
from kmscore.cli.keys import table
from kmscore.cli.session import Session, common_options, pass_session
from kmscore.errors import KmsError

if TYPE_CHECKING:
    from kmscore.discovery import Description
    from kmscore.spi import Health


@click.command()
@common_options
@pass_session
def providers(session: Session) -> None:
    """Providers that are installed, loadable and configured, and what they can do."""
    from kmscore.discovery import Plugins

    described = Plugins().describe()
    configured = _configured(session)
    shown = [_plugin(each, configured) for each in described]
    if session.json:
        session.show({"installed": shown, "configured": _opened(session, configured)}, "")
        return
    rows = [("TYPE", "DISTRIBUTION", "STATUS", "CONFIGURED AS")]
    for plugin in shown:
        names = ", ".join(plugin["configured_as"]) or "-"
        status = "loadable" if plugin["loadable"] else "broken"
        rows.append(
            (plugin["name"], f"{plugin['distribution']} {plugin['version']}", status, names)
        )
    click.echo(table(rows))
    for plugin in shown:
        if plugin["problem"]:
            click.echo(f"\n{plugin['problem']}")
    for name, state in _opened(session, configured).items():
        click.echo(f"\n{name}")
        if "capabilities" not in state:
            click.echo(f"  {state['problem']}")
            continue
        capabilities = state["capabilities"]
        lines = [
            (
                f"  {kind['spec']}",
                kind["usage"],
                ", ".join(kind["algorithms"]) or "-",
                "import" if "EXTERNAL" in kind["origins"] else "",
            )
            for kind in capabilities["keys"]
        ]
        click.echo(table(lines) or "  no keys")
        click.echo(f"  features: {', '.join(capabilities['features']).lower()}")


def _configured(session: Session) -> dict[str, str]:
    try:
        settings = session.config()
    except KmsError:
        # Without a configuration there is still something to say of what is installed.
        if session.config_file is not None:
            raise
        return {}
    return {entry.name: entry.type for entry in settings.providers.values()}


def _plugin(described: Description, configured: dict[str, str]) -> dict[str, Any]:
    plugin = described.plugin
    types = {kind.name for kind in described.types}
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
        "loadable": not described.problem,
        "problem": described.problem,
        "summary": "; ".join(kind.summary for kind in described.types),
        "options": {
            kind.name: {option.name: option.help for option in kind.options}
            for kind in described.types
        },
        "configured_as": sorted(name for name, kind in configured.items() if kind in types),
    }


def _opened(session: Session, configured: dict[str, str]) -> dict[str, dict[str, Any]]:
    from kmscore.client import connect

    states: dict[str, dict[str, Any]] = {}
    for name, kind in configured.items():
        if session.provider not in (None, name):
            continue
        try:
            with connect(name, config=session.config_file) as kms:
                table_of = kms.capabilities.as_dict()
                states[name] = {"type": kind, "capabilities": table_of}
        except KmsError as error:
            states[name] = {"type": kind, "problem": str(error)}
    return states


@click.command()
@common_options
@pass_session
def doctor(session: Session) -> int:
    """Look for trouble: configuration, libraries, providers, audit log.

    The exit code is that of the worst that was found.
    """
    worst = 0
    checks: list[dict[str, Any]] = [_versions(), _sm2()]
    try:
        settings = session.config()
    except KmsError as error:
        checks.append({"check": "configuration", "ok": False, "message": str(error)})
        worst = exit_code(error)
    else:
        checks.append({"check": "configuration", "ok": True, "message": str(settings.path)})
        for entry in settings.providers.values():
            if session.provider not in (None, entry.name):
                continue
            found, code = _provider(session, entry.name)
            checks.append(found)
            worst = max(worst, code)
        if settings.audit is not None:
            found, code = _audit(session)
            checks.append(found)
            worst = max(worst, code)
    if session.json:
        session.show({"ok": worst == 0, "checks": checks}, "")
        return worst
    for check in checks:
        click.echo(f"{'ok  ' if check['ok'] else 'FAIL'}  {check['check']}: {check['message']}")
        details = check.get("details", {})
        width = max(map(len, details), default=0) + 1
        for name, value in details.items():
            click.echo(f"        {name + ':':{width}} {value}")
    return worst


def _versions() -> dict[str, Any]:
    import ssl

    import cryptography

    from kmscore import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    details = {
        "python": python,
        "libcrypto": ssl.OPENSSL_VERSION,
        "cryptography": cryptography.__version__,
    }
    message = f"kmscore {__version__}"
    return {"check": "versions", "ok": True, "message": message, "details": details}


def _sm2() -> dict[str, Any]:
    from kmscore.sm2 import load_engine

    try:
        engine = load_engine()
    except KmsError as error:
        # SM2 is one of many: without it the rest works.
        return {"check": "sm2", "ok": True, "message": f"not available: {error}"}
    return {"check": "sm2", "ok": True, "message": engine.description}


def _provider(session: Session, name: str) -> tuple[dict[str, Any], int]:
    from kmscore.client import connect

    label = f"provider {name}"
    try:
        with connect(name, config=session.config_file) as kms:
            health: Health = kms.health()
    except KmsError as error:
        return {"check": label, "ok": False, "message": str(error)}, exit_code(error)
    found = {
        "check": label,
        "ok": health.ok,
        "message": health.message,
        "details": dict(health.details),
    }
    if health.ok:
        return found, 0
    return found, exit_code(health.error) if health.error else UNAVAILABLE


def _audit(session: Session) -> tuple[dict[str, Any], int]:
    from kmscore.audit import verify_log

    settings = session.config().audit
    if settings is None or not settings.path.exists():
        return {"check": "audit log", "ok": True, "message": "nothing is logged yet"}, 0
    try:
        report = verify_log(settings.path, key=settings.key)
    except KmsError as error:
        return {"check": "audit log", "ok": False, "message": str(error)}, exit_code(error)
    message = f"{settings.path}: {report.records} records"
    if not report.ok:
        message += f", altered at line {report.problems[0].line}"
    return {"check": "audit log", "ok": report.ok, "message": message}, 0 if report.ok else WRONG
