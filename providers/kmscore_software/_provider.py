"""The provider: keys from the keystore, cryptography on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar, overload

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    KeyUsage,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.capabilities import Capabilities, Feature, KeyKind
from kmscore.ciphertext import SUITE_OF, associated_data, header, parse
from kmscore.errors import (
    CiphertextInvalid,
    ConfigError,
    ImportMaterialInvalid,
    KeyNotFound,
    KmsError,
    Unsupported,
)
from kmscore.registry import Material, Purpose
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
from kmscore_software._keystore import Keystore
from kmscore_software._root import Root
from kmscore_software._symmetric import SymmetricKey, WrongTag, symmetric_key

if TYPE_CHECKING:
    from kmscore.context import EncryptionContext
    from kmscore.plugin import Secret, Setting
    from kmscore.registry.model import KeyRecord
    from kmscore.signing import Signable
    from kmscore.sm2 import Engine
    from kmscore_software._pairs import KeyPair

NONCE_BYTES: Final = 12
TOKEN_BYTES: Final = 32
READY_KEYS: Final = 1024
"""How many keys are kept unsealed and parsed."""

Ready = TypeVar("Ready")


class SoftwareProvider(
    Provider, RandomSource, KeyManager, Symmetric, Asymmetric, Signer, KeyImporter
):
    """Keys in a sealed file."""

    def __init__(self, setting: Setting) -> None:
        options = setting.options
        self._root = _root(options.get("root_key"), options.get("passphrase"))
        self._engine_name: str = options["sm2_engine"]
        self._allow_insecure: bool = options["allow_insecure"]
        if self._engine_name != "openssl":
            # An engine that was asked for by name is there, or the provider does not open.
            self._engine()
        self._keystore = Keystore(options["path"], self._root, setting.clock)
        self._registry = self._keystore.registry
        self._registry.sweep()
        self._ciphers: dict[tuple[str, int], tuple[SymmetricKey, bytes]] = {}
        self._pairs: dict[str, KeyPair] = {}
        self._capabilities = Capabilities(
            keys=_Kinds(self._has_sm2),
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
            details["keys"] = str(self._registry.count())
        except KmsError as error:
            return Health(ok=False, message=str(error), details=details)
        return Health(ok=True, message="the keystore is open", details=details)

    def close(self) -> None:
        """Close the keystore, and drop the keys in memory."""
        self._ciphers.clear()
        self._pairs.clear()
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

    # --- KeyManager --------------------------------------------------------------------------

    def create_key(self, new: NewKey) -> KeyInfo:
        """Make a key, durably."""
        return self._registry.info(self._registry.create(new, self._make))

    def describe_key(self, ref: str) -> KeyInfo:
        """A key by its id or alias."""
        return self._registry.info(self._registry.find(ref))

    def list_keys(self, limit: int, cursor: str | None) -> KeyPage:
        """Keys in the order of their creation."""
        return self._registry.page(limit, cursor)

    def enable_key(self, key_id: str) -> None:
        """DISABLED to ENABLED."""
        self._registry.enable(key_id)

    def disable_key(self, key_id: str) -> None:
        """ENABLED to DISABLED; holds at once in every process."""
        self._registry.disable(key_id)

    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """DISABLED to PENDING_DELETION."""
        return datetime.fromtimestamp(self._registry.schedule_deletion(key_id, days), UTC)

    def cancel_key_deletion(self, key_id: str) -> None:
        """PENDING_DELETION to DISABLED."""
        self._registry.cancel_deletion(key_id)

    def set_alias(self, key_id: str, alias: str) -> None:
        """Give the key another name."""
        self._registry.set_alias(key_id, alias)

    def set_description(self, key_id: str, description: str) -> None:
        """Replace the free text."""
        self._registry.set_description(key_id, description)

    def rotate_key(self, key_id: str) -> None:
        """Make a new version now."""
        self._registry.rotate(key_id, self._make)

    def set_rotation(self, key_id: str, days: int | None) -> None:
        """Rotate every ``days`` days, at the first encryption after that time."""
        self._registry.set_rotation(key_id, days)

    def archive_key(self, key_id: str) -> None:
        """Keep the key for decryption only."""
        self._registry.archive(key_id)

    def restore_key(self, key_id: str) -> None:
        """ARCHIVED to ENABLED."""
        self._registry.restore(key_id)

    # --- Symmetric ---------------------------------------------------------------------------

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Encrypt under the key's current version, in the format of `kmscore.ciphertext`."""
        record = self._registry.usable(key_id, Purpose.ENCRYPT)
        if record.next_rotation_at is not None and self._registry.rotation_due(record):
            record = self._registry.rotate(key_id, self._make, only_if_due=True)
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
                record = self._registry.usable(parsed.key_id, Purpose.DECRYPT)
            except KeyNotFound as error:
                # The id is part of a ciphertext that nobody has authenticated.
                raise CiphertextInvalid from error
        else:
            record = self._registry.usable(key_id, Purpose.DECRYPT)
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
        record = self._registry.usable(key_id, Purpose.PUBLIC_KEY)
        return self._registry.version(key_id, record.version).public_key

    def asymmetric_decrypt(
        self, key_id: str, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """RSA and SM2 decryption."""
        record = self._registry.usable(key_id, Purpose.ASYMMETRIC_DECRYPT)
        return self._pair(record).decrypt(algorithm, ciphertext)

    def sign(self, key_id: str, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """RSA, ECDSA, Ed25519 and SM2 signatures."""
        record = self._registry.usable(key_id, Purpose.SIGN)
        return self._pair(record).sign(algorithm, data)

    def verify(
        self, key_id: str, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Check with the public half of the key."""
        from kmscore.public_key import PublicKey

        record = self._registry.usable(key_id, Purpose.VERIFY)
        public = PublicKey.from_der(self._registry.version(key_id, record.version).public_key)
        return public.verify(data, signature, algorithm)

    # --- KeyImporter -------------------------------------------------------------------------

    def get_import_parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """A new RSA-2048 wrapping key, and a random token."""
        from kmscore_software._pairs import generate

        self._registry.importable(key_id)
        secret, public = generate(KeySpec.RSA_2048, self._engine)
        token = os.urandom(TOKEN_BYTES)
        sealed = self._keystore.seal_wrapping_key(key_id, secret)
        job = self._registry.open_import(key_id, wrapping, token, sealed)
        return ImportParameters(
            key_id, wrapping, public, token, datetime.fromtimestamp(job.expires_at, UTC)
        )

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Unwrap 16 or 32 bytes, as the key's spec says, and seal them."""
        from kmscore_software._pairs import unwrap

        record = self._registry.importable(key_id)
        job = self._registry.check_import(key_id, token)
        private = self._keystore.open_wrapping_key(key_id, job.private_key)
        material = unwrap(private, job.wrapping, wrapped)
        if material is None or len(material) != TRAITS[record.spec].bits // 8:
            raise ImportMaterialInvalid(
                "the wrapped material cannot be unwrapped, or is no key of this spec",
                hint=f"Wrap {TRAITS[record.spec].bits // 8} bytes with {job.wrapping} and the "
                "newest wrapping key",
                key=key_id,
            )
        self._registry.finish_import(
            key_id,
            token,
            self._keystore.fingerprint(record.spec, material),
            None if valid_to is None else int(valid_to.timestamp()),
            lambda key, number: self._keystore.seal(key, number, material),
        )

    def delete_key_material(self, key_id: str) -> None:
        """Forget imported material, here and in the file."""
        self._registry.delete_material(key_id)
        self._ciphers.pop((key_id, 1), None)

    # --- Inside ------------------------------------------------------------------------------

    def _make(self, record: KeyRecord, number: int) -> Material:
        traits = TRAITS[record.spec]
        if traits.is_symmetric:
            return self._keystore.seal(record, number, os.urandom(traits.bits // 8))
        from kmscore_software._pairs import generate

        secret, public = generate(record.spec, self._engine)
        return self._keystore.seal(record, number, secret, public)

    def _cipher(self, record: KeyRecord, number: int) -> tuple[SymmetricKey, bytes]:
        place = (record.key_id, number)
        ready = self._ciphers.get(place)
        if ready is None:
            material = self._keystore.open(record, self._registry.version(record.key_id, number))
            head = header(SUITE_OF[record.spec], record.key_id, number)
            ready = (symmetric_key(record.spec, material), head)
            _keep(self._ciphers, place, ready)
        return ready

    def _pair(self, record: KeyRecord) -> KeyPair:
        ready = self._pairs.get(record.key_id)
        if ready is None:
            from kmscore_software._pairs import load

            version = self._registry.version(record.key_id, record.version)
            secret = self._keystore.open(record, version)
            ready = load(record.spec, secret, version.public_key, self._engine)
            _keep(self._pairs, record.key_id, ready)
        return ready

    def _engine(self) -> Engine:
        from kmscore.sm2 import load_engine

        return load_engine(self._engine_name, allow_insecure=self._allow_insecure)

    def _has_sm2(self) -> bool:
        try:
            self._engine()
        except Unsupported:
            return False
        return True


class _Kinds(Sequence[KeyKind]):
    """The kinds of key, worked out when they are first looked at: loading SM2 takes a moment."""

    def __init__(self, has_sm2: Callable[[], bool]) -> None:
        self._has_sm2 = has_sm2
        self._known: tuple[KeyKind, ...] | None = None

    @overload
    def __getitem__(self, index: int) -> KeyKind: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[KeyKind]: ...
    def __getitem__(self, index: int | slice) -> KeyKind | Sequence[KeyKind]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> tuple[KeyKind, ...]:
        if self._known is None:
            self._known = tuple(
                _kind(spec, usage)
                for spec, traits in TRAITS.items()
                for usage in traits.usages
                if spec is not KeySpec.SM2 or self._has_sm2()
            )
        return self._known


def _kind(spec: KeySpec, usage: KeyUsage) -> KeyKind:
    if TRAITS[spec].is_symmetric:
        return KeyKind.standard(spec, usage, Origin.GENERATED, Origin.EXTERNAL)
    return KeyKind.standard(spec, usage)


def _root(root_key: Secret | None, passphrase: Secret | None) -> Root:
    if root_key is not None and passphrase is None:
        return Root(root_key, is_passphrase=False)
    if passphrase is not None and root_key is None:
        return Root(passphrase, is_passphrase=True)
    raise ConfigError(
        "a software provider needs either root_key or passphrase",
        hint='For example: root_key = { env = "KMSCORE_ROOT_KEY" }',
    )


_Place = TypeVar("_Place")


def _keep(ready: dict[_Place, Ready], place: _Place, key: Ready) -> None:
    """Add to a table of bounded size; the oldest entry makes room."""
    while len(ready) >= READY_KEYS:
        ready.pop(next(iter(ready)), None)
    ready[place] = key
