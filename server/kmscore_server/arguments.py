"""Parameters of an action: from a JSON body, or from the flat names of a query or a form."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn, cast
from urllib.parse import parse_qsl

from kmscore_server.api import ApiError

_MOST_FIELDS: Final = 4096
_DEEPEST: Final = 8


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and infinities, which JSON does not have."""
    raise ValueError(name)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object; of two with one name, others might have seen the other one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member comes twice")
    return found


# Made once: json.loads would make a decoder for each body.
_decode: Final = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_members).decode


def parse_json(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; an empty body is an object without members.

    Raises:
        ApiError: ``InvalidParameter``: it is no JSON object in UTF-8.
    """
    if not body:
        return {}
    try:
        parsed: Any = _decode(body.decode("utf-8"))
        if b"\\u" in body:
            # Half of a surrogate pair is text that no later step could encode.
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise ApiError("InvalidParameter", "The request body is not valid JSON.") from error
    if not isinstance(parsed, dict):
        raise ApiError("InvalidParameter", "The request body is not a JSON object.")
    return cast("dict[str, Any]", parsed)


def parse_form(text: str) -> dict[str, str]:
    """Names and values of a query or a form.

    Raises:
        ApiError: ``InvalidParameter``: a name comes twice, or it is not UTF-8.
    """
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise ApiError("InvalidParameter", "The parameters are not valid.") from error
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ApiError("InvalidParameter", "A parameter is given more than once.")
    return found


def nest(flat: dict[str, str]) -> dict[str, Any]:
    """Build what flat names describe: ``Tags.0.TagKey`` is a member of the first of the tags.

    Raises:
        ApiError: ``InvalidParameter``: the names contradict each other.
    """
    root: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        if len(parents) > _DEEPEST:
            raise ApiError("InvalidParameter", "A parameter is nested too deeply.")
        place = root
        for parent in parents:
            below = place.setdefault(parent, {})
            if not isinstance(below, dict):
                raise _contradiction(name)
            place = cast("dict[str, Any]", below)
        if last in place:
            raise _contradiction(name)
        place[last] = value
    return {name: _lists(value) for name, value in root.items()}


def _lists(value: Any) -> Any:
    """Turn what has numbers for names into lists."""
    if not isinstance(value, dict):
        return value
    members = {name: _lists(member) for name, member in cast("dict[str, Any]", value).items()}
    if not all(name.isascii() and name.isdigit() and len(name) <= 6 for name in members):
        return members
    return [members[name] for name in sorted(members, key=int)]


def _contradiction(name: str) -> ApiError:
    return ApiError("InvalidParameter", f"The parameter {name[:64]!r} contradicts another one.")
