"""Rotation of keys: now, and by itself."""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from kmscore.algorithms import KeyUsage, Origin
from kmscore.errors import KmsError, Timeout, Unsupported
from kmscore_server import errors
from kmscore_server.api import ApiError, Call
from kmscore_server.fields import KEY, MEMBER_ACCOUNT, Field, number
from kmscore_server.keyring import Held
from kmscore_server.service import Context, table


def _rotates(held: Held) -> bool:
    key = held.key
    return key.usage is KeyUsage.ENCRYPT_DECRYPT and key.origin is Origin.GENERATED


def enable_rotation(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Rotate every 7 to 365 days."""
    api.keys.use(call, given["KeyId"]).key.set_rotation(given["RotateDays"])
    return {}


def disable_rotation(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Rotate no more."""
    held = api.keys.use(call, given["KeyId"])
    if held.key.describe().rotation_days is not None:
        held.key.set_rotation(None)
    return {}


def rotation_status(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Whether the key rotates by itself."""
    info = api.keys.use(call, given["KeyId"]).key.describe()
    return {"KeyRotationEnabled": info.rotation_days is not None}


def rotate_key(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Make a new version now; it is there when the answer is."""
    held = api.keys.use(call, given["KeyId"])
    if not _rotates(held):
        raise Unsupported("asymmetric and external keys do not rotate")
    interval = api.settings.rotation_interval
    before = api.state.start_rotation(held.row, int(api.clock()), interval)
    if before is None:
        raise ApiError(
            errors.ROTATED_RECENTLY, f"the key was rotated within the last {interval} seconds"
        )
    try:
        held.key.rotate()
    except Timeout:
        # It may have been rotated.
        raise
    except KmsError:
        api.state.undo_rotation(held.row.key_id, before)
        raise
    return {"TaskId": str(uuid4())}


_ONE: Final = (KEY, MEMBER_ACCOUNT)

ACTIONS: Final = table(
    (
        "EnableKeyRotation",
        [*_ONE, Field("RotateDays", number(7, 365), default=365)],
        enable_rotation,
    ),
    ("DisableKeyRotation", _ONE, disable_rotation),
    ("GetKeyRotationStatus", _ONE, rotation_status),
    ("RotateKey", _ONE, rotate_key),
)
