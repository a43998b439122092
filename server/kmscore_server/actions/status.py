"""What the service has: algorithms, regions, and how it is doing."""

from __future__ import annotations

from typing import Any, Final

from kmscore.algorithms import KeyUsage
from kmscore_server.api import Call
from kmscore_server.service import Context, table
from kmscore_server.vocabulary import ALGORITHM_NAMES, KEY_USAGES, SYMMETRIC

UNLIMITED: Final = 2**31 - 1
IN_ORDER: Final = 1
"""``InvalidType`` of a service that is bought and paid."""


def list_algorithms(api: Context, call: Call, _given: dict[str, Any]) -> dict[str, Any]:
    """Usages of keys that the key store can make, each with the name of its algorithm."""
    call.caller.require(call.action)
    find = api.kms.capabilities.find
    spec = api.settings.edition.spec
    symmetric = [{"KeyUsage": SYMMETRIC, "Algorithm": spec.value}]
    pairs = [
        ({"KeyUsage": name, "Algorithm": ALGORITHM_NAMES[name]}, usage)
        for name, (pair_spec, usage) in KEY_USAGES.items()
        if find(pair_spec, usage)
    ]
    return {
        "SymmetricAlgorithms": symmetric if find(spec, KeyUsage.ENCRYPT_DECRYPT) else [],
        "AsymmetricAlgorithms": [
            row for row, usage in pairs if usage is KeyUsage.ASYMMETRIC_DECRYPT
        ],
        "AsymmetricSignVerifyAlgorithms": [
            row for row, usage in pairs if usage is KeyUsage.SIGN_VERIFY
        ],
    }


def service_status(api: Context, call: Call, _given: dict[str, Any]) -> dict[str, Any]:
    """Whether the service is there, and how much of it is used."""
    call.caller.require(call.action)
    uin = call.caller.uin
    limit, data_key_limit = api.settings.key_limit, api.settings.data_key_limit
    return {
        "ServiceEnabled": True,
        "InvalidType": IN_ORDER,
        "UserLevel": 0,
        "ProExpireTime": 0,
        "ProRenewFlag": 0,
        "ProResourceId": "",
        "ExclusiveVSMEnabled": False,
        "ExclusiveHSMEnabled": False,
        "SubscriptionInfo": "",
        "CmkUserCount": len(api.keys.listed(uin)),
        "CmkLimit": UNLIMITED if limit is None else limit,
        "ExclusiveHSMList": [],
        "IsAllowedDataKeyHosted": True,
        "DataKeyLimit": UNLIMITED if data_key_limit is None else data_key_limit,
        "FreeDataKeyLimit": UNLIMITED if data_key_limit is None else data_key_limit,
        "DataKeyUsedCount": len(api.state.data_keys(uin, int(api.clock()))),
        "SyncTaskList": [],
        "IsAllowedSync": False,
    }


def regions(api: Context, call: Call, _given: dict[str, Any]) -> dict[str, Any]:
    """The regions that this server answers for."""
    call.caller.require(call.action)
    return {"Regions": list(api.settings.regions)}


ACTIONS: Final = table(
    ("ListAlgorithms", [], list_algorithms),
    ("GetServiceStatus", [], service_status),
    ("GetRegions", [], regions),
)
