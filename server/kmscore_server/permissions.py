"""Permissions: who may do what with which keys; what is not allowed is denied, and deny wins."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_DECISIONS: Final = 4096


class Rule(NamedTuple):
    """Actions and keys, as patterns of `fnmatch`: ``*``, ``?`` and ``[…]``, case-sensitive.

    Attributes:
        actions: Names of actions, such as ``Encrypt`` or ``Describe*``.
        keys: Ids and aliases of keys. An action that is about no key is met by ``*`` alone.
    """

    actions: tuple[str, ...]
    keys: tuple[str, ...] = ("*",)

    def applies(self, action: str, key_id: str, alias: str) -> bool:
        """Whether it speaks of that action with that key, by its id or its alias."""
        return any(fnmatchcase(action, pattern) for pattern in self.actions) and any(
            fnmatchcase(key_id, pattern) or (bool(alias) and fnmatchcase(alias, pattern))
            for pattern in self.keys
        )


class Permissions:
    """Rules together.

    Args:
        allow: What is allowed.
        deny: What is denied all the same.
    """

    def __init__(self, allow: Iterable[Rule], deny: Iterable[Rule] = ()) -> None:
        self._allow = tuple(allow)
        self._deny = tuple(deny)
        self._decisions: dict[tuple[str, str, str], bool] = {}

    def allows(self, action: str, key_id: str = "", alias: str = "") -> bool:
        """Whether an action is allowed with a key."""
        asked = (action, key_id, alias)
        decision = self._decisions.get(asked)
        if decision is None:
            decision = any(rule.applies(*asked) for rule in self._allow) and not any(
                rule.applies(*asked) for rule in self._deny
            )
            if len(self._decisions) >= _MOST_DECISIONS:
                self._decisions.clear()
            self._decisions[asked] = decision
        return decision
