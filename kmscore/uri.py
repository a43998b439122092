"""Names of keys and providers in one string: ``kms://provider/key``."""

from typing import Final, NamedTuple

from kmscore.errors import InvalidRequest

SCHEME: Final = "kms://"


class KeyUri(NamedTuple):
    """What a reference names.

    Attributes:
        provider: Configured name of a provider, or None for the one in use.
        key: Key id or alias, or None where only a provider is named.
    """

    provider: str | None
    key: str | None


def parse_reference(reference: str) -> KeyUri:
    """Read a key id, an alias, ``kms://provider`` or ``kms://provider/key``.

    Args:
        reference: What the caller wrote; key ids may hold slashes, as ARNs do.

    Raises:
        InvalidRequest: It is empty, has another scheme, or names no provider.
    """
    # Callers without a type checker pass anything at all.
    if not isinstance(reference, str) or not reference:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(
            f"{reference!r} names no key", hint="Give a key id, an alias or kms://provider/key"
        )
    if not _is_printable(reference):
        raise InvalidRequest("a key reference holds characters that cannot be printed")
    if not reference.startswith(SCHEME):
        if "://" in reference:
            raise InvalidRequest(
                f"{reference!r} has an unknown scheme", hint="Use kms://provider/key"
            )
        return KeyUri(None, reference)
    provider, _, key = reference.removeprefix(SCHEME).partition("/")
    if not provider:
        raise InvalidRequest(f"{reference!r} names no provider", hint="Use kms://provider/key")
    return KeyUri(provider, key or None)


def _is_printable(text: str) -> bool:
    # A lone surrogate crashes C libraries further down; a line break forges log lines.
    return text.isprintable()
