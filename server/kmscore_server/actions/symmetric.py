"""Encryption under a key itself, and random bytes."""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any, Final

from kmscore.algorithms import KeyUsage
from kmscore.context import EMPTY, EncryptionContext
from kmscore.errors import KeyUsageMismatch, KmsError
from kmscore_server import blob, errors
from kmscore_server.api import Call
from kmscore_server.fields import (
    BLOB,
    KEY,
    KEY_ID,
    Decoder,
    Field,
    Refused,
    base64_data,
    number,
    text,
)
from kmscore_server.recipient import RECIPIENT, recipient_of
from kmscore_server.service import Context, table

MAX_PLAINTEXT: Final = 4096
MAX_RANDOM: Final = 1024

_context_text: Final[Decoder] = text(high=8192)


def context(value: Any) -> EncryptionContext:
    """``EncryptionContext``: a JSON object of strings, as text. What means the same is equal."""
    written = _context_text(value)
    if not written:
        return EMPTY
    try:
        return EncryptionContext.from_json(written)
    except KmsError as error:
        raise Refused(f"cannot be used: {error.message}") from None


def encoded(data: bytes | bytearray) -> str:
    """Base64, as every answer has it."""
    return b2a_base64(data, newline=False).decode("ascii")


def encrypt(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Encrypt up to 4096 bytes."""
    key_id: str = given["KeyId"]
    held = api.keys.use(call, key_id)
    ciphertext = held.key.encrypt(given["Plaintext"], context=given["EncryptionContext"])
    return {"CiphertextBlob": blob.seal(held.head, ciphertext), "KeyId": key_id}


def decrypt(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Decrypt; the ciphertext names its key."""
    recipient = recipient_of(given)
    held, ciphertext = api.keys.use_for_blob(call, given["CiphertextBlob"])
    plaintext = held.key.decrypt(ciphertext, context=given["EncryptionContext"])
    if recipient is not None:
        plaintext = recipient.encrypt(plaintext)
    return {"KeyId": held.row.key_id, "Plaintext": encoded(plaintext)}


def re_encrypt(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Encrypt anew under another key, version or context; leave alone what is up to date."""
    text_of_blob: str = given["CiphertextBlob"]
    source_context: EncryptionContext = given["SourceEncryptionContext"]
    new_context: EncryptionContext = given["DestinationEncryptionContext"]
    source, ciphertext = api.keys.use_for_blob(call, text_of_blob)
    wanted: str = given["DestinationKeyId"] or source.row.key_id
    target = api.keys.use(call, wanted)
    if target.key.usage is not KeyUsage.ENCRYPT_DECRYPT:
        raise KeyUsageMismatch("the destination key is for another purpose")
    plaintext = source.key.decrypt(ciphertext, context=source_context)
    same_key = wanted == source.row.key_id
    if same_key and source_context == new_context:
        version = blob.version_of(ciphertext)
        if version is not None and version == target.key.describe().version:
            return _re_encrypted(text_of_blob, wanted, wanted, changed=False)
    sealed = target.key.encrypt(plaintext, context=new_context)
    return _re_encrypted(blob.seal(target.head, sealed), wanted, source.row.key_id, changed=True)


def _re_encrypted(text_of_blob: str, key_id: str, source: str, *, changed: bool) -> dict[str, Any]:
    return {
        "CiphertextBlob": text_of_blob,
        "KeyId": key_id,
        "SourceKeyId": source,
        "ReEncrypted": changed,
    }


def generate_random(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Random bytes of the key store's own generator."""
    call.caller.require(call.action)
    return {"Plaintext": encoded(api.kms.generate_random(given["NumberOfBytes"]))}


def _destination(value: Any) -> str:
    return "" if value == "" else str(KEY_ID(value))


CONTEXT: Final = Field("EncryptionContext", context, default=EMPTY)
_CIPHERTEXT: Final = Field("CiphertextBlob", BLOB, required=True)

_PLAINTEXT: Final = Field(
    "Plaintext", base64_data(1, MAX_PLAINTEXT, code=errors.INVALID_PLAINTEXT), required=True
)

ACTIONS: Final = table(
    ("Encrypt", [KEY, _PLAINTEXT, CONTEXT], encrypt),
    ("Decrypt", [_CIPHERTEXT, CONTEXT, *RECIPIENT], decrypt),
    (
        "ReEncrypt",
        [
            _CIPHERTEXT,
            Field("DestinationKeyId", _destination, default=""),
            Field("SourceEncryptionContext", context, default=EMPTY),
            Field("DestinationEncryptionContext", context, default=EMPTY),
        ],
        re_encrypt,
    ),
    (
        "GenerateRandom",
        [Field("NumberOfBytes", number(1, MAX_RANDOM), required=True)],
        generate_random,
    ),
)
