"""Credentials: who may send requests, read from a file that only its owner may use.

TC3 needs the secret key itself, so it cannot be kept as a hash: the file refers to it, or has it
sealed under a key of a provider.
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, cast

from kmscore.config import check
from kmscore.errors import ConfigError, KmsError
from kmscore.plugin import Option, OptionKind, Secret
from kmscore.secret import secret_of
from kmscore_server.api import ApiError, Caller
from kmscore_server.permissions import Permissions, Rule

DEFAULT_UIN: Final = 100_000_000_001
DEFAULT_APP_ID: Final = 1_250_000_000

CREDENTIAL: Final = (
    Option("secret_key", "Reference to the secret key.", (OptionKind.SECRET,)),
    Option("sealed_secret_key", "The secret key, sealed under the key `seal`, in base64."),
    Option("permissions", "Names of permissions.", (OptionKind.STRINGS,), required=True),
    Option("uin", "Number of the account.", (OptionKind.INTEGER,), default=DEFAULT_UIN),
    Option("app_id", "The other number of it.", (OptionKind.INTEGER,), default=DEFAULT_APP_ID),
    Option("token", "Reference to the token of a temporary credential.", (OptionKind.SECRET,)),
    Option("expires", "When the credential ends, as in 2030-01-31T12:00:00Z."),
)
RULE: Final = (
    Option("actions", "Patterns of actions.", (OptionKind.STRINGS,), required=True),
    Option("keys", "Patterns of key ids and aliases.", (OptionKind.STRINGS,), default=("*",)),
)
FILE: Final = (
    Option("seal", "The key that sealed secret keys are opened with, as kms://provider/key."),
    Option("permissions", "A table for each permission.", (OptionKind.TABLE,), required=True),
    Option("credentials", "A table for each secret id.", (OptionKind.TABLE,), required=True),
)

_SECRET_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)

Unseal = Callable[[str, bytes, Mapping[str, str]], bytes]
"""Opens a sealed secret key: reference to the key, ciphertext, context."""


class Credential(Caller):
    """Who sends requests.

    Attributes:
        secret: The secret key.
        token: The token that a temporary credential comes with, or empty.
        expires: When it ends, in seconds since the epoch, or None.
    """

    __slots__ = ("_permissions", "app_id", "expires", "secret", "secret_id", "token", "uin")

    def __init__(
        self,
        secret_id: str,
        secret: bytes,
        permissions: Permissions,
        *,
        uin: int = DEFAULT_UIN,
        app_id: int = DEFAULT_APP_ID,
        token: bytes = b"",
        expires: float | None = None,
    ) -> None:
        self.secret_id = secret_id
        self.secret = secret
        self.uin = uin
        self.app_id = app_id
        self.token = token
        self.expires = expires
        self._permissions = permissions

    def require(self, action: str, key_id: str = "", alias: str = "") -> None:
        """Refuse what the permissions do not allow.

        Raises:
            ApiError: ``UnauthorizedOperation``.
        """
        if not self._permissions.allows(action, key_id, alias):
            raise ApiError(
                "UnauthorizedOperation", f"You are not authorized to perform {action} on this key."
            )

    def __repr__(self) -> str:
        return f"<Credential {self.secret_id}>"


def seal_context(secret_id: str) -> dict[str, str]:
    """What a sealed secret key is bound to."""
    return {"purpose": "kmscore server credential", "secret_id": secret_id}


def read_credentials(path: Path, unseal: Unseal) -> dict[str, Credential]:
    """Read a file of credentials.

    Args:
        path: The file, of mode 0600 or less.
        unseal: Opens sealed secret keys.

    Returns:
        Each credential by its secret id.

    Raises:
        ConfigError: The file cannot be used, others may use it, or something in it is wrong.
    """
    data = parse_file(path)
    values = check(data, FILE, where=str(path), base=path.parent)
    permissions = {
        name: _permissions(table, f"{path} [permissions.{name}]", path.parent)
        for name, table in cast("Mapping[str, Any]", values["permissions"]).items()
    }
    found = {
        secret_id: _credential(secret_id, table, path, permissions, values["seal"], unseal)
        for secret_id, table in cast("Mapping[str, Any]", values["credentials"]).items()
    }
    if not found:
        raise ConfigError(f"{path} has no credentials", hint="Nobody could use the server")
    return found


def parse_file(path: Path) -> dict[str, Any]:
    """The content of a file of credentials, before it is checked.

    Raises:
        ConfigError: It cannot be read, others may use it, or it is no TOML.
    """
    text = secret_of({"file": str(path.absolute())}, where="credentials", base=Path()).reveal()
    try:
        return tomllib.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        # What stands there may be a secret that somebody wrote into the file.
        raise ConfigError(f"{path} is no TOML in UTF-8") from error


Rules = tuple[tuple[Rule, ...], tuple[Rule, ...]]


def _permissions(table: Any, where: str, base: Path) -> Rules:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} is no table", hint="It has the lists allow and deny")
    lists = cast("Mapping[str, Any]", table)
    for name in lists:
        if name not in ("allow", "deny"):
            raise ConfigError(f"{where} has an unknown key {name!r}", hint="Known: allow, deny")
    return _rules(lists, "allow", where, base), _rules(lists, "deny", where, base)


def _rules(lists: Mapping[str, Any], name: str, where: str, base: Path) -> tuple[Rule, ...]:
    from kmscore_server.actions import ACTIONS

    place = f"{where} {name}"
    entries: Any = lists.get(name, [])
    if not isinstance(entries, list):
        raise ConfigError(f"{place} is no list", hint='For example: [{ actions = ["Encrypt"] }]')
    rules: list[Rule] = []
    for entry in cast("Sequence[Any]", entries):
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{place} has an entry that is no table")
        values = check(cast("Mapping[str, Any]", entry), RULE, where=place, base=base)
        for pattern in values["actions"]:
            if not any(fnmatchcase(action, pattern) for action in ACTIONS):
                raise ConfigError(
                    f"{place}: no action is met by {pattern!r}",
                    hint="Upper and lower case differ; * meets all",
                )
        rules.append(Rule(tuple(values["actions"]), tuple(values["keys"])))
    return tuple(rules)


def _credential(
    secret_id: str,
    table: Any,
    path: Path,
    permissions: Mapping[str, Rules],
    seal: str | None,
    unseal: Unseal,
) -> Credential:
    if not _SECRET_ID.fullmatch(secret_id):
        # A secret key that was put in the wrong place is not repeated.
        raise ConfigError(
            f"{path} has a secret id that cannot be one", hint="Use letters, digits, - and _"
        )
    where = f"{path} [credentials.{secret_id}]"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} is no table")
    values = check(cast("Mapping[str, Any]", table), CREDENTIAL, where=where, base=path.parent)
    allow: list[Rule] = []
    deny: list[Rule] = []
    for name in values["permissions"]:
        if name not in permissions:
            raise ConfigError(
                f"{where} names the permission {name!r}, which {path} does not have",
                hint=f"It has: {', '.join(sorted(permissions)) or 'none'}",
            )
        allow += permissions[name][0]
        deny += permissions[name][1]
    for name in ("uin", "app_id"):
        if not 0 < values[name] < 2**63:
            raise ConfigError(f"{where} {name} is {values[name]}", hint="It is a positive number")
    token: Secret | None = values["token"]
    return Credential(
        secret_id,
        _secret_key(values, secret_id, where, seal, unseal),
        Permissions(allow, deny),
        uin=values["uin"],
        app_id=values["app_id"],
        token=token.reveal() if token else b"",
        expires=_time(values["expires"], where),
    )


def _secret_key(
    values: dict[str, Any], secret_id: str, where: str, seal: str | None, unseal: Unseal
) -> bytes:
    reference: Secret | None = values["secret_key"]
    sealed: str | None = values["sealed_secret_key"]
    if (reference is None) == (sealed is None):
        raise ConfigError(f"{where} needs one of secret_key and sealed_secret_key")
    if reference is not None:
        return reference.reveal()
    if not seal:
        raise ConfigError(
            f"{where} is sealed, and the file does not say under which key",
            hint='Add at the top of the file: seal = "kms://provider/key"',
        )
    try:
        ciphertext = base64.b64decode(cast("str", sealed), validate=True)
    except binascii.Error as error:
        raise ConfigError(f"{where} sealed_secret_key is no base64") from error
    try:
        return unseal(seal, ciphertext, seal_context(secret_id))
    except KmsError as error:
        raise ConfigError(
            f"{where} cannot be unsealed with {seal}: {error.message}", hint=error.hint
        ) from error


def _time(text: str | None, where: str) -> float | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{where} expires is no time", hint="Write 2030-01-31T12:00:00Z"
        ) from error
    if time.tzinfo is None:
        raise ConfigError(f"{where} expires has no time zone", hint="End it with Z for UTC")
    return time.timestamp()
