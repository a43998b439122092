"""What lies on a token, as the open provider's own session sees it; and a clock that is set."""

import time
from typing import Any, NamedTuple

from pkcs11 import Attribute

USAGES = ("ENCRYPT", "DECRYPT", "SIGN", "WRAP", "UNWRAP")


class Found(NamedTuple):
    """A key on the token.

    Attributes:
        label: CKA_LABEL.
        usages: What its flags allow.
        is_kept: Whether it is sensitive and not extractable.
    """

    label: str
    usages: tuple[str, ...]
    is_kept: bool


def objects(kms: Any, key: Any) -> dict[str, Found]:
    """Objects of a key, by the last part of their label: the version, or ``wrapping``."""

    def look(session: Any) -> dict[str, Found]:
        found = {}
        for each in session.raw.get_objects({Attribute.TOKEN: True}):
            label = each[Attribute.LABEL]
            if key.key_id in label:
                usages = tuple(name for name in USAGES if _flag(each, Attribute[name]))
                is_kept = each[Attribute.SENSITIVE] and not each[Attribute.EXTRACTABLE]
                found[label.rpartition(":")[2]] = Found(label, usages, is_kept)
        return found

    result: dict[str, Found] = kms.provider._token.change("C_FindObjects", look)
    return result


def _flag(each: Any, flag: Attribute) -> bool:
    from pkcs11 import PKCS11Error

    try:
        return bool(each[flag])
    except PKCS11Error:
        return False  # an attribute that this class has not


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
