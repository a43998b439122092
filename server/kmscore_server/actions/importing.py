"""Bring your own key: wrapping keys, wrapped material, and forgetting it again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from kmscore.algorithms import Origin
from kmscore_server import errors
from kmscore_server.actions.keys import require_unbound
from kmscore_server.actions.symmetric import encoded
from kmscore_server.api import ApiError, Call
from kmscore_server.fields import KEY, Field, base64_data, choice, number
from kmscore_server.keyring import Held
from kmscore_server.metadata import seconds
from kmscore_server.service import Context, table
from kmscore_server.vocabulary import RSA_ENCRYPTION

MAX_VALID_TO: Final = 2147443200
"""The last expiry that the API takes, in Unix time."""


def _external(api: Context, call: Call, given: dict[str, Any]) -> Held:
    held = api.keys.use(call, given["KeyId"])
    if held.key.origin is not Origin.EXTERNAL:
        raise ApiError(errors.NOT_EXTERNAL, "the key's material was generated, not imported")
    return held


def get_parameters(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """A wrapping key and a token, good for 24 hours; older ones of the key are no longer."""
    held = _external(api, call, given)
    parameters = held.key.import_parameters(given["WrappingAlgorithm"])
    return {
        "KeyId": held.row.key_id,
        "ImportToken": encoded(parameters.token),
        "PublicKey": encoded(parameters.public_key),
        "ParametersValidTo": seconds(parameters.valid_to),
    }


def import_material(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Give a key its material."""
    held = _external(api, call, given)
    until: int = given["ValidTo"]
    if until and until <= api.clock():
        raise ApiError(errors.INVALID_PARAMETER, "ValidTo must be in the future, or 0")
    held.key.import_material(
        given["EncryptedKeyMaterial"],
        given["ImportToken"],
        valid_to=datetime.fromtimestamp(until, UTC) if until else None,
    )
    return {}


def delete_material(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Forget a key's material; the key waits for the same again."""
    held = _external(api, call, given)
    require_unbound(api, held)
    held.key.delete_material()
    return {}


ACTIONS: Final = table(
    (
        "GetParametersForImport",
        [
            KEY,
            Field("WrappingAlgorithm", choice(RSA_ENCRYPTION), required=True),
            Field("WrappingKeySpec", choice(("RSA_2048",)), required=True),
        ],
        get_parameters,
    ),
    (
        "ImportKeyMaterial",
        [
            KEY,
            Field("EncryptedKeyMaterial", base64_data(1, 1024), required=True),
            Field("ImportToken", base64_data(1, 8192), required=True),
            Field("ValidTo", number(0, MAX_VALID_TO), default=0),
        ],
        import_material,
    ),
    ("DeleteImportedKeyMaterial", [KEY], delete_material),
)
