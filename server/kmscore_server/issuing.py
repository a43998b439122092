"""New credentials: random ids and secrets, added to a file of credentials."""

from __future__ import annotations

import base64
import json
import os
import secrets
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kmscore.errors import ConfigError
from kmscore_server.credentials import parse_file, seal_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LETTERS: Final = string.ascii_letters + string.digits
_FIRST: Final = """\
# Who may send requests to the server. Only its owner may read this file.

[permissions.all]
allow = [{ actions = ["*"], keys = ["*"] }]
"""


class Issued(NamedTuple):
    """A new credential.

    Attributes:
        secret_id: Its secret id.
        secret_file: Where its secret key is, for the client.
        token_file: Where its token is, for the client, or None.
        expires: When it ends, or None.
    """

    secret_id: str
    secret_file: Path
    token_file: Path | None
    expires: datetime | None


def issue(
    path: Path,
    permissions: tuple[str, ...],
    *,
    uin: int | None = None,
    lifetime: timedelta | None = None,
    seal_with: str | None = None,
    seal: Callable[[str, bytes, Mapping[str, str]], bytes],
) -> Issued:
    """Add a credential to a file, which is made when it is not there.

    Args:
        path: The file of credentials.
        permissions: Names of permissions that the file has.
        uin: The account, or None for the usual one.
        lifetime: For a temporary credential: how long it is good for.
        seal_with: A key, to seal the secret under; otherwise the file refers to the secret's file.
        seal: Encrypts: reference to the key, plaintext, context.

    Raises:
        ConfigError: The file cannot be used, or lacks a permission.
    """
    exists = path.exists()
    content: dict[str, Any] = {"permissions": {"all": {}}}
    if exists:
        content = parse_file(path)
        text = path.read_text(encoding="utf-8")
    else:
        text = _FIRST if seal_with is None else f"seal = {json.dumps(seal_with)}\n\n{_FIRST}"
    for name in permissions:
        if name not in content.get("permissions", {}):
            raise ConfigError(
                f"{path} has no permission {name!r}", hint="Write it into the file first"
            )
    if seal_with is not None and exists and content.get("seal") != seal_with:
        raise ConfigError(
            f"{path} is not sealed with {seal_with}",
            hint=f'Write at its top: seal = "{seal_with}"',
        )
    secret_id = "AKID" + _random(32)
    secret = _random(32).encode("ascii")
    secret_file = path.with_name(f"{secret_id}.secret")
    lines = [f"\n[credentials.{secret_id}]"]
    if seal_with is None:
        lines.append(f'secret_key = {{ file = "{secret_file.name}" }}')
    else:
        sealed = seal(seal_with, secret, seal_context(secret_id))
        lines.append(f'sealed_secret_key = "{base64.b64encode(sealed).decode()}"')
    lines.append(f"permissions = {json.dumps(permissions)}")
    if uin is not None:
        lines.append(f"uin = {uin}")
    token_file = expires = None
    if lifetime is not None:
        expires = datetime.now(UTC).replace(microsecond=0) + lifetime
        token_file = path.with_name(f"{secret_id}.token")
        lines.append(f'token = {{ file = "{token_file.name}" }}')
        lines.append(f'expires = "{expires:%Y-%m-%dT%H:%M:%SZ}"')
        _write_new(token_file, _random(64).encode("ascii"))
    _write_new(secret_file, secret)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    _write_new(draft, (text.rstrip("\n") + "\n" + "\n".join(lines) + "\n").encode("utf-8"))
    draft.replace(path)
    return Issued(secret_id, secret_file, token_file, expires)


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _write_new(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
