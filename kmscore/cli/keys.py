"""The command ``keys``: making, finding, importing and retiring keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kmscore.cli.exit_codes import OK, WRONG
from kmscore.cli.session import Session, common_options, pass_session
from kmscore.cli.streams import read_input, whole_folder, write_file
from kmscore.errors import ConfigError

if TYPE_CHECKING:
    from kmscore.plugin import Secret
    from kmscore.spi import KeyInfo

MAX_WRAPPED = 65536


@click.group()
@common_options
def keys() -> None:
    """Make, find, import and retire keys."""


@keys.command()
@click.option("--alias", metavar="A", help="A name, unique in the provider.")
@click.option("--spec", default="AES_256", show_default=True, metavar="SPEC")
@click.option("--usage", metavar="USAGE", help="Needed for RSA and SM2 only.")
@click.option("--origin", default="GENERATED", show_default=True, metavar="ORIGIN")
@click.option("--description", default="", metavar="TEXT")
@common_options
@pass_session
def create(
    session: Session, alias: str | None, spec: str, usage: str | None, origin: str, description: str
) -> None:
    """Make a key, and print its id."""
    key = session.open().create_key(
        spec, usage=usage, alias=alias, origin=origin, description=description
    )
    session.show({"key_id": key.key_id}, key.key_id)


@keys.command("list")
@common_options
@pass_session
def list_keys(session: Session) -> None:
    """All keys."""
    infos = list(session.open().keys())
    if session.json:
        session.show([as_dict(info) for info in infos], "")
        return
    rows = [("KEY ID", "ALIAS", "SPEC", "USAGE", "STATE")]
    rows += [(i.key_id, i.alias or "-", i.spec, i.usage, i.state) for i in infos]
    click.echo(table(rows))


@keys.command()
@click.argument("key")
@common_options
@pass_session
def show(session: Session, key: str) -> None:
    """What is known of KEY."""
    info = as_dict(session.key(key).describe())
    lines = [
        (f"{name}:", str(value)) for name, value in info.items() if value not in (None, "", {})
    ]
    session.show(info, table(lines))


@keys.command("alias")
@click.argument("key")
@click.argument("alias")
@common_options
@pass_session
def set_alias(session: Session, key: str, alias: str) -> None:
    """Give KEY the name ALIAS."""
    session.key(key).set_alias(alias)
    session.say(f"{key} is now called {alias}")


@keys.command()
@click.argument("key")
@click.argument("text")
@common_options
@pass_session
def describe(session: Session, key: str, text: str) -> None:
    """Give KEY the description TEXT."""
    session.key(key).set_description(text)
    session.say(f"{key} is described")


@keys.command()
@click.argument("key")
@common_options
@pass_session
def enable(session: Session, key: str) -> None:
    """Allow the use of KEY again."""
    session.key(key).enable()
    session.say(f"{key} is enabled")


@keys.command()
@click.argument("key")
@common_options
@pass_session
def disable(session: Session, key: str) -> None:
    """Forbid every use of KEY until it is enabled."""
    session.key(key).disable()
    session.say(f"{key} is disabled")


@keys.command("schedule-deletion")
@click.argument("key")
@click.option("--days", type=int, required=True, metavar="N", help="7 to 30.")
@common_options
@pass_session
def schedule_deletion(session: Session, key: str, days: int) -> None:
    """Have KEY, which must be disabled, destroyed in N days."""
    when = session.key(key).schedule_deletion(days)
    session.show({"deletion_at": when.isoformat()}, f"{key} will be destroyed at {when:%F %T} UTC")


@keys.command("cancel-deletion")
@click.argument("key")
@common_options
@pass_session
def cancel_deletion(session: Session, key: str) -> None:
    """Keep KEY; it stays disabled."""
    session.key(key).cancel_deletion()
    session.say(f"{key} is kept, and disabled")


@keys.command()
@click.argument("key")
@click.option("--every", type=int, metavar="DAYS", help="Rotate by itself every 7 to 365 days.")
@click.option("--never", is_flag=True, help="Rotate by itself no more.")
@common_options
@pass_session
def rotate(session: Session, key: str, every: int | None, never: bool) -> None:
    """Make a new version of KEY now, or say how often; old versions go on decrypting."""
    if every is not None and never:
        raise click.UsageError("give either --every or --never")
    opened = session.key(key)
    if every is not None or never:
        opened.set_rotation(every)
        session.say(f"{key} rotates every {every} days" if every else f"{key} rotates no more")
    else:
        opened.rotate()
        session.say(f"{key} has a new version")


@keys.command()
@click.argument("key")
@common_options
@pass_session
def archive(session: Session, key: str) -> None:
    """Keep KEY for decryption only."""
    session.key(key).archive()
    session.say(f"{key} is archived")


@keys.command()
@click.argument("key")
@common_options
@pass_session
def restore(session: Session, key: str) -> None:
    """Bring an archived KEY back to full use."""
    session.key(key).restore()
    session.say(f"{key} is enabled")


@keys.command("import-parameters")
@click.argument("key")
@click.option("--wrapping", default="RSAES_OAEP_SHA_256", show_default=True, metavar="A")
@click.option("-o", "--output", "folder", required=True, metavar="DIR", help="Made if not there.")
@common_options
@pass_session
def import_parameters(session: Session, key: str, wrapping: str, folder: str) -> None:
    """Fetch what is needed to wrap material for KEY.

    Writes wrapping-key.der, wrapping-key.pem, import-token and valid-to, the time until when they
    are accepted, to DIR. Older parameters of the key become invalid.
    """
    from kmscore.encodings import pem_encode

    opened = session.key(key)
    with whole_folder(folder) as place:
        parameters = opened.import_parameters(wrapping)
        until = parameters.valid_to
        write_file(place / "wrapping-key.der", parameters.public_key)
        write_file(place / "wrapping-key.pem", pem_encode(parameters.public_key).encode())
        write_file(place / "import-token", parameters.token, secret=True)
        write_file(place / "valid-to", f"{until.isoformat()}\n".encode())
    session.show(
        {"folder": folder, "wrapping": parameters.wrapping.value, "valid_to": until.isoformat()},
        f"wrapping key and token are in {folder}, valid until {until:%F %T} UTC",
    )


@keys.command("import")
@click.argument("key")
@click.option("--material", required=True, metavar="FILE", help="The wrapped material.")
@click.option("--token", required=True, metavar="FILE", help="The import token.")
@click.option("--valid-to", metavar="TIME", help="ISO 8601 with a zone, or seconds since 1970.")
@common_options
@pass_session
def import_material(
    session: Session, key: str, material: str, token: str, valid_to: str | None
) -> None:
    """Give KEY its material, wrapped."""
    until = None if valid_to is None else _time(valid_to)
    session.key(key).import_material(
        read_input(material, MAX_WRAPPED), read_input(token, MAX_WRAPPED), valid_to=until
    )
    session.say(f"{key} has its material")


@keys.command("delete-material")
@click.argument("key")
@common_options
@pass_session
def delete_material(session: Session, key: str) -> None:
    """Have the provider forget the imported material of KEY."""
    session.key(key).delete_material()
    session.say(f"the material of {key} is gone; the same can be imported again")


@keys.command("rewrap-root")
@click.option(
    "--to",
    "reference",
    required=True,
    metavar="REF",
    help="Where the new secret is: env:NAME, file:PATH or prompt:TEXT.",
)
@click.option("--passphrase", is_flag=True, help="It is a passphrase, not a root key.")
@common_options
@pass_session
def rewrap_root(session: Session, reference: str, passphrase: bool) -> None:
    """Protect a keystore with another root key or passphrase.

    Change the configuration afterwards: it still refers to the old one.
    """
    kind, _, target = reference.partition(":")
    if kind not in ("env", "file", "prompt") or not target:
        # It is not repeated: what stands there may be the secret itself.
        raise ConfigError(
            "--to must refer to a secret, not contain one",
            hint="Write it as env:NAME, file:PATH or prompt:TEXT",
        )
    secret = _new_secret(kind, target)
    kms = session.open()
    kms.rewrap_root(secret, passphrase=passphrase)
    session.say(f"the keystore of {kms.name} now opens with {secret.source}")


@keys.command()
@common_options
@pass_session
def reconcile(session: Session) -> int:
    """Compare the registry with the token that its keys are on; nothing is changed.

    The exit code is 4 when they do not agree.
    """
    result = session.open().reconcile()
    findings = [each._asdict() for each in result.findings]
    lines = [f"{each.what}\n    id {each.object_id}\n    {each.advice}" for each in result.findings]
    lines.append(
        f"versions of keys as registered: {result.agreed}; findings: {len(findings)}; "
        f"objects of others: {result.others}"
    )
    session.show(
        {"findings": findings, "agreed": result.agreed, "others": result.others}, "\n".join(lines)
    )
    return WRONG if findings else OK


def as_dict(info: KeyInfo) -> dict[str, Any]:
    """What is known of a key, for JSON; times are ISO 8601 in UTC."""
    times = {
        name: None if value is None else value.isoformat()
        for name, value in (
            ("created_at", info.created_at),
            ("deletion_at", info.deletion_at),
            ("valid_to", info.valid_to),
            ("rotated_at", info.rotated_at),
            ("next_rotation_at", info.next_rotation_at),
        )
    }
    return {
        "key_id": info.key_id,
        "alias": info.alias,
        "description": info.description,
        "spec": info.spec.value,
        "usage": info.usage.value,
        "state": info.state.value,
        "origin": info.origin.value,
        "version": info.version,
        **times,
        "rotation_days": info.rotation_days,
        "native": dict(info.native),
    }


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in columns, for people."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _new_secret(kind: str, target: str) -> Secret:
    """A secret that replaces another one: what is typed unseen is asked for twice."""
    from kmscore.plugin import Secret
    from kmscore.secret import secret_of

    def refer(text: str) -> Secret:
        return secret_of({kind: text}, where="--to", base=Path.cwd())

    first = refer(target)
    if kind != "prompt":
        return first
    again = refer(f"{target} (again)")

    def read() -> bytes:
        value = first.reveal()
        if value != again.reveal():
            raise ConfigError("--to: the two entries differ", hint="Nothing was changed")
        return value

    return Secret(first.source, read)


def _time(text: str) -> datetime:
    try:
        if text.isascii() and text.isdigit():
            return datetime.fromtimestamp(int(text), UTC)
        when = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError) as error:
        raise click.UsageError(f"--valid-to {text!r} is no time") from error
    if when.tzinfo is None:
        raise click.UsageError(f"--valid-to {text!r} has no time zone: append Z for UTC")
    return when
