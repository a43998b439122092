"""``KeyMetadata`` and ``DataKeyMetadata``: what the API tells of a key."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from kmscore.algorithms import Origin
from kmscore_server.keyring import Listed
from kmscore_server.tables import DataKeyRow
from kmscore_server.vocabulary import STATE_NAMES, Edition

YEAR: Final = 31_536_000
ORIGINS: Final = {Origin.GENERATED: "TENCENT_KMS", Origin.EXTERNAL: "EXTERNAL"}

# Copies in other regions and accounts of an organisation, which this server has not.
_NO_COPIES: Final[dict[str, Any]] = {
    "IsSyncReplica": 0,
    "SourceRegion": "",
    "SyncStatus": 0,
    "SyncMessages": "",
    "SyncStartTime": 0,
    "SyncEndTime": 0,
    "SourceHsmClusterId": "",
}


def seconds(time: datetime | None) -> int:
    """Unix time, or 0 for never."""
    return 0 if time is None else int(time.timestamp())


def _account(uin: int, app_id: int) -> dict[str, Any]:
    return {
        "CreatorUin": uin,
        "CreatorUinString": str(uin),
        "AccountUin": uin,
        "AccountAppId": app_id,
        "AccountName": "",
        "Owner": "user",
    }


def key_metadata(key: Listed, edition: Edition, app_id: int) -> dict[str, Any]:
    """``KeyMetadata``.

    Args:
        key: The key.
        edition: Of the server.
        app_id: The other number of the caller's account.
    """
    info, uin = key.info, key.row.uin
    created = seconds(info.created_at)
    return {
        "KeyId": key.row.key_id,
        "Alias": info.alias or "",
        "CreateTime": created,
        "Description": info.description,
        "KeyState": STATE_NAMES[info.state],
        "KeyUsage": key.usage,
        "Type": edition.number,
        "KeyRotationEnabled": info.rotation_days is not None,
        "RotateDays": info.rotation_days or 0,
        "LastRotateTime": seconds(info.rotated_at),
        # As the API's samples have it: a year after its making, for keys that never rotate too.
        "NextRotateTime": seconds(info.next_rotation_at) or created + YEAR,
        "DeletionDate": seconds(info.deletion_at),
        "Origin": ORIGINS[info.origin],
        "ValidTo": seconds(info.valid_to),
        "ResourceId": f"creatorUin/{uin}/{key.row.key_id}",
        "HsmClusterId": "",
        **_account(uin, app_id),
        **_NO_COPIES,
    }


def data_key_metadata(row: DataKeyRow, key_name: str, app_id: int) -> dict[str, Any]:
    """``DataKeyMetadata``.

    Args:
        row: The data key.
        key_name: The alias of the key that encrypts it.
        app_id: The other number of the caller's account.
    """
    return {
        "DataKeyId": row.data_key_id,
        "KeyId": row.key_id,
        "KeyName": key_name,
        "DataKeyName": row.name,
        "NumberOfBytes": row.size,
        "CreateTime": row.created_at,
        "Description": row.description,
        "KeyState": row.state,
        "DeletionDate": row.deletion_at,
        "Origin": row.origin,
        "HsmClusterId": "",
        "ResourceId": f"creatorUin/{row.uin}/{row.data_key_id}",
        **_account(row.uin, app_id),
        **_NO_COPIES,
    }
