"""Animals that say the wrong thing when something fails, or too much."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, NoReturn, cast

from cryptography.exceptions import InvalidTag

from kmscore.errors import (
    CiphertextInvalid,
    ImportMaterialInvalid,
    IntegrityError,
    InvalidRequest,
    KeyNotFound,
    Unavailable,
)
from kmscore.registry import Purpose
from kmscore.spi import DataKey, Decrypted, Health, KeyInfo
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.materials import IMPORTED, parsed, unpadded
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from kmscore.ciphertext import Parsed
    from kmscore.context import EncryptionContext
    from kmscore.registry.model import ImportJob, KeyRecord


@animal(
    "context-error-told-apart",
    "A wrong context has an error text of its own.",
    "Services that answer 'context does not match'.",
    caught_by="secrecy.uniform",
)
class ContextErrorToldApart(Sound):
    """Says which of the two it was."""

    def opened(self, record: KeyRecord, taken: Parsed, context: EncryptionContext) -> bytes:
        """With a hint."""
        try:
            return super().opened(record, taken, context)
        except CiphertextInvalid as error:
            if context:
                raise CiphertextInvalid("the context does not match") from error
            raise


@animal(
    "tag-error-of-another-class",
    "A wrong tag is an IntegrityError, and a wrong format CiphertextInvalid.",
    "Libraries that tell parsing from authentication.",
    caught_by="sym.tampering secrecy.uniform",
    also="sym.context sym.truncation sym.other-key sym.data-key sym.re-encrypt audit.failure",
)
class TagErrorOfAnotherClass(Sound):
    """Two classes for one failure."""

    def opened(self, record: KeyRecord, taken: Parsed, context: EncryptionContext) -> bytes:
        """IntegrityError."""
        try:
            return super().opened(record, taken, context)
        except CiphertextInvalid as error:
            if isinstance(error.__cause__, InvalidTag):
                raise IntegrityError("the tag is wrong") from error
            raise


@animal(
    "unknown-key-in-ciphertext",
    "A ciphertext that names an unknown key is KeyNotFound.",
    "Stores that look the key up before they look at anything else.",
    caught_by="sym.garbage",
    also="secrecy.uniform life.deleted audit.failure",
)
class UnknownKeyInCiphertext(Sound):
    """Tells which keys there are."""

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """Looks it up."""
        from kmscore.ciphertext import parse

        if key_id is None:
            try:
                self.usable(parse(ciphertext).key_id, Purpose.DECRYPT)
            except CiphertextInvalid as error:
                raise KeyNotFound("the ciphertext names no key") from error
        return super().decrypt(key_id, ciphertext, context)


@animal(
    "unknown-key-invalid",
    "A key that does not exist is an InvalidRequest.",
    "Two of nine key managers of a well-known library know a not-found error.",
    caught_by="contract.unknown-key",
    also="contract.error-place life.deleted life.alias fault.final audit.failure",
)
class UnknownKeyInvalid(Sound):
    """Has one error for all."""

    def describe_key(self, ref: str) -> KeyInfo:
        """InvalidRequest."""
        try:
            return super().describe_key(ref)
        except KeyNotFound as error:
            raise InvalidRequest("no such key") from error


@animal(
    "unknown-key-unavailable",
    "A key that does not exist is worth a retry.",
    "HTTP clients that retry every error status.",
    caught_by="fault.final contract.unknown-key",
    also="contract.error-place life.deleted life.alias audit.failure",
)
class UnknownKeyUnavailable(Sound):
    """Hopes for better times."""

    def describe_key(self, ref: str) -> KeyInfo:
        """Unavailable."""
        try:
            return super().describe_key(ref)
        except KeyNotFound as error:
            raise Unavailable("try again") from error


@animal(
    "secret-in-error",
    "An error repeats the plaintext.",
    "The guide's own sample prints what it was given.",
    caught_by="secrecy.errors",
)
class SecretInError(Sound):
    """Helpful to a fault."""

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Says what could not be encrypted."""
        try:
            return super().encrypt(key_id, plaintext, context)
        except Exception as error:
            error.args = (f"cannot encrypt {plaintext!r}",)
            raise


@animal(
    "secret-in-cause",
    "The error is clean, and its cause repeats the context.",
    "Parsers that quote what they do not understand.",
    caught_by="secrecy.errors",
)
class SecretInCause(Sound):
    """One floor down."""

    def opened(self, record: KeyRecord, taken: Parsed, context: EncryptionContext) -> bytes:
        """Chained to what tells all."""
        try:
            return super().opened(record, taken, context)
        except CiphertextInvalid:
            raise CiphertextInvalid from ValueError(f"bad context {context.json}")

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """The same for a key in the wrong state."""
        try:
            return super().encrypt(key_id, plaintext, context)
        except Exception as error:
            raise error from ValueError(f"cannot use {context.json}")


@animal(
    "secret-in-log",
    "Requests are logged, plaintexts included.",
    "boto3 at the level DEBUG; pkcs11-spy even writes the PIN.",
    caught_by="secrecy.errors",
)
class SecretInLog(Sound):
    """Keeps a diary."""

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """And a line in the log."""
        logging.getLogger("store").info("encrypt %r", plaintext)
        return super().encrypt(key_id, plaintext, context)


class _TalkativeDataKey(DataKey):
    def __repr__(self) -> str:
        return f"DataKey(plaintext={bytes(self.plaintext)!r})"


@animal(
    "secret-in-repr",
    "A data key shows itself when it is printed.",
    "Data classes with the representation that they are born with.",
    caught_by="secrecy.repr",
)
class SecretInRepr(Sound):
    """A data key without shame."""

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """One of those."""
        made = super().generate_data_key(key_id, length, context)
        return _TalkativeDataKey(made.key_id, made.plaintext, made.ciphertext)


@animal(
    "material-in-error",
    "Imported material of the wrong length is shown in the error.",
    "Samples that print key material to the terminal.",
    caught_by="secrecy.material",
)
class MaterialInError(Sound):
    """Shows what it got."""

    kinds = IMPORTED

    def unwrapped(self, record: KeyRecord, job: ImportJob, wrapped: bytes) -> bytes:
        """And says so."""
        try:
            return super().unwrapped(record, job, wrapped)
        except ImportMaterialInvalid as error:
            shown = unpadded(parsed(job.private_key), job.wrapping, wrapped)
            if shown is None:
                raise
            raise ImportMaterialInvalid(f"{shown.hex()} is no key") from error


@animal(
    "text-for-bytes",
    "Ciphertexts are base64 text.",
    "SDKs that hand out what was in the JSON.",
    caught_by="contract.bytes",
    also="*",
)
class TextForBytes(Sound):
    """Text."""

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Not bytes."""
        sealed = super().encrypt(key_id, plaintext, context)
        return cast("bytes", base64.b64encode(sealed).decode())


@animal(
    "health-raises",
    "Asked how it is, the provider raises.",
    "Health checks that are the first to fall.",
    caught_by="contract.health",
)
class HealthRaises(Sound):
    """Falls over."""

    def health(self) -> Health:
        """Raises."""
        return self._fall()

    def _fall(self) -> NoReturn:
        raise Unavailable("nobody is there")


@animal(
    "close-once",
    "Closing twice is an error.",
    "Handles that are given back two times.",
    caught_by="contract.close-twice",
)
class CloseOnce(Sound):
    """Counts."""

    _closed = False

    def close(self) -> None:
        """Once."""
        if self._closed:
            raise InvalidRequest("it is closed already")
        self._closed = True
        super().close()
