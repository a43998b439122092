"""The provider: each method one or two calls of the AWS KMS API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from kmscore.algorithms import KeySpec, KeyState, KeyUsage, Origin
from kmscore.capabilities import Capabilities, Feature, KeyKind, Limits
from kmscore.errors import (
    AlreadyExists,
    CiphertextInvalid,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KmsError,
    Unsupported,
)
from kmscore.signing import Digest, hash_message
from kmscore.spi import (
    Asymmetric,
    DataKey,
    Decrypted,
    Health,
    KeyInfo,
    KeyManager,
    KeyPage,
    NewKey,
    Provider,
    RandomSource,
    Signer,
    Symmetric,
)
from kmscore_aws import _vocabulary as words
from kmscore_aws._client import Client
from kmscore_aws._errors import NamesNoKey

if TYPE_CHECKING:
    from kmscore.algorithms import EncryptionAlgorithm, SigningAlgorithm
    from kmscore.context import EncryptionContext
    from kmscore.plugin import Setting
    from kmscore.signing import Signable

_ALIAS: Final = "alias/"
_PAGE: Final = 1000
_MESSAGE: Final = 4096


def _kinds() -> tuple[KeyKind, ...]:
    kinds = [KeyKind(KeySpec.AES_256, KeyUsage.ENCRYPT_DECRYPT)]
    for spec in words.SPECS:
        standard = KeyKind.standard(spec, KeyUsage.SIGN_VERIFY)
        if standard.algorithms:
            kinds.append(standard)
    return tuple(kinds)


class AwsProvider(Provider, RandomSource, KeyManager, Symmetric, Asymmetric, Signer):
    """Keys in AWS KMS. Key ids are those of AWS; aliases are shown without ``alias/``."""

    def __init__(self, setting: Setting) -> None:
        self._client = Client(setting)

    # --- Provider ----------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        """What was tried; AWS itself can do more."""
        return Capabilities(
            keys=_kinds(),
            features=frozenset(
                {
                    Feature.ALIASES,
                    Feature.DATA_KEYS,
                    Feature.DELETION,
                    Feature.RANDOM,
                    Feature.RE_ENCRYPT,
                }
            ),
            limits=Limits(message=_MESSAGE),
            notes={"region": self._client.region},
        )

    def health(self) -> Health:
        """Asks for one key."""
        details = {"endpoint": self._client.endpoint, "region": self._client.region}
        try:
            self._client.call("list_keys", Limit=1)
        except KmsError as error:
            return Health(ok=False, message=str(error), details=details, error=error)
        return Health(ok=True, message="AWS KMS answers", details=details)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def generate_random(self, length: int) -> bytes:
        """From AWS's generator."""
        return bytes(self._client.call("generate_random", NumberOfBytes=length)["Plaintext"])

    # --- Keys --------------------------------------------------------------------------------

    def create_key(self, new: NewKey) -> KeyInfo:
        """A key, and then its alias: AWS has no call for both."""
        if new.spec not in words.SPECS or new.origin is not Origin.GENERATED:
            raise Unsupported(f"no {new.origin} {new.spec} keys here", hint="See the table of keys")
        if new.alias is not None:
            self._require_free(new.alias)
        answer = self._client.call(
            "create_key",
            KeySpec=words.SPECS[new.spec],
            KeyUsage=words.USAGES[new.usage],
            Description=new.description,
        )
        info = _info(answer["KeyMetadata"], new.alias)
        if new.alias is not None:
            try:
                self._client.call(
                    "create_alias", AliasName=_ALIAS + new.alias, TargetKeyId=info.key_id
                )
            except KmsError:
                # Nobody else knows the key: without its name it would be forgotten, and paid for.
                self._client.call("schedule_key_deletion", KeyId=info.key_id, PendingWindowInDays=7)
                raise
        return info

    def describe_key(self, ref: str) -> KeyInfo:
        """By id, or by alias."""
        metadata = self._metadata(ref)
        return _info(metadata, self._alias_of(metadata["KeyId"]))

    def list_keys(self, limit: int, cursor: str | None) -> KeyPage:
        """In AWS's order; one call more for each key, since a listing holds ids alone."""
        parameters: dict[str, Any] = {"Limit": min(limit, _PAGE)}
        if cursor is not None:
            parameters["Marker"] = cursor
        answer = self._client.call("list_keys", **parameters)
        found: list[KeyInfo] = []
        for entry in answer["Keys"]:
            metadata = self._metadata(entry["KeyId"])
            if metadata["KeyManager"] == "CUSTOMER" and metadata["KeySpec"] in words.SPEC_OF:
                found.append(_info(metadata, self._alias_of(entry["KeyId"])))
        return KeyPage(tuple(found), answer.get("NextMarker"))

    def enable_key(self, key_id: str) -> None:
        """From DISABLED alone."""
        if self._state(key_id, "enable_key") is KeyState.DISABLED:
            self._client.call("enable_key", KeyId=key_id)

    def disable_key(self, key_id: str) -> None:
        """From ENABLED alone."""
        if self._state(key_id, "disable_key") is KeyState.ENABLED:
            self._client.call("disable_key", KeyId=key_id)

    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """AWS would take an enabled key too; kmscore's rule is that it was disabled first."""
        state = _info(self._metadata(key_id), None).state
        if state is not KeyState.DISABLED:
            raise _state_error(key_id, state, "schedule_key_deletion", "Disable it first")
        answer = self._client.call("schedule_key_deletion", KeyId=key_id, PendingWindowInDays=days)
        return _utc(answer["DeletionDate"])

    def cancel_key_deletion(self, key_id: str) -> None:
        """The key is disabled afterwards."""
        state = _info(self._metadata(key_id), None).state
        if state is not KeyState.PENDING_DELETION:
            raise _state_error(key_id, state, "cancel_key_deletion", "It is not to be deleted")
        self._client.call("cancel_key_deletion", KeyId=key_id)

    def set_alias(self, key_id: str, alias: str) -> None:
        """The new name first, so that the key never has none."""
        old = self._alias_of(self._metadata(key_id)["KeyId"])
        if old == alias:
            return
        self._require_free(alias)
        self._client.call("create_alias", AliasName=_ALIAS + alias, TargetKeyId=key_id)
        if old is not None:
            self._client.call("delete_alias", AliasName=_ALIAS + old)

    def set_description(self, key_id: str, description: str) -> None:
        """Free text."""
        self._client.call("update_key_description", KeyId=key_id, Description=description)

    # --- Symmetric ---------------------------------------------------------------------------

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """AWS's ciphertext names its key."""
        answer = self._client.call(
            "encrypt", KeyId=key_id, Plaintext=plaintext, EncryptionContext=dict(context.items)
        )
        return bytes(answer["CiphertextBlob"])

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """With the key that the ciphertext names, which must be the one given."""
        named = {"KeyId": key_id} if key_id is not None else {}
        try:
            answer = self._client.call(
                "decrypt", CiphertextBlob=ciphertext, EncryptionContext=dict(context.items), **named
            )
        except (KeyNotFound, InvalidRequest, NamesNoKey) as error:
            # Whatever is wrong with a ciphertext is one and the same error.
            if key_id is not None and isinstance(error, KeyNotFound):
                self._metadata(key_id)
            raise CiphertextInvalid from error
        return Decrypted(_id(answer["KeyId"]), bytes(answer["Plaintext"]))

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """Made and encrypted by AWS."""
        answer = self._client.call(
            "generate_data_key",
            KeyId=key_id,
            NumberOfBytes=length,
            EncryptionContext=dict(context.items),
        )
        return DataKey(
            _id(answer["KeyId"]), bytearray(answer["Plaintext"]), bytes(answer["CiphertextBlob"])
        )

    def re_encrypt(
        self,
        ciphertext: bytes,
        source: EncryptionContext,
        key_id: str,
        context: EncryptionContext,
    ) -> bytes:
        """Inside of AWS: the plaintext does not come out."""
        try:
            answer = self._client.call(
                "re_encrypt",
                CiphertextBlob=ciphertext,
                SourceEncryptionContext=dict(source.items),
                DestinationKeyId=key_id,
                DestinationEncryptionContext=dict(context.items),
            )
        except NamesNoKey as error:
            raise CiphertextInvalid from error
        return bytes(answer["CiphertextBlob"])

    # --- Key pairs ---------------------------------------------------------------------------

    def public_key(self, key_id: str) -> bytes:
        """SubjectPublicKeyInfo in DER, as AWS gives it."""
        return bytes(self._client.call("get_public_key", KeyId=key_id)["PublicKey"])

    def asymmetric_decrypt(
        self, key_id: str, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """RSA-OAEP."""
        answer = self._client.call(
            "decrypt",
            KeyId=key_id,
            CiphertextBlob=ciphertext,
            EncryptionAlgorithm=words.ENCRYPTION[algorithm],
        )
        return bytes(answer["Plaintext"])

    def sign(self, key_id: str, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """RSA and ECDSA; AWS's ECDSA signatures are DER, and its PSS salts as long as the hash."""
        answer = self._client.call(
            "sign",
            KeyId=key_id,
            SigningAlgorithm=words.SIGNING[algorithm],
            **_input(data, algorithm),
        )
        return bytes(answer["Signature"])

    def verify(
        self, key_id: str, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """AWS answers a wrong signature with an error of its own."""
        try:
            answer = self._client.call(
                "verify",
                KeyId=key_id,
                SigningAlgorithm=words.SIGNING[algorithm],
                Signature=signature,
                **_input(data, algorithm),
            )
        except KmsError as error:
            if error.code == "KMSInvalidSignatureException":
                return False
            raise
        return bool(answer["SignatureValid"])

    # --- Inside ------------------------------------------------------------------------------

    def _metadata(self, ref: str) -> dict[str, Any]:
        try:
            answer = self._client.call("describe_key", KeyId=ref)
        except KeyNotFound:
            answer = self._client.call("describe_key", KeyId=_ALIAS + ref)
        except InvalidRequest:
            # AWS calls what cannot be a key id malformed: then it is an alias, or nothing.
            answer = self._client.call("describe_key", KeyId=_ALIAS + ref)
        metadata: dict[str, Any] = answer["KeyMetadata"]
        return metadata

    def _alias_of(self, key_id: str) -> str | None:
        for entry in self._client.call("list_aliases", KeyId=key_id)["Aliases"]:
            return str(entry["AliasName"]).removeprefix(_ALIAS)
        return None

    def _require_free(self, alias: str) -> None:
        try:
            self._client.call("describe_key", KeyId=_ALIAS + alias)
        except KeyNotFound:
            return
        raise AlreadyExists(f"the alias {alias!r} is taken", hint="Choose another")

    def _state(self, key_id: str, operation: str) -> KeyState:
        state = _info(self._metadata(key_id), None).state
        if state not in (KeyState.ENABLED, KeyState.DISABLED):
            raise _state_error(key_id, state, operation, "See it with: kmscore keys show")
        return state


def _state_error(key_id: str, state: KeyState, operation: str, hint: str) -> KeyStateError:
    return KeyStateError(
        f"the key is {state}", state=state.value, hint=hint, operation=operation, key=key_id
    )


def _input(data: Signable, algorithm: SigningAlgorithm) -> dict[str, Any]:
    if not isinstance(data, Digest) and not data.data:
        # AWS takes no empty message, but its digest.
        data = hash_message(data, algorithm, b"")
    if isinstance(data, Digest):
        return {"Message": data.value, "MessageType": "DIGEST"}
    return {"Message": data.data, "MessageType": "RAW"}


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]


def _utc(when: datetime) -> datetime:
    return when.astimezone(UTC)


def _info(metadata: dict[str, Any], alias: str | None) -> KeyInfo:
    spec = words.SPEC_OF.get(metadata["KeySpec"])
    if spec is None:
        raise InvalidRequest(
            f"the key is a {metadata['KeySpec']}, which kmscore does not know",
            hint="Use a key of another spec",
            key=metadata["KeyId"],
        )
    if metadata["KeyUsage"] == "SIGN_VERIFY":
        usage = KeyUsage.SIGN_VERIFY
    elif spec is KeySpec.AES_256:
        usage = KeyUsage.ENCRYPT_DECRYPT
    else:
        usage = KeyUsage.ASYMMETRIC_DECRYPT
    deletion = metadata.get("DeletionDate")
    return KeyInfo(
        key_id=metadata["KeyId"],
        spec=spec,
        usage=usage,
        state=words.STATES.get(metadata["KeyState"], KeyState.DISABLED),
        origin=words.ORIGINS.get(metadata["Origin"], Origin.EXTERNAL),
        alias=alias,
        created_at=_utc(metadata["CreationDate"]),
        description=metadata.get("Description", ""),
        deletion_at=None if deletion is None else _utc(deletion),
        native={"arn": metadata["Arn"]},
    )
