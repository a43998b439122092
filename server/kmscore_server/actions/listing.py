"""Lists of keys, page by page, with filters."""

from __future__ import annotations

from typing import Any, Final

from kmscore.algorithms import KeyState
from kmscore_server.api import Call
from kmscore_server.fields import (
    MEMBER_ACCOUNTS,
    PAGING,
    Field,
    choice,
    number,
    tag_filters,
    text,
)
from kmscore_server.keyring import Listed
from kmscore_server.metadata import ORIGINS, key_metadata
from kmscore_server.service import Context, table
from kmscore_server.vocabulary import KEY_USAGES, STATE_NUMBERS, SYMMETRIC

_LISTED: Final = (KeyState.ENABLED, KeyState.DISABLED, KeyState.PENDING_IMPORT)
"""The states that ``ListKeys`` lists; ``ListKeyDetail`` lists all."""

NEWEST_FIRST: Final = 0
CLOUD_PRODUCTS: Final = 1
"""``Role`` of keys that cloud products made: here are none."""


def page(given: dict[str, Any], found: list[Any]) -> list[Any]:
    """The part of a list that ``Offset`` and ``Limit`` ask for."""
    start: int = given["Offset"]
    return found[start : start + given["Limit"]]


def matches_tags(tags: dict[str, str], filters: list[tuple[str, list[str]]]) -> bool:
    """Whether all filters hold: the tag is there, with one of the values if any are named."""
    return all(tag in tags and (not values or tags[tag] in values) for tag, values in filters)


def _of_caller(api: Context, call: Call, given: dict[str, Any]) -> list[Listed]:
    call.caller.require(call.action)
    if given["Role"] == CLOUD_PRODUCTS:
        return []
    return api.keys.listed(call.caller.uin)


def list_keys(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Ids of keys, the oldest first, so that new ones do not move the pages."""
    found = [key for key in _of_caller(api, call, given) if key.info.state in _LISTED]
    return {
        "Keys": [{"KeyId": key.row.key_id} for key in page(given, found)],
        "TotalCount": len(found),
    }


def list_key_detail(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """What is known of the keys that all filters let through."""
    wanted_state = STATE_NUMBERS[given["KeyState"]]
    usage: str = given["KeyUsage"] or SYMMETRIC
    origin: str = given["Origin"]
    search: str = given["SearchKeyAlias"].casefold()
    tags = api.state.tags() if given["TagFilters"] else {}

    def passes(key: Listed) -> bool:
        return (
            wanted_state in (None, key.info.state)
            and usage in ("ALL", key.usage)
            and origin in ("", "ALL", ORIGINS[key.info.origin])
            and (search in key.row.key_id or search in (key.info.alias or "").casefold())
            and matches_tags(tags.get(key.row.key_id, {}), given["TagFilters"])
        )

    found = [key for key in _of_caller(api, call, given) if passes(key)]
    if given["OrderType"] == NEWEST_FIRST:
        found.reverse()
    edition, app_id = api.settings.edition, call.caller.app_id
    return {
        "KeyMetadatas": [key_metadata(key, edition, app_id) for key in page(given, found)],
        "TotalCount": len(found),
    }


FILTERS: Final = (
    *PAGING,
    Field("OrderType", number(0, 1), default=NEWEST_FIRST),
    Field("SearchKeyAlias", text(high=200), default=""),
    Field("Origin", choice(("", "ALL", "TENCENT_KMS", "EXTERNAL")), default=""),
    Field("TagFilters", tag_filters, default=[]),
    MEMBER_ACCOUNTS,
)
"""What the detailed lists of keys and of data keys have in common."""

ACTIONS: Final = table(
    ("ListKeys", PAGING, list_keys),
    (
        "ListKeyDetail",
        [
            *FILTERS,
            Field("KeyState", number(0, 5), default=0),
            Field("KeyUsage", choice(("", "ALL", SYMMETRIC, *KEY_USAGES)), default=""),
        ],
        list_key_detail,
    ),
)
