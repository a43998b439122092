"""The life cycle of keys: making, describing, enabling, deleting, archiving, naming."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kmscore.algorithms import KeyState, KeyUsage, Origin
from kmscore.client import Key
from kmscore.errors import KeyStateError, KmsError, Timeout
from kmscore_server import errors
from kmscore_server.api import ApiError, Call
from kmscore_server.fields import (
    ALIAS,
    HSM_CLUSTER,
    KEY,
    KEYS,
    MEMBER_ACCOUNT,
    TAGS,
    Field,
    description,
    number,
    text,
)
from kmscore_server.keyring import Held, Listed
from kmscore_server.metadata import key_metadata, seconds
from kmscore_server.service import Context, table
from kmscore_server.vocabulary import KEY_USAGES, POST_QUANTUM_USAGES, STATE_NAMES, SYMMETRIC

EXTERNAL: Final = 2
"""``Type`` of a key whose material is imported; in ``KeyMetadata`` the same word is the edition."""

_SWITCHABLE: Final = (KeyState.ENABLED, KeyState.DISABLED)


def create_key(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Make a key."""
    alias: str = given["Alias"]
    call.caller.require(call.action, "", alias)
    usage: str = given["KeyUsage"] or SYMMETRIC
    if usage in POST_QUANTUM_USAGES:
        raise ApiError(errors.NO_SUCH_USAGE_HERE, f"there are no {usage} keys here")
    symmetric = (api.settings.edition.spec, KeyUsage.ENCRYPT_DECRYPT)
    kind = symmetric if usage == SYMMETRIC else KEY_USAGES.get(usage)
    if kind is None:
        raise ApiError(errors.INVALID_USAGE, "KeyUsage must be one that ListAlgorithms names")
    origin = Origin.EXTERNAL if given["Type"] == EXTERNAL else Origin.GENERATED
    if origin is Origin.EXTERNAL and usage != SYMMETRIC:
        raise ApiError(errors.INVALID_TYPE, "only ENCRYPT_DECRYPT keys can be EXTERNAL")
    uin = call.caller.uin
    _require_room(api, uin)
    api.state.claim(alias, uin, int(api.clock()))
    try:
        key = api.kms.create_key(
            kind[0], usage=kind[1], alias=alias, origin=origin, description=given["Description"]
        )
    except Timeout:
        # It may be made yet: then it belongs to who asked for it.
        raise
    except KmsError:
        api.state.give_up(alias, uin)
        raise
    api.keys.add(key, key.key_id, uin, alias, given["Tags"])
    info = key.describe()
    return {
        "KeyId": info.key_id,
        "Alias": alias,
        "CreateTime": seconds(info.created_at),
        "Description": info.description,
        "KeyState": STATE_NAMES[info.state],
        "KeyUsage": usage,
        "TagCode": 0,
        "TagMsg": "ok",
        "HsmClusterId": "",
    }


def _require_room(api: Context, uin: int) -> None:
    limit = api.settings.key_limit
    if limit is None:
        return
    listed = api.keys.listed(uin)
    if sum(key.info.state is not KeyState.PENDING_DELETION for key in listed) >= limit:
        raise ApiError(errors.KEY_LIMIT, f"the account has {limit} keys already")


def describe_key(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """What is known of a key."""
    return {"KeyMetadata": _metadata(api, call, api.keys.use(call, given["KeyId"]))}


def describe_keys(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """What is known of several keys."""
    held = api.keys.use_all(call, given["KeyIds"])
    return {"KeyMetadatas": [_metadata(api, call, key) for key in held]}


def _metadata(api: Context, call: Call, held: Held) -> dict[str, Any]:
    key = Listed(held.row, held.key.describe(), held.usage)
    return key_metadata(key, api.settings.edition, call.caller.app_id)


def enable_key(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Disabled to Enabled."""
    api.keys.use(call, given["KeyId"]).key.enable()
    return {}


def disable_key(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Enabled to Disabled, unless a cloud resource uses the key."""
    held = api.keys.use(call, given["KeyId"])
    require_unbound(api, held)
    held.key.disable()
    return {}


def enable_keys(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """All of them, or none."""
    return _switch(api.keys.use_all(call, given["KeyIds"]), KeyState.ENABLED)


def disable_keys(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """All of them, or none."""
    held = api.keys.use_all(call, given["KeyIds"])
    for key in held:
        require_unbound(api, key)
    return _switch(held, KeyState.DISABLED)


_SWITCH: Final[dict[KeyState, Callable[[Key], None]]] = {
    KeyState.ENABLED: Key.enable,
    KeyState.DISABLED: Key.disable,
}


def _switch(held: list[Held], goal: KeyState) -> dict[str, Any]:
    others: list[Key] = []
    for one in held:
        state = one.key.describe().state
        if state not in _SWITCHABLE:
            raise KeyStateError(f"key {one.row.key_id} is {STATE_NAMES[state]}", state=state)
        if state is not goal:
            others.append(one.key)
    done: list[Key] = []
    try:
        for key in others:
            _SWITCH[goal](key)
            done.append(key)
    except KmsError:
        back = KeyState.DISABLED if goal is KeyState.ENABLED else KeyState.ENABLED
        for key in done:
            _SWITCH[back](key)
        raise
    return {}


def require_unbound(api: Context, held: Held) -> None:
    """Refuse to take a key away from a resource that uses it.

    Raises:
        ApiError: One does.
    """
    if api.state.is_bound(held.row.key_id):
        raise ApiError(errors.IN_USE, f"a cloud resource uses key {held.row.key_id}")


def update_alias(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Give a key another name."""
    held = api.keys.use(call, given["KeyId"])
    # Permissions go by aliases: nobody gives a key a name that they may not give.
    call.caller.require(call.action, held.row.key_id, given["Alias"])
    held.key.set_alias(given["Alias"])
    api.state.touch()
    return {}


def update_description(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Replace the free text."""
    api.keys.use(call, given["KeyId"]).key.set_description(given["Description"])
    return {}


def schedule_key_deletion(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Have a disabled key destroyed after 7 to 30 days."""
    held = api.keys.use(call, given["KeyId"])
    require_unbound(api, held)
    at = held.key.schedule_deletion(given["PendingWindowInDays"])
    return {"DeletionDate": seconds(at), "KeyId": held.row.key_id}


def cancel_key_deletion(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Keep a key that is pending deletion; it is disabled."""
    held = api.keys.use(call, given["KeyId"])
    held.key.cancel_deletion()
    return {"KeyId": held.row.key_id}


def archive_key(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Keep a key for decryption alone."""
    held = api.keys.use(call, given["KeyId"])
    require_unbound(api, held)
    held.key.archive()
    return {}


def cancel_key_archive(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Archived to Enabled."""
    api.keys.use(call, given["KeyId"]).key.restore()
    return {}


_DESCRIPTION: Final = description(1024)
_ONE: Final = (KEY, MEMBER_ACCOUNT)
_MANY: Final = (KEYS, MEMBER_ACCOUNT)
WINDOW: Final = Field("PendingWindowInDays", number(7, 30, code=errors.WRONG_WINDOW), required=True)

ACTIONS: Final = table(
    (
        "CreateKey",
        [
            Field("Alias", ALIAS, required=True),
            Field("Description", _DESCRIPTION, default=""),
            Field("KeyUsage", text(high=64), default=""),
            Field("Type", number(1, 2, code=errors.INVALID_TYPE), default=1),
            TAGS,
            HSM_CLUSTER,
        ],
        create_key,
    ),
    ("DescribeKey", _ONE, describe_key),
    ("DescribeKeys", _MANY, describe_keys),
    ("EnableKey", _ONE, enable_key),
    ("DisableKey", _ONE, disable_key),
    ("EnableKeys", _MANY, enable_keys),
    ("DisableKeys", _MANY, disable_keys),
    ("UpdateAlias", [*_ONE, Field("Alias", ALIAS, required=True)], update_alias),
    (
        "UpdateKeyDescription",
        [*_ONE, Field("Description", _DESCRIPTION, required=True)],
        update_description,
    ),
    ("ScheduleKeyDeletion", [*_ONE, WINDOW], schedule_key_deletion),
    ("CancelKeyDeletion", _ONE, cancel_key_deletion),
    ("ArchiveKey", _ONE, archive_key),
    ("CancelKeyArchive", _ONE, cancel_key_archive),
)
