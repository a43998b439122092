"""Finding keys: by id, by alias, page by page; the service itself knows no look-up by alias."""

from __future__ import annotations

from typing import Any, Final

from kmscore.errors import InvalidRequest, KeyNotFound
from kmscore.spi import KeyInfo, KeyPage
from kmscore_tencent._answers import Answer, count_of, table_of, tables_of
from kmscore_tencent._client import Client
from kmscore_tencent._vocabulary import ALIAS, KEY_ID, is_known, key_info

PAGE: Final = 200
"""Most keys of one answer."""


def find(client: Client, ref: str) -> KeyInfo:
    """A key by its id or alias.

    Raises:
        KeyNotFound: There is none.
    """
    is_id = KEY_ID.fullmatch(ref) is not None
    if is_id:
        try:
            return describe(client, ref)
        except KeyNotFound:
            pass  # an alias may look like an id
    found = _by_alias(client, ref) if ALIAS.fullmatch(ref) else None
    if found is not None:
        return found
    if is_id or not ref.isprintable():
        raise _no_key(ref)
    try:
        # A server of one's own may have ids of another form.
        return describe(client, ref)
    except InvalidRequest as error:
        raise _no_key(ref) from error


def describe(client: Client, key_id: str) -> KeyInfo:
    """A key by its id: action ``DescribeKey``."""
    return key_info(table_of(client.call("DescribeKey", KeyId=key_id), "KeyMetadata"))


def page(client: Client, limit: int, cursor: str | None) -> KeyPage:
    """Up to ``limit`` keys: action ``ListKeyDetail``, oldest first, so that new ones come last."""
    if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
        raise InvalidRequest("this is no cursor of a listing")
    offset = int(cursor or 0)
    answer = _listed(client, offset, min(limit, PAGE))
    entries = tables_of(answer, "KeyMetadatas")
    after = offset + len(entries)
    more = bool(entries) and after < count_of(answer, "TotalCount")
    keys = tuple(key_info(entry) for entry in entries if is_known(entry))
    return KeyPage(keys, str(after) if more else None)


def _by_alias(client: Client, alias: str) -> KeyInfo | None:
    offset = 0
    while True:
        # The search finds parts of names too: only the whole alias counts.
        answer = _listed(client, offset, PAGE, SearchKeyAlias=alias)
        entries = tables_of(answer, "KeyMetadatas")
        for entry in entries:
            if entry.get("Alias") == alias:
                return key_info(entry)
        offset += len(entries)
        if not entries or offset >= count_of(answer, "TotalCount"):
            return None


def _listed(client: Client, offset: int, limit: int, **filters: Any) -> Answer:
    return client.call(
        "ListKeyDetail",
        Offset=offset,
        Limit=limit,
        Role=0,
        OrderType=1,
        KeyState=0,
        Origin="ALL",
        KeyUsage="ALL",
        **filters,
    )


def _no_key(ref: str) -> KeyNotFound:
    return KeyNotFound(f"there is no key {ref!r}", hint="List them with: kmscore keys list")
