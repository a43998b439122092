"""The command ``audit``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from kmscore.cli.exit_codes import WRONG
from kmscore.cli.session import Session, common_options, pass_session
from kmscore.errors import ConfigError

_HASH: Final = re.compile(r"[0-9a-f]{64}")


@click.group()
@common_options
def audit() -> None:
    """The audit trail."""


@audit.command()
@click.option("--log", "file", metavar="FILE", help="The log; by default the configured one.")
@click.option("--head", metavar="HASH", help="A hash that one of its records must have.")
@click.option(
    "--records", type=click.IntRange(0), metavar="N", help="How many records it must have at least."
)
@common_options
@pass_session
def verify(session: Session, file: str | None, head: str | None, records: int | None) -> int:
    """Check the chain of an audit log; exit code 4 when it was altered.

    A log that was cut off at its end is still a chain: note its head and its number of records
    elsewhere, and give them here.
    """
    from kmscore.audit import verify_log

    if head is not None and not _HASH.fullmatch(head):
        raise click.UsageError(f"--head {head!r} is no hash: it has 64 hex digits in lower case")
    settings = session.config().audit if file is None or session.config_file else None
    if file is None and settings is None:
        raise ConfigError(
            "the configuration has no [audit]", hint="Name the log with --log, or add the table"
        )
    path = Path(file) if file is not None else settings.path if settings else Path()
    report = verify_log(
        path,
        key=settings.key if settings else None,
        expected_head=head,
        expected_records=records,
    )
    if report.lacks_key:
        raise ConfigError(
            f"the audit log {path} is sealed under a key, and cannot be checked without it",
            hint="Name the configuration that has the key with --config",
        )
    findings = [{"line": finding.line, "text": finding.text} for finding in report.problems]
    session.show(
        {
            "ok": report.ok,
            "records": report.records,
            "head": report.head,
            "previous": report.previous,
            "problems": findings,
            "warnings": [{"line": each.line, "text": each.text} for each in report.warnings],
        },
        f"{report.records} records, head {report.head}",
    )
    for finding in report.problems:
        session.say(f"line {finding.line}: {finding.text}" if finding.line else finding.text)
    for warning in report.warnings:
        session.say(f"line {warning.line}: note: {warning.text}")
    session.say("the log is whole" if report.ok else "the log was ALTERED")
    return 0 if report.ok else WRONG
