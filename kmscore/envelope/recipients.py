"""Who can open a message: its data key, made once and encrypted under each recipient's key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kmscore.client import Kms
from kmscore.envelope.header import MAX_RECIPIENTS, EncryptedDataKey, shared_fields
from kmscore.envelope.suites import DATA_KEY_BYTES, Suite
from kmscore.errors import (
    CiphertextInvalid,
    InvalidRequest,
    KeyNotFound,
    KmsError,
    LimitExceeded,
)
from kmscore.key import Key
from kmscore.uri import parse_reference

if TYPE_CHECKING:
    from kmscore.context import EncryptionContext
    from kmscore.envelope.header import Header

PREFIX: Final = "kmscore/"
"""Provider ids in messages are this and the configured name of the provider."""

SHOWN: Final = 256
"""Characters of a recipient's name that errors show."""

Item = TypeVar("Item")

Opener = Key | Kms
"""What may open a message: one key, or all keys of a provider."""


class Materials:
    """A data key, and what the headers of its messages say of it.

    Attributes:
        data_key: 32 bytes; whoever holds it wipes it.
        shared: The context, and the data key under each recipient's key, as they stand in every
            header; empty for a data key that only opens messages.
    """

    __slots__ = ("data_key", "shared")

    def __init__(self, data_key: bytearray, shared: bytes) -> None:
        self.data_key = data_key
        self.shared = shared

    def __repr__(self) -> str:
        return "<Materials>"

    def wipe(self) -> None:
        """Overwrite the data key with zeros."""
        self.data_key[:] = bytes(len(self.data_key))


class Source:
    """Where data keys come from: each time from a provider. `DataKeyCache` remembers them.

    What it gives out is derived from them; they themselves stay here, and are wiped.
    """

    def make(self, keys: Sequence[Key], context: EncryptionContext) -> Materials:
        """A fresh data key."""
        return make_materials(keys, context)

    def open(
        self,
        recipients: Sequence[EncryptedDataKey],
        openers: Sequence[Opener],
        context: EncryptionContext,
    ) -> bytearray:
        """The data key of a message."""
        return open_materials(recipients, openers, context)

    def begin(
        self,
        keys: Sequence[Key],
        context: EncryptionContext,
        suite: Suite,
        size: int | None,
        message_id: bytes,
    ) -> tuple[tuple[bytes, bytes], bytes]:
        """What a new message begins with.

        Args:
            keys: Who can open it.
            context: Bound to the data key.
            suite: How keys are derived.
            size: Bytes of plaintext, or None when that is unknown.
            message_id: A fresh one.

        Returns:
            The message key with the commitment to it, and the fields that the header shares with
            others under the same data key.
        """
        del size
        materials = self.make(keys, context)
        try:
            return suite.derive(materials.data_key, message_id), materials.shared
        finally:
            materials.wipe()

    def resume(self, header: Header, openers: Sequence[Opener]) -> tuple[bytes, bytes]:
        """The message key of a message, and the commitment that it must have."""
        data_key = self.open(header.recipients, openers, header.context)
        try:
            return header.suite.derive(data_key, header.message_id)
        finally:
            data_key[:] = bytes(len(data_key))


def source_of(source: Source | None) -> Source:
    """The source that was given, an empty cache included, or the providers themselves."""
    return Source() if source is None else source


def blame(error: Exception, given: Sequence[object], kind: Any, source: object) -> None:
    """Say what a caller without a type checker gave, if that is why something failed.

    Args:
        error: What it failed with.
        given: What stands for keys or openers.
        kind: What each of them should be.
        source: What stands for a cache.

    Raises:
        InvalidRequest: One of them is something else.
    """
    for each in given:
        if not isinstance(each, kind):
            raise InvalidRequest(
                f"a {type(each).__name__} is given as a key",
                hint="Give keys as kms.key() returns them; to decrypt, also an open provider",
            ) from error
    if not isinstance(source, Source | None):
        raise InvalidRequest(
            f"the cache is a {type(source).__name__}", hint="Give a DataKeyCache"
        ) from error


def listed(given: Iterable[Item], what: str) -> Sequence[Item]:
    """Several keys or openers.

    Raises:
        InvalidRequest: It is a single one, or something else.
    """
    try:
        return tuple(given)
    except TypeError as error:
        raise InvalidRequest(
            f"the {what} are a {type(given).__name__}", hint="Give a list of them"
        ) from error


def make_materials(keys: Sequence[Key], context: EncryptionContext) -> Materials:
    """A fresh data key from the first key's provider, encrypted under all of them.

    Args:
        keys: Symmetric keys, of one or of several providers; any one will open the message.
        context: Bound to every encrypted data key.

    Raises:
        InvalidRequest: No key, or one twice.
    """
    if not keys:
        raise InvalidRequest("an envelope needs at least one key")
    if len(keys) > MAX_RECIPIENTS:
        raise LimitExceeded(f"an envelope for {len(keys)} keys", hint=f"At most {MAX_RECIPIENTS}")
    names = {(key.provider_name, key.key_id) for key in keys}
    if len(names) < len(keys):
        raise InvalidRequest("a key is named twice as a recipient")
    first, *others = keys
    made = first.generate_data_key(length=DATA_KEY_BYTES, context=context)
    recipients = [_recipient(first, made.ciphertext)]
    try:
        for key in others:
            sealed = key.encrypt(bytes(made.plaintext), context=context)
            recipients.append(_recipient(key, sealed))
        return Materials(made.plaintext, shared_fields(context, recipients))
    except BaseException:
        made.wipe()
        raise


def open_materials(
    recipients: Sequence[EncryptedDataKey],
    openers: Sequence[Opener],
    context: EncryptionContext,
) -> bytearray:
    """The data key of a message, by the first recipient that can be opened.

    Keys are tried before providers, and a provider of another name than the recipient's only
    when no name fits: names are local to a configuration.

    Raises:
        KeyNotFound: None of the recipients is at hand.
        KmsError: What the last recipient that was at hand failed with; or one whose provider was
            out of reach, since that one may open the message later.
    """
    failure: KmsError | None = None
    absent: KeyNotFound | None = None
    for recipient, opener in _candidates(recipients, openers):
        try:
            key = opener if isinstance(opener, Key) else opener.key(_key_id(recipient))
            plaintext = key.decrypt(_ciphertext(recipient), context=context)
        except KeyNotFound as error:
            absent = error
            continue
        except KmsError as error:
            if failure is None or error.retryable or not failure.retryable:
                failure = error
            continue
        if len(plaintext) == DATA_KEY_BYTES:
            return bytearray(plaintext)
        failure = failure or CiphertextInvalid()
    if failure is not None:
        raise failure
    names = ", ".join(_shown(each) for each in recipients)
    raise KeyNotFound(
        "none of the message's recipients is at hand", hint=f"It can be opened by: {names}"
    ) from absent


def _candidates(
    recipients: Sequence[EncryptedDataKey], openers: Sequence[Opener]
) -> list[tuple[EncryptedDataKey, Opener]]:
    exact: list[tuple[EncryptedDataKey, Opener]] = []
    named: list[tuple[EncryptedDataKey, Opener]] = []
    other: list[tuple[EncryptedDataKey, Opener]] = []
    for recipient in recipients:
        if not recipient.provider_id.startswith(PREFIX):
            continue
        for opener in openers:
            if isinstance(opener, Key):
                if opener.key_id.encode() == recipient.provider_info:
                    exact.append((recipient, opener))
            elif recipient.provider_id == PREFIX + opener.name:
                named.append((recipient, opener))
            else:
                other.append((recipient, opener))
    return exact + (named or other)


def _recipient(key: Key, ciphertext: bytes) -> EncryptedDataKey:
    return EncryptedDataKey(PREFIX + key.provider_name, key.key_id.encode(), ciphertext)


def _key_id(recipient: EncryptedDataKey) -> str:
    try:
        key_id = recipient.provider_info.decode()
        is_uri = parse_reference(key_id).provider is not None
    except (UnicodeDecodeError, InvalidRequest) as error:
        raise CiphertextInvalid from error
    if is_uri:
        raise CiphertextInvalid
    return key_id


def _ciphertext(recipient: EncryptedDataKey) -> bytes:
    # Refused here, as the message's fault: what `Key` says of it would be its caller's.
    if not recipient.ciphertext:
        raise CiphertextInvalid
    return recipient.ciphertext


def _shown(recipient: EncryptedDataKey) -> str:
    """A recipient on one line of bounded length: whoever wrote the message chose its text."""
    text = f"{recipient.provider_id} {recipient.provider_info.decode('utf-8', 'backslashreplace')}"
    shown = text if text.isprintable() else ascii(text)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
