"""Animals that call keys by wrong names, list them wrong, or tell wrong times."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from kmscore.errors import KeyNotFound
from kmscore.spi import KeyInfo, KeyPage, NewKey
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    pass


@animal(
    "times-local",
    "Times of a key's description have no time zone.",
    "datetime.utcnow.",
    caught_by="contract.description",
    also="life.rotation-schedule life.deleted import.expiry life.deletion-time *",
)
class TimesLocal(Sound):
    """Naive."""

    def describe_key(self, ref: str) -> KeyInfo:
        """Without one."""
        info = super().describe_key(ref)
        return info._replace(created_at=info.created_at.replace(tzinfo=None))


@animal(
    "time-before",
    "A key's description says that it was made an hour ago.",
    "Clocks in another zone, marked as UTC.",
    caught_by="contract.description",
)
class TimeBefore(Sound):
    """In another zone."""

    def describe_key(self, ref: str) -> KeyInfo:
        """An hour early."""
        info = super().describe_key(ref)
        return info._replace(created_at=info.created_at - timedelta(hours=1))


@animal(
    "alias-stolen",
    "A second claim of an alias takes it from the first key.",
    "Stores where a name is a label.",
    caught_by="life.alias-taken",
    also="thread.alias",
)
class AliasStolen(Sound):
    """The last one wins."""

    def create_key(self, new: NewKey) -> KeyInfo:
        """And the first one gets another name."""
        if new.alias is not None:
            with suppress(KeyNotFound):
                old = self.registry.find(new.alias)
                self.registry.set_alias(old.key_id, f"was-{os.urandom(4).hex()}")
        return super().create_key(new)


@animal(
    "alias-taken-key-made",
    "When an alias is taken, the key is made all the same, without a name.",
    "A key and its name in two calls.",
    caught_by="life.alias-taken",
)
class AliasTakenKeyMade(Sound):
    """Leaves one behind."""

    def create_key(self, new: NewKey) -> KeyInfo:
        """In two steps."""
        info = super().create_key(new._replace(alias=None))
        if new.alias is not None:
            self.registry.set_alias(info.key_id, new.alias)
        return self.describe_key(info.key_id)


@animal(
    "alias-case-blind",
    "A key is found by its alias in another case, too.",
    "Databases that compare without case.",
    caught_by="life.alias",
)
class AliasCaseBlind(Sound):
    """Reads generously."""

    def describe_key(self, ref: str) -> KeyInfo:
        """In lower case, if need be."""
        try:
            return super().describe_key(ref)
        except KeyNotFound:
            for info in self.registry.page(1000, None).keys:
                if info.alias is not None and info.alias.lower() == ref.lower():
                    return info
            raise


@animal(
    "list-skips",
    "At the border of two pages a key is skipped.",
    "Offsets that begin with one.",
    caught_by="life.list",
)
class ListSkips(Sound):
    """Takes one too many."""

    def list_keys(self, limit: int, cursor: str | None) -> KeyPage:
        """Without its first key, after the first page."""
        page = super().list_keys(limit, cursor)
        return page if cursor is None else page._replace(keys=page.keys[1:])


@animal(
    "list-repeats",
    "At the border of two pages a key comes twice.",
    "Offsets that begin with zero.",
    caught_by="life.list",
)
class ListRepeats(Sound):
    """Looks back."""

    _last: tuple[KeyInfo, ...] = ()

    def list_keys(self, limit: int, cursor: str | None) -> KeyPage:
        """With the last one of the page before."""
        page = super().list_keys(limit, cursor)
        keys = page.keys if cursor is None else (*self._last, *page.keys)[:limit]
        self._last = page.keys[-1:]
        return page._replace(keys=keys)


@animal(
    "list-ignores-limit",
    "A page holds all keys, whatever was asked for.",
    "moto's KMS.",
    caught_by="life.list",
)
class ListIgnoresLimit(Sound):
    """All at once."""

    def list_keys(self, limit: int, cursor: str | None) -> KeyPage:
        """A thousand."""
        return super().list_keys(1000, cursor)
