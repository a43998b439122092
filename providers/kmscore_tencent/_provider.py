"""The provider: each method of the SPI is one action of the service."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from kmscore.algorithms import (
    EncryptionAlgorithm,
    KeyState,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.errors import (
    AlreadyExists,
    CiphertextInvalid,
    ImportTokenExpired,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KmsError,
    Unsupported,
)
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
from kmscore_tencent import _keys
from kmscore_tencent._answers import Answer, bytes_of, text_from, text_of, time_of
from kmscore_tencent._chain import find_credentials
from kmscore_tencent._client import kms_client
from kmscore_tencent._endpoint import network_of, region_of
from kmscore_tencent._health import health_of
from kmscore_tencent._signatures import is_well_formed, message_fields
from kmscore_tencent._vocabulary import (
    ALGORITHMS,
    LAST_VALID_TO,
    MAX_SM2_CIPHERTEXT,
    USAGES,
    capabilities,
)

if TYPE_CHECKING:
    from datetime import datetime

    from kmscore.capabilities import Capabilities
    from kmscore.context import EncryptionContext
    from kmscore.plugin import Setting
    from kmscore.signing import Signable

_GENERATED, _EXTERNAL = 1, 2
"""`CreateKey.Type`, which is not the `Type` of the key's metadata."""

_MALFORMED: Final = frozenset({"InvalidParameter", "InvalidParameterValue", "MissingParameter"})


class TencentProvider(
    Provider, RandomSource, KeyManager, Symmetric, Asymmetric, Signer, KeyImporter
):
    """Keys in Tencent Cloud KMS, or in a server that speaks its API."""

    def __init__(self, setting: Setting) -> None:
        options = setting.options
        network = network_of(options, "endpoint")
        self._credentials = find_credentials(setting, network_of(options, "sts_endpoint"))
        self._clock = setting.clock
        self._edition: str = options["edition"]
        self._where = {
            "endpoint": f"{network.endpoint.scheme}://{network.endpoint.host}",
            "region": region_of(options),
        }
        self._client = kms_client(self._credentials, self._where["region"], network)
        self._capabilities = capabilities(self._edition, self._where)

    # --- Provider ----------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        """The table for the configured edition."""
        return self._capabilities

    def health(self) -> Health:
        """Asks the service for its status and its algorithms."""
        where = self._where | {"credentials": self._credentials.source}
        return health_of(self._client, self._edition, where)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._credentials.close()

    def generate_random(self, length: int) -> bytes:
        """Action ``GenerateRandom``."""
        return bytes_of(self._client.call("GenerateRandom", NumberOfBytes=length), "Plaintext")

    # --- KeyManager --------------------------------------------------------------------------

    def create_key(self, new: NewKey) -> KeyInfo:
        """Action ``CreateKey``. The service wants an alias: without one, a random one is made."""
        if self._capabilities.find(new.spec, new.usage) is None:
            raise Unsupported(f"the service has no {new.spec} keys for {new.usage}")
        external = new.origin is Origin.EXTERNAL
        answer = self._client.call(
            "CreateKey",
            Alias=new.alias or f"kmscore-{secrets.token_hex(8)}",
            Description=new.description or None,
            KeyUsage=USAGES[new.spec, new.usage],
            Type=_EXTERNAL if external else _GENERATED,
        )
        return KeyInfo(
            key_id=text_of(answer, "KeyId"),
            spec=new.spec,
            usage=new.usage,
            state=KeyState.PENDING_IMPORT if external else KeyState.ENABLED,
            origin=new.origin,
            alias=text_of(answer, "Alias"),
            created_at=time_of(answer, "CreateTime"),
            description=new.description,
            version=0 if external else 1,
        )

    def describe_key(self, ref: str) -> KeyInfo:
        """Action ``DescribeKey`` for an id; an alias is searched with ``ListKeyDetail``."""
        return _keys.find(self._client, ref)

    def list_keys(self, limit: int, cursor: str | None) -> KeyPage:
        """Action ``ListKeyDetail``, the oldest keys first, so that new ones come last."""
        return _keys.page(self._client, limit, cursor)

    def enable_key(self, key_id: str) -> None:
        """Action ``EnableKey``; an enabled key stays so."""
        self._switch("EnableKey", key_id, KeyState.ENABLED)

    def disable_key(self, key_id: str) -> None:
        """Action ``DisableKey``; a disabled key stays so."""
        self._switch("DisableKey", key_id, KeyState.DISABLED)

    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """Action ``ScheduleKeyDeletion``."""
        answer = self._call("ScheduleKeyDeletion", key_id, PendingWindowInDays=days)
        return time_of(answer, "DeletionDate")

    def cancel_key_deletion(self, key_id: str) -> None:
        """Action ``CancelKeyDeletion``."""
        self._call("CancelKeyDeletion", key_id)

    def set_alias(self, key_id: str, alias: str) -> None:
        """Action ``UpdateAlias``; a key that has the name already keeps it."""
        try:
            self._call("UpdateAlias", key_id, Alias=alias)
        except AlreadyExists:
            if _keys.describe(self._client, key_id).alias != alias:
                raise

    def set_description(self, key_id: str, description: str) -> None:
        """Action ``UpdateKeyDescription``."""
        self._call("UpdateKeyDescription", key_id, Description=description)

    def rotate_key(self, key_id: str) -> None:
        """Action ``RotateKey``; the service rotates soon, and at most once in 24 hours."""
        self._call("RotateKey", key_id)

    def set_rotation(self, key_id: str, days: int | None) -> None:
        """Action ``EnableKeyRotation`` or ``DisableKeyRotation``."""
        if days is None:
            self._call("DisableKeyRotation", key_id)
        else:
            self._call("EnableKeyRotation", key_id, RotateDays=days)

    def archive_key(self, key_id: str) -> None:
        """Action ``ArchiveKey``."""
        self._call("ArchiveKey", key_id)

    def restore_key(self, key_id: str) -> None:
        """Action ``CancelKeyArchive``."""
        self._call("CancelKeyArchive", key_id)

    # --- Symmetric ---------------------------------------------------------------------------

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Action ``Encrypt``; the ciphertext is the service's text, as ASCII bytes."""
        answer = self._call(
            "Encrypt",
            key_id,
            Plaintext=text_from(plaintext),
            EncryptionContext=context.json or None,
        )
        return text_of(answer, "CiphertextBlob").encode()

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """Action ``Decrypt``; the service finds the key by the ciphertext."""
        try:
            answer = self._client.call(
                "Decrypt",
                CiphertextBlob=_blob(ciphertext),
                EncryptionContext=context.json or None,
            )
        except (CiphertextInvalid, InvalidRequest, KeyNotFound) as error:
            raise _unreadable(error) from error
        except KeyStateError as error:
            self._tell_state(error, key_id)
            raise
        used = text_of(answer, "KeyId")
        if key_id is not None and used != key_id:
            raise CiphertextInvalid
        return Decrypted(used, bytes_of(answer, "Plaintext"))

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """Action ``GenerateDataKey``, not hosted."""
        answer = self._call(
            "GenerateDataKey",
            key_id,
            NumberOfBytes=length,
            EncryptionContext=context.json or None,
        )
        return DataKey(
            key_id,
            bytearray(bytes_of(answer, "Plaintext")),
            text_of(answer, "CiphertextBlob").encode(),
        )

    def re_encrypt(
        self,
        ciphertext: bytes,
        source: EncryptionContext,
        key_id: str,
        context: EncryptionContext,
    ) -> bytes:
        """Action ``ReEncrypt``: the plaintext stays inside the service."""
        try:
            answer = self._client.call(
                "ReEncrypt",
                CiphertextBlob=_blob(ciphertext),
                DestinationKeyId=key_id,
                SourceEncryptionContext=source.json or None,
                DestinationEncryptionContext=context.json or None,
            )
        except (CiphertextInvalid, InvalidRequest) as error:
            raise _unreadable(error) from error
        except KeyNotFound as error:
            # The target's absence is told, the source's is a matter of the ciphertext.
            _keys.describe(self._client, key_id)
            raise _unreadable(error) from error
        if not answer.get("ReEncrypted") and source != context:
            # Under the same key version the service keeps the old ciphertext, old context included.
            return super().re_encrypt(ciphertext, source, key_id, context)
        return text_of(answer, "CiphertextBlob").encode()

    # --- Asymmetric and Signer ---------------------------------------------------------------

    def public_key(self, key_id: str) -> bytes:
        """Action ``GetPublicKey``."""
        return bytes_of(self._call("GetPublicKey", key_id), "PublicKey")

    def asymmetric_decrypt(
        self, key_id: str, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """Action ``AsymmetricRsaDecrypt`` or ``AsymmetricSm2Decrypt``."""
        action, fields = "AsymmetricRsaDecrypt", {"Algorithm": algorithm.value}
        if algorithm is EncryptionAlgorithm.SM2:
            action, fields = "AsymmetricSm2Decrypt", {}
            if len(ciphertext) > MAX_SM2_CIPHERTEXT:
                raise CiphertextInvalid(hint="The service takes SM2 ciphertexts up to 256 bytes")
        try:
            answer = self._call(action, key_id, Ciphertext=text_from(ciphertext), **fields)
        except (CiphertextInvalid, InvalidRequest) as error:
            raise _unreadable(error) from error
        return bytes_of(answer, "Plaintext")

    def sign(self, key_id: str, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """Action ``SignByAsymmetricKey``."""
        answer = self._call(
            "SignByAsymmetricKey",
            key_id,
            Algorithm=ALGORITHMS[algorithm],
            **message_fields(data, algorithm, lambda: self.public_key(key_id)),
        )
        return bytes_of(answer, "Signature")

    def verify(
        self, key_id: str, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Action ``VerifyByAsymmetricKey``; what is no signature at all is not sent."""
        if not is_well_formed(signature, algorithm):
            return False
        try:
            answer = self._call(
                "VerifyByAsymmetricKey",
                key_id,
                Algorithm=ALGORITHMS[algorithm],
                SignatureValue=text_from(signature),
                **message_fields(data, algorithm, lambda: self.public_key(key_id)),
            )
        except InvalidRequest:
            # All else that was sent is known to be right.
            return False
        return answer.get("SignatureValid") is True

    # --- KeyImporter -------------------------------------------------------------------------

    def get_import_parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """Action ``GetParametersForImport``, with an RSA-2048 wrapping key."""
        answer = self._call(
            "GetParametersForImport",
            key_id,
            WrappingAlgorithm=wrapping.value,
            WrappingKeySpec="RSA_2048",
        )
        return ImportParameters(
            key_id,
            wrapping,
            bytes_of(answer, "PublicKey"),
            text_of(answer, "ImportToken").encode(),
            time_of(answer, "ParametersValidTo"),
        )

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Action ``ImportKeyMaterial``; the end of the material is told in whole seconds."""
        end = int(valid_to.timestamp()) if valid_to else 0
        if valid_to and not self._clock() < end <= LAST_VALID_TO:
            raise InvalidRequest(
                "the end of the material is past, or too far ahead", hint="Use a time before 2038"
            )
        try:
            self._call(
                "ImportKeyMaterial",
                key_id,
                EncryptedKeyMaterial=text_from(wrapped),
                ImportToken=token.decode("ascii", "replace"),
                ValidTo=end,
            )
        except InvalidRequest as error:
            if error.code not in _MALFORMED:
                raise
            # All else that was sent is known to be well-formed.
            raise ImportTokenExpired(
                "this is no import token of the key",
                hint="Fetch new import parameters",
                code=error.code,
                request_id=error.request_id,
            ) from error

    def delete_key_material(self, key_id: str) -> None:
        """Action ``DeleteImportedKeyMaterial``."""
        self._call("DeleteImportedKeyMaterial", key_id)

    # --- Inside ------------------------------------------------------------------------------

    def _call(self, action: str, key_id: str, **fields: Any) -> Answer:
        """An action on a key."""
        try:
            return self._client.call(action, KeyId=key_id, **fields)
        except KeyStateError as error:
            self._tell_state(error, key_id)
            raise

    def _tell_state(self, error: KeyStateError, key_id: str | None) -> None:
        """Find out which state forbids it, where the service says no more than that one does."""
        if not error.state and key_id is not None:
            with suppress(KmsError):
                error.state = _keys.describe(self._client, key_id).state.value

    def _switch(self, action: str, key_id: str, goal: KeyState) -> None:
        try:
            self._call(action, key_id)
        except KeyStateError as error:
            # The service may refuse to enable an enabled key: what counts is where it stands.
            if error.state != goal:
                raise


def _unreadable(error: KmsError) -> CiphertextInvalid:
    """What lies in the ciphertext is one error, whichever code the service has for it."""
    return CiphertextInvalid(request_id=error.request_id)


def _blob(ciphertext: bytes) -> str:
    if not ciphertext.isascii():
        raise CiphertextInvalid
    return ciphertext.decode()
