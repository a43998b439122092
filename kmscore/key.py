"""What users hold of a key: its operations, checked before they leave the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    KeyUsage,
    SigningAlgorithm,
    parse,
)
from kmscore.checks import require_bytes, require_length
from kmscore.context import EncryptionContext
from kmscore.errors import InvalidRequest, LimitExceeded, Unsupported
from kmscore.lifecycle import KeyLife
from kmscore.retry import Replay
from kmscore.spi import Asymmetric, Signer, Symmetric

if TYPE_CHECKING:
    from kmscore.capabilities import Capabilities
    from kmscore.context import ContextLike
    from kmscore.gate import Gate
    from kmscore.public_key import PublicKey
    from kmscore.signing import Signable
    from kmscore.spi import DataKey, KeyInfo, Provider

Scheme = TypeVar("Scheme", SigningAlgorithm, EncryptionAlgorithm)

# Looked up once: before Python 3.12, each look at a member of an enum is a call.
_SAFE: Final = Replay.SAFE
_ENCRYPT_DECRYPT: Final = KeyUsage.ENCRYPT_DECRYPT


class Key(KeyLife):
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
        super().__init__(gate, provider, capabilities, info)
        self._schemes: frozenset[SigningAlgorithm | EncryptionAlgorithm] | None = None
        self._spki: bytes | None = None

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
            error = LimitExceeded(
                f"the plaintext has {size} bytes",
                hint=f"At most {self._limits.plaintext}; use envelope encryption for more",
            )
            raise self._refusal(error, "encrypt")
        checked = EncryptionContext.of(context)
        # What is called most goes to the gate at once: `_run` would pack the arguments once more.
        arguments = (self.key_id, plaintext, checked)
        return self._gate.run("encrypt", self.key_id, _SAFE, cipher.encrypt, arguments, checked)

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
                error = InvalidRequest("public-key encryption has no context")
                raise self._refusal(error, "asymmetric_decrypt")
            scheme = self._scheme(
                EncryptionAlgorithm,
                algorithm,
                TRAITS[self.spec].encryption,
                "asymmetric_decrypt",
            )
            pair = self._spi(Asymmetric)
            return self._run(
                "asymmetric_decrypt", _SAFE, pair.asymmetric_decrypt, scheme, ciphertext
            )
        cipher = self._symmetric("decrypt")
        if algorithm is not None:
            error = InvalidRequest("a symmetric key takes no algorithm")
            raise self._refusal(error, "decrypt")
        checked = EncryptionContext.of(context)
        arguments = (self.key_id, ciphertext, checked)
        return self._gate.run(
            "decrypt", self.key_id, _SAFE, cipher.decrypt, arguments, checked
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
                raise InvalidRequest(
                    f"a data key cannot be {parsed}", hint="Use AES_256, AES_128 or SM4"
                )
            length = TRAITS[parsed].bits // 8
        require_length(length, self._limits.data_key, "data key")
        checked = EncryptionContext.of(context)
        return self._run(
            "generate_data_key",
            _SAFE,
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
        if self.usage is _ENCRYPT_DECRYPT:
            raise self._mismatch("public_key")
        from kmscore.public_key import PublicKey

        pair = self._spi(Asymmetric)
        return PublicKey.from_der(self._run("public_key", _SAFE, pair.public_key))

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
        arguments = (self.key_id, scheme, data)
        return self._gate.run("sign", self.key_id, _SAFE, self._spi(Signer).sign, arguments)

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
        return self._run("verify", _SAFE, self._spi(Signer).verify, scheme, data, signature)

    # --- Checks ------------------------------------------------------------------------------

    def _symmetric(self, operation: str) -> Symmetric:
        if self.usage is not _ENCRYPT_DECRYPT:
            raise self._mismatch(operation)
        return self._spi(Symmetric)

    def _scheme(
        self,
        kind: type[Scheme],
        wanted: Scheme | str | None,
        order: tuple[Scheme, ...],
        operation: str,
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
        error = Unsupported(
            f"the provider cannot do {asked}a key of {self.spec} for {self.usage}",
            hint=f"Its algorithms: {names}",
        )
        raise self._refusal(error, operation)

    def _signable(
        self, operation: str, data: Signable, algorithm: SigningAlgorithm | str | None
    ) -> tuple[SigningAlgorithm, Signable]:
        from kmscore.signing import DEFAULT_SM2_USER_ID, Message, hash_message, require_digest

        self.require_usage(KeyUsage.SIGN_VERIFY, operation)
        scheme = self._scheme(SigningAlgorithm, algorithm, TRAITS[self.spec].signing, operation)
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
            error = LimitExceeded(
                f"the message has {len(data.data)} bytes, and {scheme} cannot sign a digest",
                hint=f"At most {limit} at this provider",
            )
            raise self._refusal(error, operation)
        return scheme, hash_message(data, scheme, self._signer_key(scheme))

    def _signer_key(self, scheme: SigningAlgorithm) -> bytes:
        if scheme is not SigningAlgorithm.SM2DSA:
            return b""
        if self._spki is None:
            self._spki = self.public_key().der
        return self._spki
