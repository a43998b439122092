"""Data keys: made or brought, and kept by the server if so wished, encrypted under their key."""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from kmscore.context import EMPTY, EncryptionContext
from kmscore.errors import CiphertextInvalid
from kmscore_server import blob, errors
from kmscore_server.actions.symmetric import CONTEXT, encoded
from kmscore_server.api import ApiError, Call
from kmscore_server.fields import (
    DATA_KEY_NAME,
    HSM_CLUSTER,
    KEY,
    KEY_ID,
    TAGS,
    Field,
    Refused,
    base64_data,
    choice,
    description,
    number,
    text,
)
from kmscore_server.recipient import RECIPIENT, recipient_of
from kmscore_server.service import Context, table
from kmscore_server.tables import DataKeyRow

MAX_DATA_KEY: Final = 1024
SPECS: Final = {"AES_128": 16, "AES_256": 32}
FROM_CIPHERTEXT: Final = 1
"""``ImportType`` of a data key that ``GenerateDataKey`` encrypted; 2 is one in clear."""

ENABLED: Final = "Enabled"


def generate_data_key(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """A fresh data key, in clear and encrypted."""
    # The length counts where both are given.
    length: int = given["NumberOfBytes"] or SPECS.get(given["KeySpec"], 0)
    if not length:
        raise ApiError("MissingParameter", "KeySpec or NumberOfBytes is missing")
    hosted = bool(given["IsHostedByKms"])
    if hosted and not given["DataKeyName"]:
        raise ApiError("MissingParameter", "DataKeyName is missing")
    recipient = recipient_of(given)
    held = api.keys.use(call, given["KeyId"])
    context: EncryptionContext = given["EncryptionContext"]
    answer: dict[str, Any] = {"KeyId": held.row.key_id}
    if hosted:
        _require_room(api, call.caller.uin)
    with held.key.generate_data_key(length=length, context=context) as data_key:
        sealed = blob.seal(held.head, data_key.ciphertext)
        plaintext = data_key.plaintext
        told = recipient.encrypt(bytes(plaintext)) if recipient else plaintext
        answer["Plaintext"] = encoded(told)
    answer["CiphertextBlob"] = sealed
    if hosted:
        row = _row(api, call, given, held.row.key_id, length, "TENCENT_KMS", sealed, context)
        answer |= _keep(api, row, given)
    return answer


def import_data_key(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Keep a data key that the caller brings, in clear or as ``GenerateDataKey`` encrypted it."""
    material: str = given["ImportKeyMaterial"]
    if given["ImportType"] == FROM_CIPHERTEXT:
        key_id, length, sealed = _from_ciphertext(api, call, material, given["KeyId"])
    else:
        if not given["KeyId"]:
            raise ApiError("MissingParameter", "KeyId is missing")
        key_id, length, sealed = _from_plaintext(api, call, material, given["KeyId"])
    _require_room(api, call.caller.uin)
    row = _row(api, call, given, key_id, length, "EXTERNAL", sealed, EMPTY)
    return {"KeyId": key_id, **_keep(api, row, given)}


def _from_ciphertext(api: Context, call: Call, material: str, key_id: str) -> tuple[str, int, str]:
    try:
        held, ciphertext = api.keys.use_for_blob(call, material)
        plaintext = held.key.decrypt(ciphertext)
    except CiphertextInvalid as error:
        raise ApiError(errors.INVALID_MATERIAL, "ImportKeyMaterial cannot be decrypted") from error
    if key_id not in ("", held.row.key_id):
        raise ApiError(errors.INVALID_KEY_ID, "KeyId is not the key of ImportKeyMaterial")
    if len(plaintext) > MAX_DATA_KEY:
        raise ApiError(errors.INVALID_MATERIAL, f"a data key has at most {MAX_DATA_KEY} bytes")
    return held.row.key_id, len(plaintext), material


_plaintext: Final = base64_data(1, MAX_DATA_KEY)


def _from_plaintext(api: Context, call: Call, material: str, key_id: str) -> tuple[str, int, str]:
    try:
        plaintext: bytes = _plaintext(material)
    except Refused as refusal:
        raise ApiError(errors.INVALID_MATERIAL, f"ImportKeyMaterial {refusal.reason}") from None
    held = api.keys.use(call, key_id)
    return key_id, len(plaintext), blob.seal(held.head, held.key.encrypt(plaintext))


def _require_room(api: Context, uin: int) -> None:
    limit = api.settings.data_key_limit
    if limit is not None and len(api.state.data_keys(uin, int(api.clock()))) >= limit:
        raise ApiError(errors.DATA_KEY_LIMIT, f"the account has {limit} data keys already")


def _row(
    api: Context,
    call: Call,
    given: dict[str, Any],
    key_id: str,
    length: int,
    origin: str,
    sealed: str,
    context: EncryptionContext,
) -> DataKeyRow:
    return DataKeyRow(
        data_key_id=str(uuid4()),
        key_id=key_id,
        uin=call.caller.uin,
        name=given["DataKeyName"],
        description=given["Description"],
        size=length,
        created_at=int(api.clock()),
        state=ENABLED,
        deletion_at=0,
        origin=origin,
        blob=sealed,
        context=context.json,
    )


def _keep(api: Context, row: DataKeyRow, given: dict[str, Any]) -> dict[str, Any]:
    api.state.add_data_key(row, given["Tags"])
    return {"DataKeyId": row.data_key_id, "TagCode": 0, "TagMsg": "ok"}


def _optional_key(value: Any) -> str:
    return "" if value == "" else str(KEY_ID(value))


def _optional_name(value: Any) -> str:
    return "" if value == "" else str(DATA_KEY_NAME(value))


DESCRIPTION: Final = description(100)
_TEXT: Final = Field("Description", DESCRIPTION, default="")

ACTIONS: Final = table(
    (
        "GenerateDataKey",
        [
            KEY,
            Field("KeySpec", choice(("", *SPECS)), default=""),
            Field("NumberOfBytes", number(1, MAX_DATA_KEY), default=0),
            CONTEXT,
            *RECIPIENT,
            Field("IsHostedByKms", number(0, 1), default=0),
            Field("DataKeyName", _optional_name, default=""),
            _TEXT,
            HSM_CLUSTER,
            TAGS,
        ],
        generate_data_key,
    ),
    (
        "ImportDataKey",
        [
            Field("DataKeyName", DATA_KEY_NAME, required=True),
            Field(
                "ImportKeyMaterial",
                text(low=1, high=65536, code=errors.INVALID_MATERIAL),
                required=True,
            ),
            Field("ImportType", number(1, 2, code=errors.INVALID_TYPE), required=True),
            _TEXT,
            Field("KeyId", _optional_key, default=""),
            HSM_CLUSTER,
            TAGS,
        ],
        import_data_key,
    ),
)
