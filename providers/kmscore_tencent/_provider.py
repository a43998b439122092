"""The provider: each method of the SPI is one action of the service."""

from __future__ import annotations

import binascii
import secrets
import uuid
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from kmscore.algorithms import (
    EncryptionAlgorithm,
    KeyState,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.encodings import signature_to_raw
from kmscore.errors import (
    CiphertextInvalid,
    InternalError,
    InvalidRequest,
    KeyStateError,
    KmsError,
)
from kmscore.signing import Digest
from kmscore.spi import (
    Asymmetric,
    DataKey,
    Decrypted,
    Health,
    ImportParameters,
    KeyImporter,
    KeyInfo,
    KeyManager,
    KeyPage,
    NewKey,
    Provider,
    RandomSource,
    Signer,
    Symmetric,
)
from kmscore_tencent._chain import find_credentials
from kmscore_tencent._client import Network, kms_client
from kmscore_tencent._endpoint import parse_endpoint
from kmscore_tencent._vocabulary import ALGORITHMS, USAGES, capabilities, is_known, key_info

if TYPE_CHECKING:
    from kmscore.capabilities import Capabilities
    from kmscore.context import EncryptionContext
    from kmscore.plugin import Setting
    from kmscore.signing import Signable

_GENERATED, _EXTERNAL = 1, 2
"""`CreateKey.Type`, which is not the `Type` of the key's metadata."""

_RSA_SIGNATURE_BYTES: Final = (256, 384)


class TencentProvider(
    Provider, RandomSource, KeyManager, Symmetric, Asymmetric, Signer, KeyImporter
):
    """Keys in Tencent Cloud KMS, or in a server that speaks its API."""

    def __init__(self, setting: Setting) -> None:
        options = setting.options
        endpoint = parse_endpoint(options["endpoint"])
        network = Network(
            endpoint, float(options["timeout"]), options.get("proxy"), options.get("ca_file")
        )
        credentials = find_credentials(setting, network)
        self._credentials = credentials.source
        self._endpoint = f"{endpoint.scheme}://{endpoint.host}"
        self._region = str(options["region"])
        self._client = kms_client(credentials, self._region, network)
        self._capabilities = capabilities(
            options["edition"], {"endpoint": self._endpoint, "region": self._region}
        )

    # --- Provider ----------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        """The table for the configured edition."""
        return self._capabilities

    def health(self) -> Health:
        """Asks the service for its status (action ``GetServiceStatus``)."""
        details = {
            "endpoint": self._endpoint,
            "region": self._region,
            "credentials": self._credentials,
        }
        try:
            status = self._client.call("GetServiceStatus")
        except KmsError as error:
            return Health(ok=False, message=str(error), details=details)
        if not status.get("ServiceEnabled"):
            return Health(ok=False, message="KMS is not enabled for the account", details=details)
        return Health(ok=True, message="the service answers", details=details)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def generate_random(self, length: int) -> bytes:
        """Action ``GenerateRandom``."""
        return _decode(self._client.call("GenerateRandom", NumberOfBytes=length), "Plaintext")

    # --- KeyManager --------------------------------------------------------------------------

    def create_key(self, new: NewKey) -> KeyInfo:
        """Action ``CreateKey``. The service wants an alias: without one, a random one is made."""
        answer = self._client.call(
            "CreateKey",
            Alias=new.alias or f"kmscore-{secrets.token_hex(8)}",
            Description=new.description or None,
            KeyUsage=USAGES[new.spec, new.usage],
            Type=_EXTERNAL if new.origin is Origin.EXTERNAL else _GENERATED,
        )
        created = KeyState.PENDING_IMPORT if new.origin is Origin.EXTERNAL else KeyState.ENABLED
        return KeyInfo(
            key_id=_text(answer, "KeyId"),
            spec=new.spec,
            usage=new.usage,
            state=created,
            origin=new.origin,
            alias=_text(answer, "Alias"),
            created_at=_time(answer, "CreateTime"),
            description=new.description,
            version=0 if new.origin is Origin.EXTERNAL else 1,
        )

    def describe_key(self, ref: str) -> KeyInfo:
        """Action ``DescribeKey`` for an id; an alias is searched with ``ListKeyDetail``."""
        if not _is_uuid(ref):
            found = self._find_alias(ref)
            if found is not None:
                return found
        return key_info(_table(self._client.call("DescribeKey", KeyId=ref), "KeyMetadata"))

    def list_keys(self, limit: int, cursor: str | None) -> KeyPage:
        """Action ``ListKeyDetail``, the oldest keys first, so that new ones come last."""
        offset = int(cursor or 0)
        answer = self._list(offset, min(limit, 200))
        entries = _tables(answer, "KeyMetadatas")
        after = offset + len(entries)
        more = bool(entries) and after < int(answer.get("TotalCount") or 0)
        keys = tuple(key_info(entry) for entry in entries if is_known(entry))
        return KeyPage(keys, str(after) if more else None)

    def enable_key(self, key_id: str) -> None:
        """Action ``EnableKey``; an enabled key stays so."""
        self._change("EnableKey", key_id, KeyState.ENABLED)

    def disable_key(self, key_id: str) -> None:
        """Action ``DisableKey``; a disabled key stays so."""
        self._change("DisableKey", key_id, KeyState.DISABLED)

    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """Action ``ScheduleKeyDeletion``."""
        answer = self._client.call("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=days)
        return _time(answer, "DeletionDate")

    def cancel_key_deletion(self, key_id: str) -> None:
        """Action ``CancelKeyDeletion``."""
        self._client.call("CancelKeyDeletion", KeyId=key_id)

    def set_alias(self, key_id: str, alias: str) -> None:
        """Action ``UpdateAlias``."""
        self._client.call("UpdateAlias", KeyId=key_id, Alias=alias)

    def set_description(self, key_id: str, description: str) -> None:
        """Action ``UpdateKeyDescription``."""
        self._client.call("UpdateKeyDescription", KeyId=key_id, Description=description)

    def rotate_key(self, key_id: str) -> None:
        """Action ``RotateKey``; the service rotates soon, and at most once in 24 hours."""
        self._client.call("RotateKey", KeyId=key_id)

    def set_rotation(self, key_id: str, days: int | None) -> None:
        """Action ``EnableKeyRotation`` or ``DisableKeyRotation``."""
        if days is None:
            self._client.call("DisableKeyRotation", KeyId=key_id)
        else:
            self._client.call("EnableKeyRotation", KeyId=key_id, RotateDays=days)

    def archive_key(self, key_id: str) -> None:
        """Action ``ArchiveKey``."""
        self._client.call("ArchiveKey", KeyId=key_id)

    def restore_key(self, key_id: str) -> None:
        """Action ``CancelKeyArchive``."""
        self._client.call("CancelKeyArchive", KeyId=key_id)

    # --- Symmetric ---------------------------------------------------------------------------

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Action ``Encrypt``; the ciphertext is the service's text, as ASCII bytes."""
        answer = self._client.call(
            "Encrypt",
            KeyId=key_id,
            Plaintext=_encode(plaintext),
            EncryptionContext=context.json or None,
        )
        return _text(answer, "CiphertextBlob").encode()

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """Action ``Decrypt``; the service finds the key by the ciphertext."""
        answer = self._client.call(
            "Decrypt",
            CiphertextBlob=_blob(ciphertext),
            EncryptionContext=context.json or None,
        )
        used = _text(answer, "KeyId")
        if key_id is not None and used != key_id:
            raise CiphertextInvalid
        return Decrypted(used, _decode(answer, "Plaintext"))

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """Action ``GenerateDataKey``, not hosted."""
        answer = self._client.call(
            "GenerateDataKey",
            KeyId=key_id,
            NumberOfBytes=length,
            EncryptionContext=context.json or None,
        )
        return DataKey(
            key_id,
            bytearray(_decode(answer, "Plaintext")),
            _text(answer, "CiphertextBlob").encode(),
        )

    def re_encrypt(
        self,
        ciphertext: bytes,
        source: EncryptionContext,
        key_id: str,
        context: EncryptionContext,
    ) -> bytes:
        """Action ``ReEncrypt``: the plaintext stays inside the service."""
        answer = self._client.call(
            "ReEncrypt",
            CiphertextBlob=_blob(ciphertext),
            DestinationKeyId=key_id,
            SourceEncryptionContext=source.json or None,
            DestinationEncryptionContext=context.json or None,
        )
        if not answer.get("ReEncrypted") and source != context:
            # Under the same key version the service keeps the old ciphertext, old context included.
            return super().re_encrypt(ciphertext, source, key_id, context)
        return _text(answer, "CiphertextBlob").encode()

    # --- Asymmetric and Signer ---------------------------------------------------------------

    def public_key(self, key_id: str) -> bytes:
        """Action ``GetPublicKey``."""
        return _decode(self._client.call("GetPublicKey", KeyId=key_id), "PublicKey")

    def asymmetric_decrypt(
        self, key_id: str, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """Action ``AsymmetricRsaDecrypt`` or ``AsymmetricSm2Decrypt``."""
        if algorithm is EncryptionAlgorithm.SM2:
            answer = self._client.call(
                "AsymmetricSm2Decrypt", KeyId=key_id, Ciphertext=_encode(ciphertext)
            )
        else:
            answer = self._client.call(
                "AsymmetricRsaDecrypt",
                KeyId=key_id,
                Ciphertext=_encode(ciphertext),
                Algorithm=algorithm.value,
            )
        return _decode(answer, "Plaintext")

    def sign(self, key_id: str, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """Action ``SignByAsymmetricKey``."""
        answer = self._client.call(
            "SignByAsymmetricKey",
            KeyId=key_id,
            Algorithm=ALGORITHMS[algorithm],
            **_message(data),
        )
        return _decode(answer, "Signature")

    def verify(
        self, key_id: str, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Action ``VerifyByAsymmetricKey``; what is no signature at all is not sent."""
        if not _well_formed(algorithm, signature):
            return False
        answer = self._client.call(
            "VerifyByAsymmetricKey",
            KeyId=key_id,
            Algorithm=ALGORITHMS[algorithm],
            SignatureValue=_encode(signature),
            **_message(data),
        )
        return answer.get("SignatureValid") is True

    # --- KeyImporter -------------------------------------------------------------------------

    def get_import_parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """Action ``GetParametersForImport``, with an RSA-2048 wrapping key."""
        answer = self._client.call(
            "GetParametersForImport",
            KeyId=key_id,
            WrappingAlgorithm=wrapping.value,
            WrappingKeySpec="RSA_2048",
        )
        return ImportParameters(
            key_id,
            wrapping,
            _decode(answer, "PublicKey"),
            _text(answer, "ImportToken").encode(),
            _time(answer, "ParametersValidTo"),
        )

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Action ``ImportKeyMaterial``."""
        self._client.call(
            "ImportKeyMaterial",
            KeyId=key_id,
            EncryptedKeyMaterial=_encode(wrapped),
            ImportToken=token.decode("ascii", "replace"),
            ValidTo=int(valid_to.timestamp()) if valid_to else 0,
        )

    def delete_key_material(self, key_id: str) -> None:
        """Action ``DeleteImportedKeyMaterial``."""
        self._client.call("DeleteImportedKeyMaterial", KeyId=key_id)

    # --- Inside ------------------------------------------------------------------------------

    def _list(self, offset: int, limit: int, **filters: Any) -> dict[str, Any]:
        return self._client.call(
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

    def _find_alias(self, alias: str) -> KeyInfo | None:
        offset = 0
        while True:
            # The search finds parts of names too: only the whole alias counts.
            answer = self._list(offset, 200, SearchKeyAlias=alias)
            entries = _tables(answer, "KeyMetadatas")
            for entry in entries:
                if entry.get("Alias") == alias:
                    return key_info(entry)
            offset += len(entries)
            if not entries or offset >= int(answer.get("TotalCount") or 0):
                return None

    def _change(self, action: str, key_id: str, goal: KeyState) -> None:
        try:
            self._client.call(action, KeyId=key_id)
        except KeyStateError:
            # The service may refuse to enable an enabled key: what counts is where it stands.
            if self.describe_key(key_id).state is not goal:
                raise


def _message(data: Signable) -> dict[str, str]:
    if isinstance(data, Digest):
        return {"Message": _encode(data.value), "MessageType": "DIGEST"}
    return {"Message": _encode(data.data), "MessageType": "RAW"}


def _well_formed(algorithm: SigningAlgorithm, signature: bytes) -> bool:
    if algorithm in (SigningAlgorithm.SM2DSA, SigningAlgorithm.ECDSA_SHA_256):
        try:
            signature_to_raw(signature, 32)
        except InvalidRequest:
            return False
        return True
    return len(signature) in _RSA_SIGNATURE_BYTES


def _encode(data: bytes) -> str:
    return b64encode(data).decode()


def _blob(ciphertext: bytes) -> str:
    if not ciphertext.isascii():
        raise CiphertextInvalid
    return ciphertext.decode()


def _decode(answer: dict[str, Any], field: str) -> bytes:
    try:
        return b64decode(_text(answer, field), validate=True)
    except binascii.Error as error:
        raise InternalError(f"the service's {field} is not base64") from error


def _text(answer: dict[str, Any], field: str) -> str:
    value = answer.get(field)
    if not isinstance(value, str):
        raise InternalError(f"the service's answer has no {field}")
    return value


def _table(answer: dict[str, Any], field: str) -> dict[str, Any]:
    value = answer.get(field)
    if not isinstance(value, dict):
        raise InternalError(f"the service's answer has no {field}")
    return cast("dict[str, Any]", value)


def _tables(answer: dict[str, Any], field: str) -> list[dict[str, Any]]:
    entries: list[Any] = answer.get(field) or []
    return [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]


def _time(answer: dict[str, Any], field: str) -> datetime:
    value = answer.get(field)
    if not isinstance(value, int):
        raise InternalError(f"the service's answer has no {field}")
    return datetime.fromtimestamp(value, UTC)


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
