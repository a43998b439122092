"""The provider: keys from the keystore, cryptography on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.capabilities import Capabilities, Feature
from kmscore.ciphertext import NONCE_BYTES, SUITE_OF, associated_data, header, parse
from kmscore.errors import (
    CiphertextInvalid,
    ImportMaterialInvalid,
    KeyNotFound,
    KeyStateError,
    KmsError,
    Unavailable,
    Unsupported,
)
from kmscore.registry import Material, Purpose, RegisteredKeys
from kmscore.spi import (
    Asymmetric,
    DataKey,
    Decrypted,
    Health,
    ImportParameters,
    KeyImporter,
    KeyInfo,
    KeyPage,
    NewKey,
    Provider,
    RandomSource,
    Signer,
    Symmetric,
)
from kmscore_software._keystore import Keystore
from kmscore_software._kinds import Kinds
from kmscore_software._ready import ReadyKeys
from kmscore_software._root import Root, root_of
from kmscore_software._symmetric import SymmetricKey, WrongTag, symmetric_key

if TYPE_CHECKING:
    from kmscore.context import EncryptionContext
    from kmscore.plugin import Secret, Setting
    from kmscore.registry.model import KeyRecord
    from kmscore.signing import Signable
    from kmscore.sm2 import Engine
    from kmscore_software._pairs import KeyPair, Verifier

TOKEN_BYTES: Final = 32

# Looked up once: before Python 3.12, each look at a member of an enum is a call.
_ENCRYPT: Final = Purpose.ENCRYPT
_DECRYPT: Final = Purpose.DECRYPT


class SoftwareProvider(
    Provider, RandomSource, RegisteredKeys, Symmetric, Asymmetric, Signer, KeyImporter
):
    """Keys in a sealed file."""

    def __init__(self, setting: Setting) -> None:
        options = setting.options
        self._root = root_of(options.get("root_key"), options.get("passphrase"))
        self._engine_name: str = options["sm2_engine"]
        self._allow_insecure: bool = options["allow_insecure"]
        if self._engine_name != "openssl":
            # An engine that was asked for by name is there, or the provider does not open.
            self._engine()
        self._ciphers: ReadyKeys[tuple[SymmetricKey, bytes]] = ReadyKeys()
        self._pairs: ReadyKeys[KeyPair] = ReadyKeys()
        self._verifiers: ReadyKeys[Verifier] = ReadyKeys()
        self._keystore = Keystore(options["path"], self._root, setting.clock)
        self.registry = self._keystore.registry
        self._sweep()
        self._capabilities = Capabilities(
            keys=Kinds(self._computes),
            wrapping=frozenset(WrappingAlgorithm),
            features=frozenset(Feature),
            notes={"keystore": str(options["path"]), "sm2_engine": self._engine_name},
        )

    # --- Provider ----------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        """Every kind of key; SM2 where an engine has it."""
        return self._capabilities

    def health(self) -> Health:
        """The keystore, and what computes SM2."""
        try:
            engine = self._engine().description
        except KmsError as error:
            engine = f"none ({error.message})"
        details = {
            "keystore": str(self._keystore.path),
            "root_key": self._root.secret.source,
            "sm2_engine": engine,
        }
        try:
            details["mode"] = f"{self._keystore.path.stat().st_mode & 0o7777:04o}"
            details["keys"] = str(self.registry.count())
        except OSError as error:
            # What is written to a file that has lost its name is gone at the end of the process.
            message = f"the keystore is no longer where it was opened: {error.strerror}"
            return Health(ok=False, message=message, details=details)
        except KmsError as error:
            return Health(ok=False, message=str(error), details=details, error=error)
        return Health(ok=True, message="the keystore is open", details=details)

    def close(self) -> None:
        """Close the keystore, and drop the keys in memory."""
        for ready in (self._ciphers, self._pairs, self._verifiers):
            ready.clear()
        self._keystore.close()

    def generate_random(self, length: int) -> bytes:
        """From the operating system."""
        return os.urandom(length)

    def rewrap_root(self, new: Secret, *, passphrase: bool) -> None:
        """Protect the keystore with another root key or passphrase, from the next open on.

        Args:
            new: The new secret.
            passphrase: Whether it is a passphrase.

        Raises:
            IntegrityError: The secret that the provider was opened with is no longer the right
                one; nothing is changed.
        """
        root = Root(new, passphrase)
        self._keystore.rewrap_root(self._root, root)
        self._root = root

    # --- KeyManager: what RegisteredKeys does, and at the end of a key's time it is erased -----

    def create_key(self, new: NewKey) -> KeyInfo:
        """Make a key, durably."""
        self._erase_due()
        return super().create_key(new)

    def list_keys(self, limit: int, cursor: str | None) -> KeyPage:
        """Keys in the order of their creation."""
        self._erase_due()
        return super().list_keys(limit, cursor)

    # --- Symmetric ---------------------------------------------------------------------------

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Encrypt under the key's current version, in the format of `kmscore.ciphertext`."""
        record = self._usable(key_id, _ENCRYPT)
        if record.next_rotation_at is not None and self.registry.rotation_due(record):
            record = self.registry.rotate(key_id, self.make_material, only_if_due=True)
        cipher, head = self._cipher(record, record.version)
        nonce = os.urandom(NONCE_BYTES)
        sealed = cipher.encrypt(nonce, plaintext, associated_data(head, context.aad))
        return head + nonce + sealed

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """Open a ciphertext of any version of the key."""
        parsed = parse(ciphertext)
        if key_id is None:
            try:
                record = self._usable(parsed.key_id, _DECRYPT)
            except KeyNotFound as error:
                # The id is part of a ciphertext that nobody has authenticated.
                raise CiphertextInvalid from error
        else:
            record = self._usable(key_id, _DECRYPT)
        if SUITE_OF.get(record.spec) is not parsed.suite or parsed.key_version > record.version:
            raise CiphertextInvalid
        cipher, _ = self._cipher(record, parsed.key_version)
        try:
            plaintext = cipher.decrypt(
                parsed.nonce, parsed.sealed, associated_data(parsed.header, context.aad)
            )
        except WrongTag as error:
            raise CiphertextInvalid from error
        return Decrypted(record.key_id, plaintext)

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """A data key from the operating system's generator."""
        plaintext = os.urandom(length)
        return DataKey(key_id, bytearray(plaintext), self.encrypt(key_id, plaintext, context))

    # --- Asymmetric and Signer ---------------------------------------------------------------

    def public_key(self, key_id: str) -> bytes:
        """SubjectPublicKeyInfo in DER."""
        record = self._usable(key_id, Purpose.PUBLIC_KEY)
        return self.registry.version(key_id, record.version).public_key

    def asymmetric_decrypt(
        self, key_id: str, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """RSA and SM2 decryption."""
        record = self._usable(key_id, Purpose.ASYMMETRIC_DECRYPT)
        return self._pair(record).decrypt(algorithm, ciphertext)

    def sign(self, key_id: str, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """RSA, ECDSA, Ed25519 and SM2 signatures."""
        record = self._usable(key_id, Purpose.SIGN)
        return self._pair(record).sign(algorithm, data)

    def verify(
        self, key_id: str, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Check with the public half of the key."""
        record = self._usable(key_id, Purpose.VERIFY)
        return self._verifier(record).verify(data, signature, algorithm)

    # --- KeyImporter -------------------------------------------------------------------------

    def get_import_parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """A new RSA-2048 wrapping key, and a random token."""
        from kmscore_software._pairs import generate

        key_id = self.registry.importable(key_id).key_id
        secret, public = generate(KeySpec.RSA_2048, self._engine)
        token = os.urandom(TOKEN_BYTES)
        sealed = self._keystore.seal_wrapping_key(key_id, secret)
        job = self.registry.open_import(key_id, wrapping, token, sealed)
        return ImportParameters(
            key_id, wrapping, public, token, datetime.fromtimestamp(job.expires_at, UTC)
        )

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Unwrap 16 or 32 bytes, as the key's spec says, and seal them."""
        from kmscore_software._pairs import unwrap

        record = self.registry.importable(key_id)
        key_id = record.key_id
        job = self.registry.check_import(key_id, token)
        private = self._keystore.open_wrapping_key(key_id, job.private_key)
        material = unwrap(private, job.wrapping, wrapped)
        if material is None or len(material) != TRAITS[record.spec].bits // 8:
            raise ImportMaterialInvalid(
                "the wrapped material cannot be unwrapped, or is no key of this spec",
                hint=f"Wrap {TRAITS[record.spec].bits // 8} bytes with {job.wrapping} and the "
                "newest wrapping key",
                key=key_id,
            )
        self.registry.finish_import(
            key_id,
            token,
            self._keystore.fingerprint(record.spec, material),
            None if valid_to is None else int(valid_to.timestamp()),
            lambda key, number: self._keystore.seal(key, number, material),
        )

    def delete_key_material(self, key_id: str) -> None:
        """Forget imported material, here and in the file."""
        self.registry.delete_material(key_id)
        self._forget(key_id)

    # --- Inside ------------------------------------------------------------------------------

    def make_material(self, record: KeyRecord, number: int) -> Material:
        traits = TRAITS[record.spec]
        if traits.is_symmetric:
            return self._keystore.seal(record, number, os.urandom(traits.bits // 8))
        from kmscore_software._pairs import generate

        secret, public = generate(record.spec, self._engine)
        return self._keystore.seal(record, number, secret, public)

    def _usable(self, key_id: str, purpose: Purpose) -> KeyRecord:
        try:
            return self.registry.usable(key_id, purpose)
        except (KeyNotFound, KeyStateError):
            # It may be gone for good, and another process may have seen to that.
            self._forget(key_id)
            self._erase_due()
            raise

    def _forget(self, key_id: str) -> None:
        for ready in (self._ciphers, self._pairs, self._verifiers):
            ready.forget(key_id)

    def _cipher(self, record: KeyRecord, number: int) -> tuple[SymmetricKey, bytes]:
        ready = self._ciphers.get(record.key_id, number)
        if ready is None:
            material = self._keystore.open(record, self.registry.version(record.key_id, number))
            head = header(SUITE_OF[record.spec], record.key_id, number)
            ready = (symmetric_key(record.spec, material), head)
            self._ciphers.keep(record.key_id, number, ready)
        return ready

    def _pair(self, record: KeyRecord) -> KeyPair:
        ready = self._pairs.get(record.key_id, record.version)
        if ready is None:
            from kmscore_software._pairs import load

            version = self.registry.version(record.key_id, record.version)
            secret = self._keystore.open(record, version)
            ready = load(record.spec, secret, version.public_key, self._engine)
            self._pairs.keep(record.key_id, record.version, ready)
        return ready

    def _verifier(self, record: KeyRecord) -> Verifier:
        ready = self._verifiers.get(record.key_id, record.version)
        if ready is None:
            from kmscore_software._pairs import load_verifier

            public = self.registry.version(record.key_id, record.version).public_key
            ready = load_verifier(record.spec, public, self._engine)
            self._verifiers.keep(record.key_id, record.version, ready)
        return ready

    def _sweep(self) -> None:
        try:
            # What is due counts as gone in any case: that it cannot be erased now stops nobody.
            with suppress(Unavailable):
                self.registry.sweep()
        except BaseException:
            self._keystore.close()
            raise

    def _erase_due(self) -> None:
        """Erase what has come to its end; no trouble with that is the caller's."""
        with suppress(KmsError):
            self.registry.sweep()

    def _engine(self) -> Engine:
        from kmscore.sm2 import load_engine

        return load_engine(self._engine_name, allow_insecure=self._allow_insecure)

    def _computes(self, spec: KeySpec) -> bool:
        """Whether this machine has the cryptography for such keys."""
        try:
            if spec is KeySpec.SM2:
                self._engine()
            elif spec is KeySpec.SM4:
                symmetric_key(spec, bytes(16))
        except Unsupported:
            return False
        return True
