"""The audit event: what is recorded of an operation, the same for every provider."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from kmscore.spi import NOTHING

if TYPE_CHECKING:
    from kmscore.context import EncryptionContext

OK = "ok"
ERROR = "error"


class AuditEvent(NamedTuple):
    """One operation that has ended. It never holds data: no plaintext, ciphertext or signature.

    Attributes:
        time: When it ended, in seconds since the epoch.
        provider: Configured name of the provider.
        operation: Such as ``encrypt``, ``create_key``, ``import_key_material``.
        key: Id of the key, or empty.
        outcome: ``ok`` or ``error``.
        error: Class of the error, or empty.
        duration: Seconds, retries and waiting included.
        request_id: The provider's id of the request, or empty.
        context: Keys of the encryption context, each with the first 16 bytes of the SHA-256 of
            its value in hex: enough to compare, not to read.
        caller: On whose behalf it was done, where the process works for others, or empty.
    """

    time: float
    provider: str
    operation: str
    key: str
    outcome: str
    error: str = ""
    duration: float = 0.0
    request_id: str = ""
    context: Mapping[str, str] = NOTHING
    caller: str = ""


def context_hashes(context: "EncryptionContext") -> dict[str, str]:
    """The context as an event shows it: each key with a hash of its value.

    Args:
        context: The encryption context of the operation.

    Returns:
        Per key the first 16 bytes of SHA-256 over the value in UTF-8, as 32 hex digits. A value
        that can be guessed can be recognised: contexts are no place for secrets.
    """
    return dict(_hashes(context))


@lru_cache(256)
def _hashes(context: "EncryptionContext") -> dict[str, str]:
    from hashlib import sha256

    return {key: sha256(value.encode()).hexdigest()[:32] for key, value in context.items}
