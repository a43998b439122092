"""What users hold of a key: its operations, checked before they leave the process."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    KeyUsage,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
    parse,
)
from kmscore.capabilities import Feature
from kmscore.checks import require_bytes, require_days, require_length, require_text
from kmscore.context import EMPTY, EncryptionContext
from kmscore.errors import InvalidRequest, KeyUsageMismatch, LimitExceeded, Unsupported
from kmscore.gate import Gate, interface
from kmscore.retry import Replay
from kmscore.spi import Asymmetric, KeyImporter, KeyManager, Signer, Symmetric

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmscore.capabilities import Capabilities, Limits
    from kmscore.context import ContextLike
    from kmscore.public_key import PublicKey
    from kmscore.signing import Signable
    from kmscore.spi import DataKey, ImportParameters, KeyInfo, Provider

Result = TypeVar("Result")
Interface = TypeVar("Interface")
Scheme = TypeVar("Scheme", SigningAlgorithm, EncryptionAlgorithm)

_INSTEAD: Final = {
    KeyUsage.ENCRYPT_DECRYPT: "It encrypts and decrypts",
    KeyUsage.ASYMMETRIC_DECRYPT: "It decrypts what public_key().encrypt() encrypted",
    KeyUsage.SIGN_VERIFY: "It signs and verifies",
}


class Key:
    """A key of an open provider; made by `Kms.key` and `Kms.create_key`.

    What the key cannot do by its kind is refused here; whether its state allows an operation, the
    provider knows, at every call.

    Attributes:
        key_id: The provider's id of the key.
        spec: What it is made of.
        usage: What it is for.
        origin: Made by the provider, or imported.
    """

    def __init__(
        self, gate: Gate, provider: Provider, capabilities: Capabilities, info: KeyInfo
    ) -> None:
        self.key_id = info.key_id
        self.spec = info.spec
        self.usage = info.usage
        self.origin = info.origin
        self._gate = gate
        self._provider = provider
        self._limits = capabilities.limits
        self._features = capabilities.features
        self._wrapping = capabilities.wrapping
        self._capabilities = capabilities
        self._schemes: frozenset[SigningAlgorithm | EncryptionAlgorithm] | None = None
        self._spki: bytes | None = None

    @property
    def provider_name(self) -> str:
        """The configured name of the key's provider."""
        return self._gate.provider

    @property
    def limits(self) -> Limits:
        """Sizes that the provider allows."""
        return self._limits

    # --- Symmetric ---------------------------------------------------------------------------

    def encrypt(self, plaintext: bytes, *, context: ContextLike = None) -> bytes:
        """Encrypt a small secret under the key itself.

        Args:
            plaintext: 1 to 4096 bytes. For more, use envelope encryption.
            context: Bound to the ciphertext, not secret, needed again to decrypt; at most 1024
                characters as JSON.

        Raises:
            LimitExceeded: The plaintext is too large.
            KeyStateError: The key is not enabled.
        """
        cipher = self._symmetric("encrypt")
        size = len(require_bytes(plaintext, "plaintext"))
        if size > self._limits.plaintext:
            raise LimitExceeded(
                f"the plaintext has {size} bytes",
                hint=f"At most {self._limits.plaintext}; use envelope encryption for more",
                operation="encrypt",
                key=self.key_id,
            )
        checked = EncryptionContext.of(context)
        return self._run("encrypt", Replay.SAFE, cipher.encrypt, plaintext, checked, bound=checked)

    def decrypt(
        self,
        ciphertext: bytes,
        *,
        context: ContextLike = None,
        algorithm: EncryptionAlgorithm | str | None = None,
    ) -> bytes:
        """Open a ciphertext with this key.

        Args:
            ciphertext: What `encrypt` returned, or for an ASYMMETRIC_DECRYPT key what was
                encrypted for its public key (SM2: DER).
            context: The context of the encryption; symmetric keys only.
            algorithm: How it was encrypted; asymmetric keys only, by default
                RSAES_OAEP_SHA_256 or SM2.

        Raises:
            CiphertextInvalid: For every reason that lies in ciphertext, key or context.
            KeyStateError: The key's state forbids it.
        """
        require_bytes(ciphertext, "ciphertext")
        if self.usage is KeyUsage.ASYMMETRIC_DECRYPT:
            if context:
                raise InvalidRequest("public-key encryption has no context", key=self.key_id)
            scheme = self._scheme(EncryptionAlgorithm, algorithm, TRAITS[self.spec].encryption)
            pair = self._spi(Asymmetric)
            return self._run(
                "asymmetric_decrypt", Replay.SAFE, pair.asymmetric_decrypt, scheme, ciphertext
            )
        cipher = self._symmetric("decrypt")
        if algorithm is not None:
            raise InvalidRequest("a symmetric key takes no algorithm", key=self.key_id)
        checked = EncryptionContext.of(context)
        return self._run(
            "decrypt", Replay.SAFE, cipher.decrypt, ciphertext, checked, bound=checked
        ).plaintext

    def generate_data_key(
        self,
        spec: KeySpec | str = KeySpec.AES_256,
        *,
        length: int | None = None,
        context: ContextLike = None,
    ) -> DataKey:
        """A fresh key for data, in clear and encrypted under this key.

        Args:
            spec: AES_128, AES_256 or SM4.
            length: Bytes, 1 to 1024, instead of a spec.
            context: As in `encrypt`; needed again to decrypt the data key.
        """
        cipher = self._symmetric("generate_data_key")
        if length is None:
            parsed = parse(KeySpec, spec, "data key spec")
            if not TRAITS[parsed].is_symmetric:
                raise InvalidRequest(f"a data key cannot be {parsed}", hint="Use AES_256 or SM4")
            length = TRAITS[parsed].bits // 8
        require_length(length, self._limits.data_key, "data key")
        checked = EncryptionContext.of(context)
        return self._run(
            "generate_data_key",
            Replay.SAFE,
            cipher.generate_data_key,
            length,
            checked,
            bound=checked,
        )

    # --- Key pairs ---------------------------------------------------------------------------

    def public_key(self) -> PublicKey:
        """The public half, which encrypts and verifies on this machine.

        Raises:
            KeyUsageMismatch: The key is symmetric.
            KeyStateError: The key is not enabled.
        """
        if self.usage is KeyUsage.ENCRYPT_DECRYPT:
            raise self._mismatch("public_key")
        from kmscore.public_key import PublicKey

        pair = self._spi(Asymmetric)
        return PublicKey.from_der(self._run("public_key", Replay.SAFE, pair.public_key))

    def sign(self, data: Signable, *, algorithm: SigningAlgorithm | str | None = None) -> bytes:
        """Sign a message or a digest.

        Args:
            data: `Message` or `Digest`. A message that is too long for the provider is hashed
                here, and its digest signed.
            algorithm: By default the recommended one of the key's spec.

        Returns:
            The signature; DER for ECDSA and SM2.

        Raises:
            KeyStateError: The key is not enabled.
        """
        scheme, data = self._signable("sign", data, algorithm)
        return self._run("sign", Replay.SAFE, self._spi(Signer).sign, scheme, data)

    def verify(
        self,
        data: Signable,
        signature: bytes,
        *,
        algorithm: SigningAlgorithm | str | None = None,
    ) -> bool:
        """Have the provider check a signature; `public_key` gives what checks it locally.

        Returns:
            False for a wrong or malformed signature. An error means that it was not checked.
        """
        scheme, data = self._signable("verify", data, algorithm)
        if signature == b"":
            return False
        require_bytes(signature, "signature")
        return self._run("verify", Replay.SAFE, self._spi(Signer).verify, scheme, data, signature)

    # --- Bring your own key ------------------------------------------------------------------

    def import_parameters(
        self, wrapping: WrappingAlgorithm | str = WrappingAlgorithm.RSAES_OAEP_SHA_256
    ) -> ImportParameters:
        """A wrapping key and a token for the owner of the material; older ones become invalid."""
        importer = self._importer("get_import_parameters")
        chosen = parse(WrappingAlgorithm, wrapping, "wrapping algorithm")
        if chosen not in self._wrapping:
            raise Unsupported(
                f"the provider does not unwrap {chosen}",
                hint=f"It unwraps {', '.join(sorted(self._wrapping)) or 'nothing'}",
                key=self.key_id,
            )
        # A replay would invalidate an answer that arrives late.
        return self._run(
            "get_import_parameters", Replay.UNSAFE, importer.get_import_parameters, chosen
        )

    def import_material(
        self, wrapped: bytes, token: bytes, *, valid_to: datetime | None = None
    ) -> None:
        """Hand in wrapped material; the key is enabled.

        Args:
            wrapped: The material, encrypted once under the wrapping key.
            token: The token that came with the wrapping key.
            valid_to: When the material expires: an aware time, or None for never.

        Raises:
            ImportTokenExpired: The token is too old, or newer parameters were issued.
            ImportMaterialInvalid: It does not unwrap, or has the wrong length.
            MaterialMismatch: The key once held other material.
        """
        importer = self._importer("import_key_material")
        require_bytes(wrapped, "wrapped material")
        require_bytes(token, "import token")
        if valid_to is not None:
            # Callers without a type checker pass numbers and strings.
            if not isinstance(valid_to, datetime) or valid_to.tzinfo is None:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidRequest("valid_to has no time zone", hint="Give an aware datetime")
            if Feature.MATERIAL_EXPIRY not in self._features:
                raise Unsupported("imported material does not expire at this provider")
            valid_to = valid_to.astimezone(UTC)
        # The same material under the same token has the same effect, however often it arrives.
        self._run(
            "import_key_material",
            Replay.SAFE,
            importer.import_key_material,
            wrapped,
            token,
            valid_to,
        )

    def delete_material(self) -> None:
        """Have the provider forget imported material; the key then waits for the same again."""
        importer = self._importer("delete_key_material")
        self._run("delete_key_material", Replay.UNSAFE, importer.delete_key_material)

    # --- Life cycle --------------------------------------------------------------------------

    def describe(self) -> KeyInfo:
        """What is known of the key now."""
        return self._run("describe_key", Replay.SAFE, self._spi(KeyManager).describe_key)

    def enable(self) -> None:
        """Allow the use of a disabled key again."""
        self._run("enable_key", Replay.SAFE, self._spi(KeyManager).enable_key)

    def disable(self) -> None:
        """Forbid every use until `enable`."""
        self._run("disable_key", Replay.SAFE, self._spi(KeyManager).disable_key)

    def schedule_deletion(self, days: int) -> datetime:
        """Have a disabled key destroyed after a waiting time.

        Args:
            days: 7 to 30.

        Returns:
            When it will be destroyed.

        Raises:
            KeyStateError: The key is not disabled.
        """
        self._require_feature(Feature.DELETION, "schedule_key_deletion")
        require_days(days, self._limits.deletion_days, "waiting time")
        manager = self._spi(KeyManager)
        return self._run(
            "schedule_key_deletion", Replay.UNSAFE, manager.schedule_key_deletion, days
        )

    def cancel_deletion(self) -> None:
        """Keep a key that is pending deletion; it stays disabled."""
        self._require_feature(Feature.DELETION, "cancel_key_deletion")
        manager = self._spi(KeyManager)
        self._run("cancel_key_deletion", Replay.UNSAFE, manager.cancel_key_deletion)

    def set_alias(self, alias: str) -> None:
        """Give the key another name.

        Raises:
            AlreadyExists: Another key has it.
        """
        self._require_feature(Feature.ALIASES, "set_alias")
        name = require_text(alias, "alias")
        self._run("set_alias", Replay.SAFE, self._spi(KeyManager).set_alias, name)

    def set_description(self, description: str) -> None:
        """Replace the free text."""
        text = require_text(description, "description")
        self._run("set_description", Replay.SAFE, self._spi(KeyManager).set_description, text)

    def rotate(self) -> None:
        """Make a new version now; the old ones go on decrypting. Sent once, whatever happens."""
        self._require_feature(Feature.ROTATION, "rotate_key")
        self._require_rotatable("rotate_key")
        self._run("rotate_key", Replay.NEVER, self._spi(KeyManager).rotate_key)

    def set_rotation(self, days: int | None) -> None:
        """Rotate every ``days`` days (7 to 365), or with None no more."""
        self._require_feature(Feature.ROTATION_SCHEDULE, "set_rotation")
        self._require_rotatable("set_rotation")
        if days is not None:
            require_days(days, self._limits.rotation_days, "rotation period")
        self._run("set_rotation", Replay.SAFE, self._spi(KeyManager).set_rotation, days)

    def archive(self) -> None:
        """Keep the key for decryption only."""
        self._require_feature(Feature.ARCHIVE, "archive_key")
        self._run("archive_key", Replay.UNSAFE, self._spi(KeyManager).archive_key)

    def restore(self) -> None:
        """Bring an archived key back to full use."""
        self._require_feature(Feature.ARCHIVE, "restore_key")
        self._run("restore_key", Replay.UNSAFE, self._spi(KeyManager).restore_key)

    def __repr__(self) -> str:
        return f"<Key {self.key_id} {self.spec} {self.usage}>"

    # --- Checks ------------------------------------------------------------------------------

    def require_usage(self, usage: KeyUsage, operation: str) -> None:
        """Refuse an operation that the key is not for.

        Raises:
            KeyUsageMismatch: The key's usage is another.
        """
        if self.usage is not usage:
            raise self._mismatch(operation)

    def _mismatch(self, operation: str) -> KeyUsageMismatch:
        return KeyUsageMismatch(
            f"a key of {self.spec} for {self.usage} cannot do that",
            hint=_INSTEAD[self.usage],
            provider=self._gate.provider,
            operation=operation,
            key=self.key_id,
        )

    def _run(
        self,
        operation: str,
        replay: Replay,
        call: Callable[..., Result],
        *arguments: Any,
        bound: EncryptionContext = EMPTY,
    ) -> Result:
        return self._gate.run(
            operation, self.key_id, replay, call, self.key_id, *arguments, context=bound
        )

    def _spi(self, kind: type[Interface]) -> Interface:
        return interface(self._provider, kind, self._gate.provider)

    def _symmetric(self, operation: str) -> Symmetric:
        if self.usage is not KeyUsage.ENCRYPT_DECRYPT:
            raise self._mismatch(operation)
        return self._spi(Symmetric)

    def _importer(self, operation: str) -> KeyImporter:
        if self.origin is not Origin.EXTERNAL:
            raise InvalidRequest(
                "the key's material was generated, not imported",
                hint="Create a key with origin EXTERNAL",
                operation=operation,
                key=self.key_id,
            )
        return self._spi(KeyImporter)

    def _scheme(
        self,
        kind: type[Scheme],
        wanted: Scheme | str | None,
        order: tuple[Scheme, ...],
    ) -> Scheme:
        if self._schemes is None:
            row = self._capabilities.find(self.spec, self.usage)
            self._schemes = row.algorithms if row else frozenset()
        if wanted is None:
            for scheme in order:
                if scheme in self._schemes:
                    return scheme
        else:
            chosen = parse(kind, wanted, "algorithm")
            if chosen in self._schemes:
                return chosen
        names = ", ".join(sorted(self._schemes)) or "none"
        asked = f"{wanted} with " if wanted else ""
        raise Unsupported(
            f"the provider cannot do {asked}a key of {self.spec} for {self.usage}",
            hint=f"Its algorithms: {names}",
            provider=self._gate.provider,
            key=self.key_id,
        )

    def _signable(
        self, operation: str, data: Signable, algorithm: SigningAlgorithm | str | None
    ) -> tuple[SigningAlgorithm, Signable]:
        from kmscore.signing import DEFAULT_SM2_USER_ID, Message, hash_message, require_digest

        self.require_usage(KeyUsage.SIGN_VERIFY, operation)
        scheme = self._scheme(SigningAlgorithm, algorithm, TRAITS[self.spec].signing)
        require_digest(data, scheme)
        if not isinstance(data, Message):
            return scheme, data
        limit = self._limits.message
        fits = limit is None or len(data.data) <= limit
        if scheme is SigningAlgorithm.SM2DSA and data.sm2_user_id != DEFAULT_SM2_USER_ID:
            fits = False
        if fits:
            return scheme, data
        if scheme.digest is None:
            raise LimitExceeded(
                f"the message has {len(data.data)} bytes, and {scheme} cannot sign a digest",
                hint=f"At most {limit} at this provider",
                operation=operation,
                key=self.key_id,
            )
        return scheme, hash_message(data, scheme, self._signer_key(scheme))

    def _signer_key(self, scheme: SigningAlgorithm) -> bytes:
        if scheme is not SigningAlgorithm.SM2DSA:
            return b""
        if self._spki is None:
            self._spki = self.public_key().der
        return self._spki

    def _require_feature(self, feature: Feature, operation: str) -> None:
        if feature not in self._features:
            raise Unsupported(
                f"the provider does not offer {feature}",
                hint="See what it offers with: kmscore providers",
                provider=self._gate.provider,
                operation=operation,
                key=self.key_id,
            )

    def _require_rotatable(self, operation: str) -> None:
        if self.usage is not KeyUsage.ENCRYPT_DECRYPT or self.origin is not Origin.GENERATED:
            raise Unsupported(
                "asymmetric and external keys do not rotate",
                hint="Create a new key, and move the alias",
                provider=self._gate.provider,
                operation=operation,
                key=self.key_id,
            )
