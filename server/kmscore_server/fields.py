"""Parameters of actions as data: which there are, of which type, and what they may hold.

What is wrong is told in one order, whatever else is wrong: a type, then a parameter that is not
known, then one that is missing, then a value.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple, cast

from kmscore_server.api import ApiError

MAX_NUMBER: Final = 2**63 - 1
MAX_TEXT: Final = 8192
"""Most characters of a text that has no narrower limit of its own."""
MAX_IDS: Final = 100
MAX_TAGS: Final = 50

_DECIMAL: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NO_PRINT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Decoder = Callable[[Any], Any]
"""Turns a value of JSON into what the action works with, or raises `Refused`."""


class Refused(Exception):
    """A value is not what the parameter needs.

    Args:
        reason: Completes the sentence "X ...".
        code: The code to answer with, or empty for what the action has for wrong values.
    """

    def __init__(self, reason: str, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


WRONG_TYPE: Final = "InvalidParameter"


class Field(NamedTuple):
    """One parameter.

    Attributes:
        name: As the API has it.
        decode: What turns its value into what the action works with.
        required: It must be there; null is not there.
        default: What the action gets when it is not there.
    """

    name: str
    decode: Decoder
    required: bool = False
    default: Any = None


class Parameters:
    """The parameters of an action.

    Args:
        fields: All that there are.
        value_code: What the action answers to a wrong value, such as ``InvalidParameterValue``.
    """

    def __init__(self, fields: Collection[Field], value_code: str = "InvalidParameter") -> None:
        self.fields: Mapping[str, Field] = {field.name: field for field in fields}
        self.value_code = value_code
        self._decoders = {field.name: field.decode for field in fields}
        self._defaults = {field.name: field.default for field in fields}
        self._required = tuple(field.name for field in fields if field.required)

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter of the action, decoded.

        Raises:
            ApiError: One of them has the wrong type, is unknown, missing, or has a wrong value.
        """
        taken = self._defaults.copy()
        decoders = self._decoders
        wrong: list[tuple[int, str, str]] = []
        for name, value in given.items():
            decode = decoders.get(name)
            if decode is None:
                wrong.append((1, "UnknownParameter", f"{_shown(name)} is no parameter here"))
            elif value is not None:
                try:
                    taken[name] = decode(value)
                except Refused as refusal:
                    code = refusal.code or self.value_code
                    rank = 0 if refusal.code == WRONG_TYPE else 3
                    wrong.append((rank, code, f"{name} {refusal.reason}"))
        wrong.extend(
            (2, "MissingParameter", f"{name} is missing")
            for name in self._required
            if given.get(name) is None
        )
        if wrong:
            _, code, message = min(wrong, key=lambda problem: problem[0])
            raise ApiError(code, message)
        return taken


def _shown(name: str) -> str:
    """A name that a stranger chose, fit for a message."""
    return repr(name[:60].encode("ascii", "backslashreplace").decode())


# --- Decoders --------------------------------------------------------------------------------


def _require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused("must be a string", WRONG_TYPE)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused("holds half a character", WRONG_TYPE) from None
    return value


def text(*, low: int = 0, high: int = MAX_TEXT, code: str = "") -> Decoder:
    """A string of that many characters."""

    def decode(value: Any) -> str:
        decoded = _require_text(value)
        if not low <= len(decoded) <= high:
            raise Refused(f"must have {low} to {high} characters", code)
        return decoded

    return decode


def description(high: int) -> Decoder:
    """A string of at most that many bytes as UTF-8, without control characters."""

    def decode(value: Any) -> str:
        decoded = _require_text(value)
        if len(decoded.encode()) > high:
            raise Refused(f"must have at most {high} bytes")
        if _NO_PRINT.search(decoded) or not decoded.isprintable():
            raise Refused("holds characters that cannot be printed")
        return decoded

    return decode


def matching(pattern: str, code: str, *, wanted: str) -> Decoder:
    """A string of a form."""
    compiled = re.compile(pattern, re.ASCII)

    def decode(value: Any) -> str:
        decoded = _require_text(value)
        if not compiled.fullmatch(decoded):
            raise Refused(wanted, code)
        return decoded

    return decode


def number(low: int = 0, high: int = MAX_NUMBER, *, code: str = "") -> Decoder:
    """A whole number, or its decimal digits as a string, as forms and the API's samples do it."""

    def decode(value: Any) -> int:
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refused("must be a whole number", WRONG_TYPE)
        if not low <= value <= high:
            raise Refused(f"must be {low} to {high}", code)
        return value

    return decode


def choice(values: Collection[Any], *, code: str = "") -> Decoder:
    """One of some strings."""

    def decode(value: Any) -> str:
        decoded = _require_text(value)
        if decoded not in values:
            raise Refused("must be one of " + ", ".join(sorted(values)), code)
        return decoded

    return decode


def base64_data(low: int, high: int, *, code: str = "") -> Decoder:
    """Bytes in base64 (RFC 4648, section 4); line breaks are passed over.

    Args:
        low: Fewest bytes.
        high: Most bytes.
        code: For what is no base64, or too short or long.
    """
    most = (high + 2) // 3 * 4

    def decode(value: Any) -> bytes:
        encoded = _require_text(value)
        if len(encoded) > most:
            encoded = encoded.replace("\n", "").replace("\r", "")
        if len(encoded) > most:
            raise Refused(f"must be at most {high} bytes in base64", code)
        try:
            data = a2b_base64(encoded, strict_mode=True)
        except (Error, ValueError):
            data = _with_line_breaks(encoded, code)
        if not low <= len(data) <= high:
            raise Refused(f"must be {low} to {high} bytes in base64", code)
        return data

    return decode


def _with_line_breaks(encoded: str, code: str) -> bytes:
    try:
        return a2b_base64(encoded.replace("\n", "").replace("\r", ""), strict_mode=True)
    except (Error, ValueError):
        raise Refused("must be base64", code) from None


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def entries(value: Any, high: int) -> list[Any]:
    """The entries of a list, at most that many."""
    if not _is_list(value):
        raise Refused("must be a list", WRONG_TYPE)
    items: list[Any] = value
    if len(items) > high:
        raise Refused(f"must have at most {high} entries")
    return items


def ids(decode_one: Decoder, *, duplicated: str) -> Decoder:
    """A list of 1 to 100 ids, none of them twice."""

    def decode(value: Any) -> list[str]:
        decoded = [decode_one(item) for item in entries(value, MAX_IDS)]
        if not decoded:
            raise Refused("must name at least one")
        if len(set(decoded)) != len(decoded):
            raise Refused("names one twice", duplicated)
        return decoded

    return decode


def structure(parameters: Parameters) -> Decoder:
    """An object with fields of its own."""

    def decode(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Refused("must be an object", WRONG_TYPE)
        try:
            return parameters.read(cast("dict[str, Any]", value))
        except ApiError as error:
            raise Refused(f"is wrong inside: {error.message}", error.code) from None

    return decode


def _texts(value: Any) -> list[str]:
    return [_require_text(item) for item in entries(value, MAX_IDS)]


_TAG: Final = structure(
    Parameters(
        [
            Field("TagKey", text(low=1, high=127), required=True),
            Field("TagValue", text(high=255), required=True),
        ]
    )
)
_TAG_FILTER: Final = structure(
    Parameters(
        [
            Field("TagKey", text(low=1, high=127), required=True),
            Field("TagValue", _texts),
        ]
    )
)
_MEMBER: Final = structure(
    Parameters([Field("MemberAppId", number()), Field("MemberUin", number())])
)


def tags(value: Any) -> dict[str, str]:
    """``Tags``: a list of TagKey and TagValue, no key twice."""
    pairs = [_TAG(item) for item in entries(value, MAX_TAGS)]
    decoded = {pair["TagKey"]: pair["TagValue"] for pair in pairs}
    if len(decoded) != len(pairs):
        raise Refused("names a tag twice", "InvalidParameterValue.TagKeysDuplicated")
    return decoded


def tag_filters(value: Any) -> list[tuple[str, list[str]]]:
    """``TagFilters``: a list of TagKey and the values that will do, any where there are none."""
    found = [_TAG_FILTER(item) for item in entries(value, MAX_TAGS)]
    return [(one["TagKey"], one["TagValue"] or []) for one in found]


def members(value: Any) -> list[dict[str, Any]]:
    """``MemberAccounts``: checked, and of no effect."""
    return [_MEMBER(item) for item in entries(value, MAX_IDS)]


KEY_ID: Final = matching(
    r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,199}",
    "InvalidParameterValue.InvalidKeyId",
    wanted="must be the id of a key",
)
DATA_KEY_ID: Final = matching(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "InvalidParameterValue.InvalidDataKeyId",
    wanted="must be the id of a data key",
)
_UUID_FORM: Final = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_ALIAS_FORM: Final = rf"(?!kms-|{_UUID_FORM}\Z)[A-Za-z0-9][A-Za-z0-9_-]{{0,59}}"
_ALIAS_WANTED: Final = (
    "must be 1 to 60 letters, digits, - and _, begin with a letter or digit but not with kms-, "
    "and not look like a key id"
)
ALIAS: Final = matching(_ALIAS_FORM, "InvalidParameterValue.InvalidAlias", wanted=_ALIAS_WANTED)
DATA_KEY_NAME: Final = matching(
    _ALIAS_FORM, "InvalidParameterValue.InvalidDataKeyName", wanted=_ALIAS_WANTED
)
CLUSTER: Final = choice(("", "default"), code="InvalidParameterValue.InvalidHsmClusterId")

# What several actions have.
MEMBER_ACCOUNT: Final = Field("MemberAccount", _MEMBER)
MEMBER_ACCOUNTS: Final = Field("MemberAccounts", members)
HSM_CLUSTER: Final = Field("HsmClusterId", CLUSTER, default="")
TAGS: Final = Field("Tags", tags, default={})
KEY: Final = Field("KeyId", KEY_ID, required=True)
KEYS: Final = Field(
    "KeyIds", ids(KEY_ID, duplicated="InvalidParameterValue.DuplicatedKeyId"), required=True
)
DATA_KEY: Final = Field("DataKeyId", DATA_KEY_ID, required=True)
DATA_KEYS: Final = Field(
    "DataKeyIds",
    ids(DATA_KEY_ID, duplicated="InvalidParameterValue.DuplicatedDataKeyId"),
    required=True,
)
PAGING: Final = (
    Field("Offset", number(), default=0),
    Field("Limit", number(1, 200), default=10),
    Field("Role", number(0, 1), default=0),
    HSM_CLUSTER,
)
BLOB: Final = text(low=1, high=65536, code="InvalidParameterValue.InvalidCiphertext")
