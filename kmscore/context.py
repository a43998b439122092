"""The encryption context: a map of strings, bound to a ciphertext and needed to open it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from kmscore.errors import InvalidRequest, LimitExceeded

MAX_CHARACTERS: Final = 1024


def _checked(pairs: Iterable[tuple[object, object]]) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for key, value in pairs:
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidRequest(
                f"the encryption context maps {type(key).__name__} to {type(value).__name__}",
                hint="Keys and values must be str",
            )
        if not key or key in seen:
            raise InvalidRequest(
                "a key of the encryption context is " + ("given twice" if key else "empty")
            )
        try:
            (key + value).encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(
                "the encryption context holds a character that UTF-8 cannot express"
            ) from error
        seen.add(key)
        yield key, value


_MAPPING: Final = (dict, Mapping)
"""A dict is recognised at once; the abstract class alone takes its time."""


class EncryptionContext:
    """A context in its one canonical form.

    Attributes:
        items: The pairs, sorted by key.
        json: Compact JSON with sorted keys, at most 1024 characters; empty when there are no pairs.
        aad: The same as UTF-8 bytes: what providers bind as associated data.
    """

    __slots__ = ("aad", "items", "json")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        """Canonicalise pairs.

        Raises:
            InvalidRequest: A key or value is no string, a key is empty or comes twice, or a
                string cannot be written as UTF-8.
            LimitExceeded: The JSON form has more than 1024 characters.
        """
        # Callers without a type checker pass anything at all. A mapping is refused by itself: keys
        # of two letters would look like pairs.
        wrong = InvalidRequest(
            "the encryption context does not consist of pairs",
            hint="Give pairs of str, or a mapping to EncryptionContext.of",
        )
        if isinstance(pairs, str | Mapping):
            raise wrong
        try:
            self.items: tuple[tuple[str, str], ...] = tuple(sorted(_checked(pairs)))
        except InvalidRequest:
            raise
        except (TypeError, ValueError) as error:
            raise wrong from error
        if not self.items:
            self.json = ""
            self.aad = b""
            return
        import json

        text = json.dumps(dict(self.items), ensure_ascii=False, separators=(",", ":"))
        if len(text) > MAX_CHARACTERS:
            raise LimitExceeded(
                f"the encryption context has {len(text)} characters as JSON",
                hint=f"At most {MAX_CHARACTERS} are allowed",
            )
        self.json = text
        self.aad = text.encode()

    @classmethod
    def of(cls, context: ContextLike) -> EncryptionContext:
        """The canonical form of whatever a caller gave."""
        if context is None:
            return EMPTY
        if isinstance(context, _MAPPING):
            if not context:
                return EMPTY
            try:
                return _known(tuple(context.items()))
            except TypeError:
                # Something in it has no hash, and is no string: say so.
                return cls(context.items())
        # Callers without a type checker pass anything at all.
        if not isinstance(context, EncryptionContext):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(
                f"the encryption context is a {type(context).__name__}",
                hint="Give a mapping of str to str",
            )
        return context

    @classmethod
    def from_json(cls, text: str) -> EncryptionContext:
        """Read a context from JSON, as other systems send it; duplicate keys are refused."""
        # Callers without a type checker pass anything at all.
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidRequest(
                f"the encryption context is a {type(text).__name__}", hint="Give JSON in a str"
            )
        if not text:
            return EMPTY
        import json

        try:
            pairs: object = json.loads(text, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest("the encryption context is not JSON") from error
        if not isinstance(pairs, _Pairs):
            raise InvalidRequest("the encryption context is not a JSON object")
        return cls(pairs)

    def __bool__(self) -> bool:
        return bool(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EncryptionContext) and self.items == other.items

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        return f"<EncryptionContext keys={[key for key, _ in self.items]}>"


@lru_cache(256)
def _known(pairs: tuple[tuple[str, str], ...]) -> EncryptionContext:
    """Contexts come again and again, and to canonicalise one takes longer than to encrypt."""
    return EncryptionContext(pairs)


class _Pairs(list[tuple[str, str]]):
    """What `json` found in an object, before a dict could hide a duplicate."""


ContextLike = Mapping[str, str] | EncryptionContext | None
EMPTY: Final = EncryptionContext()
