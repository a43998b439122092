"""Hosted data keys: lists, what is known of them, their life cycle, and what is in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from kmscore.context import EncryptionContext
from kmscore_server import errors
from kmscore_server.actions.data_keys import DESCRIPTION
from kmscore_server.actions.keys import WINDOW
from kmscore_server.actions.listing import (
    CLOUD_PRODUCTS,
    FILTERS,
    NEWEST_FIRST,
    matches_tags,
    page,
)
from kmscore_server.actions.symmetric import encoded
from kmscore_server.api import ApiError, Call
from kmscore_server.fields import (
    DATA_KEY,
    DATA_KEY_NAME,
    DATA_KEYS,
    KEY_ID,
    MEMBER_ACCOUNT,
    PAGING,
    Field,
    number,
)
from kmscore_server.metadata import data_key_metadata
from kmscore_server.recipient import RECIPIENT, recipient_of
from kmscore_server.service import DAY, Context, table
from kmscore_server.tables import DataKeyRow

ENABLED: Final = "Enabled"
DISABLED: Final = "Disabled"
PENDING: Final = "PendingDelete"
_STATES: Final = {0: None, 1: ENABLED, 2: DISABLED, 3: PENDING}

_TRIES: Final = 5


# --- Finding ---------------------------------------------------------------------------------


def _find(api: Context, call: Call, ids: list[str]) -> list[DataKeyRow]:
    """Data keys of the caller's account, in the order that they are named in."""
    rows = api.state.data_keys(call.caller.uin, int(api.clock()), ids)
    known = {row.data_key_id: row for row in rows}
    for data_key_id in ids:
        row = known.get(data_key_id)
        if row is None:
            call.caller.require(call.action)
            raise ApiError(errors.DATA_KEY_NOT_FOUND, f"there is no data key {data_key_id}")
        api.keys.permit(call, row.key_id)
    return [known[data_key_id] for data_key_id in ids]


def _one(api: Context, call: Call, given: dict[str, Any]) -> DataKeyRow:
    return _find(api, call, [given["DataKeyId"]])[0]


def _metadata(api: Context, call: Call, rows: list[DataKeyRow]) -> list[dict[str, Any]]:
    uin, app_id = call.caller.uin, call.caller.app_id
    names = {key.row.key_id: key.info.alias for key in api.keys.listed(uin)} if rows else {}
    return [data_key_metadata(row, names.get(row.key_id) or "", app_id) for row in rows]


def describe(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """What is known of a data key."""
    return {"DataKeyMetadata": _metadata(api, call, [_one(api, call, given)])[0]}


def describe_all(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """What is known of several data keys."""
    return {"DataKeyMetadatas": _metadata(api, call, _find(api, call, given["DataKeyIds"]))}


def _of_caller(api: Context, call: Call, given: dict[str, Any]) -> list[DataKeyRow]:
    call.caller.require(call.action)
    if given["Role"] == CLOUD_PRODUCTS:
        return []
    return api.state.data_keys(call.caller.uin, int(api.clock()))


def list_ids(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Ids of data keys, the oldest first."""
    found = _of_caller(api, call, given)
    return {
        "DataKeys": [{"DataKeyId": row.data_key_id} for row in page(given, found)],
        "TotalCount": len(found),
    }


def list_detail(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """What is known of the data keys that all filters let through."""
    state = _STATES[given["KeyState"]]
    origin: str = given["Origin"]
    search: str = given["SearchKeyAlias"].casefold()
    tags = api.state.tags() if given["TagFilters"] else {}

    def passes(row: DataKeyRow) -> bool:
        return (
            state in (None, row.state)
            and origin in ("", "ALL", row.origin)
            and given["KeyId"] in ("", row.key_id)
            and given["DataKeyLen"] in (0, row.size)
            and (search in row.data_key_id or search in row.name.casefold())
            and matches_tags(tags.get(row.data_key_id, {}), given["TagFilters"])
        )

    found = [row for row in _of_caller(api, call, given) if passes(row)]
    if given["OrderType"] == NEWEST_FIRST:
        found.reverse()
    return {
        "DataKeyMetadatas": _metadata(api, call, page(given, found)),
        "TotalCount": len(found),
    }


# --- What is in them -------------------------------------------------------------------------


def plaintext(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """The data key in clear, or for a recipient alone."""
    recipient = recipient_of(given)
    row = _one(api, call, given)
    if row.state == DISABLED:
        raise ApiError("ResourceUnavailable.DataKeyDisabled", "the data key is disabled")
    if row.state == PENDING:
        raise ApiError("ResourceUnavailable.DataKeyPendingDelete", "the data key will be deleted")
    held, ciphertext = api.keys.use_for_blob(call, row.blob)
    found = held.key.decrypt(ciphertext, context=EncryptionContext.from_json(row.context))
    return {"Plaintext": encoded(recipient.encrypt(found) if recipient else found)}


def ciphertext_blob(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """The data key as it is kept."""
    row = _one(api, call, given)
    if row.state != ENABLED:
        raise _wrong_state(row)
    return {"CiphertextBlob": row.blob}


# --- Life cycle ------------------------------------------------------------------------------


def _wrong_state(row: DataKeyRow) -> ApiError:
    return ApiError(errors.DATA_KEY_STATE, f"data key {row.data_key_id} is {row.state}")


def _change(
    api: Context, call: Call, ids: list[str], change: Callable[[DataKeyRow], DataKeyRow]
) -> list[DataKeyRow]:
    """Change all of them, or none; others may be changing them at the same moment."""
    for _ in range(_TRIES):
        pairs = [(row, change(row)) for row in _find(api, call, ids)]
        if api.state.update_data_keys(pairs):
            return [new for _, new in pairs]
    raise ApiError("ServiceUnavailable", "the data key is being changed by others")


def _enabled(row: DataKeyRow) -> DataKeyRow:
    if row.state == PENDING:
        raise _wrong_state(row)
    return row._replace(state=ENABLED)


def _disabled(row: DataKeyRow) -> DataKeyRow:
    if row.state == PENDING:
        raise _wrong_state(row)
    return row._replace(state=DISABLED)


def _kept(row: DataKeyRow) -> DataKeyRow:
    if row.state != PENDING:
        raise ApiError(
            "ResourceUnavailable.DataKeyNotPendingDelete", f"the data key is {row.state}"
        )
    return row._replace(state=DISABLED, deletion_at=0)


def enable(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Disabled to Enabled."""
    _change(api, call, [given["DataKeyId"]], _enabled)
    return {}


def disable(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Enabled to Disabled."""
    _change(api, call, [given["DataKeyId"]], _disabled)
    return {}


def enable_all(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """All of them, or none."""
    _change(api, call, given["DataKeyIds"], _enabled)
    return {}


def disable_all(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """All of them, or none."""
    _change(api, call, given["DataKeyIds"], _disabled)
    return {}


def schedule_deletion(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Have a disabled data key destroyed after 7 to 30 days."""
    at = int(api.clock()) + given["PendingWindowInDays"] * DAY

    def scheduled(row: DataKeyRow) -> DataKeyRow:
        if row.state != DISABLED:
            raise _wrong_state(row)
        return row._replace(state=PENDING, deletion_at=at)

    (row,) = _change(api, call, [given["DataKeyId"]], scheduled)
    return {"DeletionDate": at, "DataKeyId": row.data_key_id}


def cancel_deletion(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Keep a data key that is pending deletion; it is disabled."""
    (row,) = _change(api, call, [given["DataKeyId"]], _kept)
    return {"DataKeyId": row.data_key_id}


def rename(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Give a data key another name."""
    name: str = given["DataKeyName"]
    _change(api, call, [given["DataKeyId"]], lambda row: row._replace(name=name))
    return {}


def describe_anew(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Replace the free text."""
    text: str = given["Description"]
    _change(api, call, [given["DataKeyId"]], lambda row: row._replace(description=text))
    return {}


def _any_key(value: Any) -> str:
    return "" if value == "" else str(KEY_ID(value))


_ONE: Final = (DATA_KEY, MEMBER_ACCOUNT)
_MANY: Final = (DATA_KEYS, MEMBER_ACCOUNT)

ACTIONS: Final = table(
    ("DescribeDataKey", _ONE, describe),
    ("DescribeDataKeys", _MANY, describe_all),
    ("ListDataKeys", PAGING, list_ids),
    (
        "ListDataKeyDetail",
        [
            *FILTERS,
            Field("KeyState", number(0, 3), default=0),
            Field("KeyId", _any_key, default=""),
            Field("DataKeyLen", number(0, 1024), default=0),
        ],
        list_detail,
    ),
    ("GetDataKeyPlaintext", [DATA_KEY, *RECIPIENT], plaintext),
    ("GetDataKeyCiphertextBlob", _ONE, ciphertext_blob),
    ("EnableDataKey", _ONE, enable),
    ("DisableDataKey", _ONE, disable),
    ("EnableDataKeys", _MANY, enable_all),
    ("DisableDataKeys", _MANY, disable_all),
    ("ScheduleDataKeyDeletion", [*_ONE, WINDOW], schedule_deletion),
    ("CancelDataKeyDeletion", _ONE, cancel_deletion),
    (
        "UpdateDataKeyName",
        [*_ONE, Field("DataKeyName", DATA_KEY_NAME, required=True)],
        rename,
    ),
    (
        "UpdateDataKeyDescription",
        [*_ONE, Field("Description", DESCRIPTION, required=True)],
        describe_anew,
    ),
)
