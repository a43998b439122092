"""Actions of the API that this server does not serve: it answers the error that is documented.

Post-quantum keys exist in no key store of kmscore. White-box ciphertexts are opened by a closed
library of the vendor's alone, so that a server could offer nothing of use.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from kmscore_server import errors
from kmscore_server.api import ApiError, Call
from kmscore_server.fields import (
    ALIAS,
    BLOB,
    KEY,
    KEYS,
    TAGS,
    Field,
    Parameters,
    base64_data,
    choice,
    description,
    entries,
    number,
    structure,
    tag_filters,
    text,
)
from kmscore_server.recipient import RECIPIENT
from kmscore_server.service import Action, Context, table


def post_quantum(_api: Context, call: Call, _given: dict[str, Any]) -> NoReturn:
    """There can be no such key."""
    call.caller.require(call.action)
    raise ApiError(errors.NO_SUCH_USAGE_HERE, "there are no post-quantum keys here")


def white_box(_api: Context, call: Call, _given: dict[str, Any]) -> NoReturn:
    """Nobody has bought it."""
    call.caller.require(call.action)
    raise ApiError(errors.NOT_PURCHASED, "white-box keys are not part of this service")


def white_box_status(_api: Context, call: Call, _given: dict[str, Any]) -> dict[str, Any]:
    """That there is none."""
    call.caller.require(call.action)
    return {"ServiceEnabled": False}


_PLAIN: Final = Field("PlainText", base64_data(1, 4096), required=True)
_MESSAGE: Final = Field("Message", base64_data(0, 4096), required=True)


_FINGERPRINT: Final = structure(
    Parameters(
        [
            Field("Identity", text(low=1, high=128), required=True),
            Field("Description", text(high=1024)),
        ]
    )
)


def _fingerprints(value: Any) -> list[dict[str, Any]]:
    return [_FINGERPRINT(item) for item in entries(value, 200)]


_POST_QUANTUM: Final = table(
    ("PostQuantumCryptoEncrypt", [KEY, _PLAIN], post_quantum),
    (
        "PostQuantumCryptoDecrypt",
        [Field("CiphertextBlob", BLOB, required=True), *RECIPIENT],
        post_quantum,
    ),
    ("PostQuantumCryptoSign", [KEY, _MESSAGE], post_quantum),
    (
        "PostQuantumCryptoVerify",
        [KEY, _MESSAGE, Field("SignatureValue", base64_data(0, 8192), required=True)],
        post_quantum,
    ),
)

_WHITE_BOX: Final = table(
    (
        "CreateWhiteBoxKey",
        [
            Field("Alias", ALIAS, required=True),
            Field("Algorithm", choice(("AES_256", "SM4")), required=True),
            Field("Description", description(1024)),
            TAGS,
        ],
        white_box,
    ),
    (
        "EncryptByWhiteBox",
        [KEY, _PLAIN, Field("InitializationVector", base64_data(16, 16))],
        white_box,
    ),
    (
        "DescribeWhiteBoxKeyDetails",
        [
            Field("KeyStatus", number(0, 1)),
            Field("Offset", number()),
            Field("Limit", number()),
            Field("TagFilters", tag_filters),
        ],
        white_box,
    ),
    *(
        (name, [KEY], white_box)
        for name in (
            "DeleteWhiteBoxKey",
            "DescribeWhiteBoxDecryptKey",
            "DescribeWhiteBoxDeviceFingerprints",
            "DescribeWhiteBoxKey",
            "DisableWhiteBoxKey",
            "EnableWhiteBoxKey",
        )
    ),
    ("DisableWhiteBoxKeys", [KEYS], white_box),
    ("EnableWhiteBoxKeys", [KEYS], white_box),
    (
        "OverwriteWhiteBoxDeviceFingerprints",
        [KEY, Field("DeviceFingerprints", _fingerprints)],
        white_box,
    ),
)

ACTIONS: Final[dict[str, Action]] = {
    **{
        name: action._replace(served=False) for name, action in (_POST_QUANTUM | _WHITE_BOX).items()
    },
    **table(("DescribeWhiteBoxServiceStatus", [], white_box_status)),
}
