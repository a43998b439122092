"""Keys that shall be there when the server starts, with ids that stay: a file for tests and CI.

::

    [[keys]]
    id = "11111111-2222-4333-8444-555555555555"
    alias = "orders"
    usage = "ENCRYPT_DECRYPT"             # KeyUsage; that is the default
    description = "Encrypts orders"
    tags = { team = "shop" }

    [[keys]]
    id = "11111111-2222-4333-8444-666666666666"
    alias = "brought"
    material = { file = "material.bin" }  # makes it EXTERNAL: raw bytes, or hex

Planting the same seed twice changes nothing. The key store makes the keys, with ids of its own; the
server keeps which of them an id of the seed stands for.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from kmscore import PublicKey
from kmscore.algorithms import KeySpec, KeyState, KeyUsage, Origin, WrappingAlgorithm
from kmscore.client import Key, Kms
from kmscore.errors import AlreadyExists, ConfigError, KeyNotFound
from kmscore.plugin import Secret
from kmscore.secret import secret_of
from kmscore_server.api import ApiError
from kmscore_server.fields import (
    ALIAS,
    KEY_ID,
    Field,
    Parameters,
    Refused,
    description,
    entries,
    text,
)
from kmscore_server.service import KmsApi
from kmscore_server.tables import KeyRow
from kmscore_server.vocabulary import KEY_USAGES, SYMMETRIC, Edition

MAX_KEYS: Final = 10_000

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def _as_it_is(value: Any) -> Any:
    return value


def _tags(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Refused("must be a table of strings")
    table = cast("dict[str, Any]", value)
    if not all(isinstance(text, str) for text in table.values()):
        raise Refused("must be a table of strings")
    return table


_ENTRY: Final = Parameters(
    [
        Field("id", KEY_ID, required=True),
        Field("alias", ALIAS, required=True),
        Field("usage", text(high=64), default=SYMMETRIC),
        Field("description", description(1024), default=""),
        Field("tags", _tags, default={}),
        Field("material", _as_it_is),
    ]
)


class SeedKey(NamedTuple):
    """One key of a seed.

    Attributes:
        key_id: Its id in the API.
        alias: Its alias.
        spec: What it is made of.
        usage: What it is for.
        description: Free text.
        tags: Its tags.
        material: The raw material of an EXTERNAL key, or None.
    """

    key_id: str
    alias: str
    spec: KeySpec
    usage: KeyUsage
    description: str
    tags: dict[str, str]
    material: Secret | None


def read(path: Path, edition: Edition) -> list[SeedKey]:
    """The keys of a seed file.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"seed {path} cannot be read: {error.strerror}", hint="Check the path"
        ) from error
    except ValueError as error:
        raise ConfigError(f"seed {path} is no TOML: {error}") from error
    try:
        tables = entries(content.pop("keys", []), MAX_KEYS)
    except Refused as refusal:
        raise ConfigError(f"seed {path}: keys {refusal.reason}") from refusal
    if content:
        raise ConfigError(f"seed {path} may hold [[keys]] alone")
    found = [
        _entry(table, f"seed {path}, key {number}", path.parent, edition)
        for number, table in enumerate(tables, 1)
    ]
    for what, values in (
        ("id", [key.key_id for key in found]),
        ("alias", [key.alias for key in found]),
    ):
        if len(set(values)) != len(values):
            raise ConfigError(f"seed {path} has two keys with the same {what}")
    return found


def _entry(entry: Any, where: str, base: Path, edition: Edition) -> SeedKey:
    try:
        given = _ENTRY.read(entry)
    except ApiError as error:
        raise ConfigError(f"{where}: {error.message}") from error
    except AttributeError as error:
        raise ConfigError(f"{where} is no table") from error
    if not _UUID.fullmatch(given["id"]):
        raise ConfigError(f"{where}: the id is no UUID", hint="Write it in lower case")
    usage: str = given["usage"]
    symmetric = (edition.spec, KeyUsage.ENCRYPT_DECRYPT)
    kind = symmetric if usage == SYMMETRIC else KEY_USAGES.get(usage)
    if kind is None:
        names = ", ".join((SYMMETRIC, *KEY_USAGES))
        raise ConfigError(f"{where}: there is no such usage", hint=f"Use one of: {names}")
    material = None
    if given["material"] is not None:
        if usage != SYMMETRIC:
            raise ConfigError(f"{where}: only {SYMMETRIC} keys take material")
        material = secret_of(given["material"], where=f"{where}: material", base=base)
    return SeedKey(
        given["id"],
        given["alias"],
        *kind,
        given["description"],
        given["tags"],
        material,
    )


def plant(api: KmsApi, keys: list[SeedKey]) -> None:
    """Make the keys of a seed that are not there yet.

    Raises:
        ConfigError: A key of that id or alias is there, and of another kind.
        KmsError: The key store refuses one.
    """
    for key in keys:
        _plant(api, key)


def _plant(api: KmsApi, seed: SeedKey) -> None:
    context = api.context
    key = _planted(context.kms, context.state.key(seed.key_id)) or _adopted(api, seed)
    if key is None:
        key = context.kms.create_key(
            seed.spec,
            usage=seed.usage,
            alias=seed.alias,
            origin=Origin.GENERATED if seed.material is None else Origin.EXTERNAL,
            description=seed.description,
        )
    origin = Origin.GENERATED if seed.material is None else Origin.EXTERNAL
    if (key.spec, key.usage, key.origin) != (seed.spec, seed.usage, origin):
        raise ConfigError(
            f"key {seed.key_id} of the seed is there as a {key.origin} {key.spec} key for "
            f"{key.usage}",
            hint="Change the seed, or begin with an empty key store",
        )
    owner = context.settings.owner
    kept = context.state.key(seed.key_id)
    if kept is None or (kept.provider_id, kept.uin) != (key.key_id, owner):
        context.state.add_key(KeyRow(seed.key_id, key.key_id, owner), seed.alias, seed.tags)
    if seed.material is not None and key.describe().state is KeyState.PENDING_IMPORT:
        _import(key, seed.material)


def _planted(kms: Kms, row: KeyRow | None) -> Key | None:
    if row is None:
        return None
    try:
        return kms.key(row.provider_id)
    except KeyNotFound:
        return None  # the key store was emptied


def _adopted(api: KmsApi, seed: SeedKey) -> Key | None:
    """The key of that alias: perhaps the seed was planted, and the state lost."""
    try:
        key = api.context.kms.key(seed.alias)
    except KeyNotFound:
        return None
    other = api.context.state.key_of_provider(key.key_id)
    if other is not None and other.key_id != seed.key_id:
        raise AlreadyExists(
            f"alias {seed.alias!r} of the seed is that of key {other.key_id}",
            hint="Choose another alias, or begin with an empty key store",
        )
    return key


def _import(key: Key, material: Secret) -> None:
    wanted = 16 if key.spec in (KeySpec.SM4, KeySpec.AES_128) else 32
    raw = _raw(material.reveal(), wanted, material.source)
    parameters = key.import_parameters(WrappingAlgorithm.RSAES_OAEP_SHA_256)
    wrapped = PublicKey(parameters.public_key).encrypt(raw, "RSAES_OAEP_SHA_256")
    key.import_material(wrapped, parameters.token)


def _raw(data: bytes, wanted: int, source: str) -> bytes:
    if len(data) == wanted:
        return data
    try:
        decoded = bytes.fromhex(data.decode("ascii"))
    except ValueError:
        decoded = b""
    if len(decoded) != wanted:
        raise ConfigError(f"material from {source} has not {wanted} bytes, raw or in hex")
    return decoded
