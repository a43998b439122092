"""What a token can do, remembered in the registry, so that it is tried at the first start alone."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, cast

from kmscore.algorithms import KeySpec, SigningAlgorithm
from kmscore_pkcs11._abilities import Abilities
from kmscore_pkcs11._probe import probe

if TYPE_CHECKING:
    from kmscore.registry import SqliteStore
    from kmscore_pkcs11._login import Facts
    from kmscore_pkcs11._schemes import Schemes
    from kmscore_pkcs11._token import Token

_NAME: Final = "abilities"
_FORMAT: Final = 2
"""Raised when the probe tries other things."""

_PASSING: Final = frozenset(
    {
        "CKR_HOST_MEMORY",
        "CKR_DEVICE_MEMORY",
        "CKR_FUNCTION_CANCELED",
        "CKR_SESSION_COUNT",
        "CKR_TOKEN_RESOURCE_EXCEEDED",
    }
)


def abilities_of(token: Token, facts: Facts, store: SqliteStore, schemes: Schemes) -> Abilities:
    """What the token can do: tried when module, library, model, firmware or mechanisms are new.

    Raises:
        KmsError: The token was lost while it was tried.
    """
    subject = _subject(token, facts, schemes)
    stored = store.meta(_NAME)
    if stored is not None:
        known = _parsed(stored)
        if known.get("subject") == subject and isinstance(known.get("found"), dict):
            return Abilities(known["found"])
    abilities = probe(token, schemes)
    if not _PASSING.isdisjoint(abilities.found.values()):
        # It was full or busy: what it said is not what it can do, and the next start asks again.
        return abilities
    value = json.dumps({"subject": subject, "found": abilities.found}).encode()
    with store.write() as writer:
        writer.put_meta(_NAME, value)
    return abilities


def _subject(token: Token, facts: Facts, schemes: Schemes) -> str:
    digest = hashlib.sha256(token.module.path.read_bytes())
    for part in (
        str(_FORMAT),
        facts.library,
        facts.manufacturer,
        facts.model,
        facts.firmware,
        repr((schemes.sm2, schemes.secret.get(KeySpec.SM4))),
        repr(schemes.signing.get(SigningAlgorithm.SM2DSA)),
        *sorted(str(int(each)) for each in token.mechanisms()),
    ):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _parsed(stored: bytes) -> dict[str, Any]:
    try:
        value = json.loads(stored)
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
