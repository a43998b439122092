"""The provider: keys on a token, their life in the registry."""

from __future__ import annotations

import hmac
import os
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeyState,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.ciphertext import NONCE_BYTES, SUITE_OF, TAG_BYTES, associated_data, header, parse
from kmscore.errors import (
    CiphertextInvalid,
    ConfigError,
    InternalError,
    KeyNotFound,
    KeyStateError,
    KmsError,
    Unavailable,
)
from kmscore.public_key import PublicKey
from kmscore.registry import Material, Purpose, RegisteredKeys, Registry, SqliteStore
from kmscore.spi import (
    Asymmetric,
    DataKey,
    Decrypted,
    Health,
    ImportParameters,
    KeyImporter,
    KeyInfo,
    NewKey,
    Provider,
    RandomSource,
    Signer,
    Symmetric,
)
from kmscore_pkcs11 import _asymmetric, _signing
from kmscore_pkcs11._abilities import RAW_RSA
from kmscore_pkcs11._failures import Doubtful
from kmscore_pkcs11._guard import open_guard, require_one_host
from kmscore_pkcs11._importing import Importer
from kmscore_pkcs11._keys import TokenKeys, place_of, try_secret
from kmscore_pkcs11._knowledge import abilities_of
from kmscore_pkcs11._module import load
from kmscore_pkcs11._probe import has_hmac
from kmscore_pkcs11._schemes import schemes_of
from kmscore_pkcs11._table import capabilities_of, details_of, identity_of, registry_path
from kmscore_pkcs11._token import open_token

if TYPE_CHECKING:
    from kmscore.capabilities import Capabilities
    from kmscore.context import EncryptionContext
    from kmscore.plugin import Setting
    from kmscore.registry.model import KeyRecord, VersionRecord
    from kmscore.signing import Signable
    from kmscore_pkcs11._sessions import Place, Session

READY_KEYS: Final = 20_000
"""How many versions of keys are kept ready, about 300 bytes each."""


class Ready(NamedTuple):
    """A version of a key, ready for use.

    Attributes:
        place: Where it is on the token.
        head: What its ciphertexts begin with.
        gcm: The mechanism that encrypts; 0 for pairs.
    """

    place: Place
    head: bytes
    gcm: int


class Pkcs11Provider(
    Provider, RandomSource, RegisteredKeys, Symmetric, Asymmetric, Signer, KeyImporter
):
    """Keys on a PKCS#11 token."""

    def __init__(self, setting: Setting) -> None:
        options = setting.options
        self._clock = setting.clock
        self._path = registry_path(setting)
        self._host_oaep: bool = options["allow_host_oaep"]
        if options["max_sessions"] < 2:
            raise ConfigError("max_sessions must be at least 2", hint="16 is the default")
        module = load(options["module"], options["init_args"])
        self._token = open_token(
            module, identity_of(options), options["pin"], options["max_sessions"]
        )
        self._ready: dict[tuple[str, int], Ready] = {}
        self._publics: dict[str, PublicKey] = {}
        try:
            self._open(options)
        except BaseException:
            self._token.close()
            raise

    def _open(self, options: Any) -> None:
        self._facts = self._token.facts()
        self._store = SqliteStore(self._path)
        try:
            require_one_host(
                self._store,
                self._facts.serial,
                self._facts.label,
                take_over=options["take_over"],
            )
            self._schemes = schemes_of(options["sm2"], options["sm4"])
            self._abilities = abilities_of(self._token, self._facts, self._store, self._schemes)
            self._host_oaep &= self._abilities.can(RAW_RSA)
            self._keys = TokenKeys(
                self._token, self._abilities, self._schemes, raw_rsa=self._host_oaep
            )
            guard = open_guard(self._store, self._token, with_hmac=has_hmac(self._token))
            rows = guard.rows
            if rows is not None:
                self._store.protect(lambda row: hmac.digest(rows, row, "sha256"))
            self.registry = Registry(self._store, clock=self._clock, destroy=self._destroy)
            self._importer = Importer(
                self._token,
                self._keys,
                self.registry,
                self._store,
                self._abilities,
                guard.fingerprints,
            )
            self._capabilities = capabilities_of(
                self._abilities, self._facts, options["deny"], host_oaep=self._host_oaep
            )
            # What is due counts as gone in any case: that it cannot be erased now stops nobody.
            with suppress(Unavailable):
                self._sweep()
        except BaseException:
            self._store.close()
            raise

    # --- Provider ----------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        """What the token was found to do, less what the configuration denies."""
        return self._capabilities

    def health(self) -> Health:
        """Whether the login holds, and what the token can and cannot do."""
        details = details_of(
            self._abilities, self._facts, self._path, self._token.module.path, self._capabilities
        )
        try:
            logged_in = self._token.is_logged_in()
            details["keys"] = str(self.registry.count())
        except KmsError as error:
            return Health(ok=False, message=str(error), details=details)
        if not logged_in:
            return Health(ok=False, message="the login was lost", details=details)
        return Health(ok=True, message="the token is logged in", details=details)

    def close(self) -> None:
        """Give the sessions back, and close the registry."""
        self._ready.clear()
        self._publics.clear()
        self._token.close()
        self._store.close()

    def generate_random(self, length: int) -> bytes:
        """From the token's generator."""
        value = self._token.ask("C_GenerateRandom", _random, length)
        if len(value) != length:
            raise InternalError("the token returned fewer random bytes than it was asked for")
        return value

    # --- Keys, in the registry and on the token ----------------------------------------------

    def make_material(self, record: KeyRecord, number: int) -> Material:
        """A new key on the token, and its identity."""
        return self._keys.make(record, number)

    def create_key(self, new: NewKey) -> KeyInfo:
        """Make a key on the token, try it, and enter it in the registry."""
        self._sweep()
        with self._token.changing:
            return super().create_key(new)

    def enable_key(self, key_id: str) -> None:
        """DISABLED to ENABLED: in the registry first, then on the token."""
        with self._token.changing:
            super().enable_key(key_id)
            self._mirror(key_id)

    def disable_key(self, key_id: str) -> None:
        """ENABLED to DISABLED: on the token first, so that it holds in every process at once."""
        self._switch_off(key_id, KeyState.DISABLED, self.registry.disable)

    def schedule_key_deletion(self, key_id: str, days: int) -> datetime:
        """DISABLED to PENDING_DELETION; the token has the key switched off already."""
        self._sweep()
        return super().schedule_key_deletion(key_id, days)

    def rotate_key(self, key_id: str) -> None:
        """Make a new version now; on the token, the older ones only decrypt from then on."""
        with self._token.changing:
            super().rotate_key(key_id)
            self._mirror(key_id)

    def archive_key(self, key_id: str) -> None:
        """Keep the key for decryption only, on the token first."""
        self._switch_off(key_id, KeyState.ARCHIVED, self.registry.archive)

    def restore_key(self, key_id: str) -> None:
        """ARCHIVED to ENABLED."""
        with self._token.changing:
            super().restore_key(key_id)
            self._mirror(key_id)

    # --- Symmetric ---------------------------------------------------------------------------

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Encrypt under the key's current version, in the format of `kmscore.ciphertext`."""
        record = self.registry.usable(key_id, Purpose.ENCRYPT)
        if record.next_rotation_at is not None and self.registry.rotation_due(record):
            record = self._rotate_if_due(key_id)
        while True:
            try:
                return self._sealed(record, plaintext, context)
            except (KeyStateError, KeyNotFound):
                # A rotation since the look at the registry leaves the older version to decryption.
                newer = self.registry.usable(key_id, Purpose.ENCRYPT)
                if newer.version == record.version:
                    raise
                record = newer

    def _sealed(self, record: KeyRecord, plaintext: bytes, context: EncryptionContext) -> bytes:
        place, head, mechanism = self._version(record, record.version)
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._token.use(
            place,
            "C_Encrypt",
            _seal,
            mechanism,
            nonce,
            plaintext,
            associated_data(head, context.aad),
        )
        if len(sealed) != len(plaintext) + TAG_BYTES:
            raise InternalError("the token returned a ciphertext of another length")
        return head + nonce + sealed

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """Open a ciphertext of any version of the key."""
        parsed = parse(ciphertext)
        if key_id is None:
            try:
                record = self.registry.usable(parsed.key_id, Purpose.DECRYPT)
            except KeyNotFound as error:
                # The id is part of a ciphertext that nobody has authenticated.
                raise CiphertextInvalid from error
        else:
            record = self.registry.usable(key_id, Purpose.DECRYPT)
        if SUITE_OF.get(record.spec) is not parsed.suite or parsed.key_version > record.version:
            raise CiphertextInvalid
        place, _, mechanism = self._version(record, parsed.key_version)
        aad = associated_data(parsed.header, context.aad)
        try:
            plaintext = self._token.use(
                place, "C_Decrypt", _open, mechanism, parsed.nonce, parsed.sealed, aad
            )
        except Doubtful as error:
            # SoftHSM answers a wrong tag like any other trouble.
            raise error.judged(
                token_works=self._works(record, mechanism), fault=CiphertextInvalid()
            ) from error
        return Decrypted(record.key_id, plaintext)

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """A data key from the token's generator."""
        plaintext = self.generate_random(length)
        return DataKey(key_id, bytearray(plaintext), self.encrypt(key_id, plaintext, context))

    # --- Asymmetric and Signer ---------------------------------------------------------------

    def public_key(self, key_id: str) -> bytes:
        """SubjectPublicKeyInfo in DER, from the registry."""
        record = self.registry.usable(key_id, Purpose.PUBLIC_KEY)
        return self.registry.version(key_id, record.version).public_key

    def asymmetric_decrypt(
        self, key_id: str, algorithm: EncryptionAlgorithm, ciphertext: bytes
    ) -> bytes:
        """RSA decryption, in the token; padding is taken off here only if that was allowed."""
        record = self.registry.usable(key_id, Purpose.ASYMMETRIC_DECRYPT)
        if TRAITS[record.spec].family == "RSA":
            public_key = self.registry.version(key_id, record.version).public_key
            if len(ciphertext) != TRAITS[record.spec].bits // 8 or not _asymmetric.is_in_range(
                public_key, ciphertext
            ):
                raise CiphertextInvalid
        place = self._version(record, record.version).place
        try:
            return self._decrypted(place, algorithm, ciphertext)
        except Doubtful as error:
            works = self._decrypts(record, place, algorithm)
            raise error.judged(token_works=works, fault=CiphertextInvalid()) from error

    def sign(self, key_id: str, algorithm: SigningAlgorithm, data: Signable) -> bytes:
        """RSA, ECDSA and Ed25519 signatures; messages are hashed here."""
        record = self.registry.usable(key_id, Purpose.SIGN)
        place = self._version(record, record.version).place
        is_sm2 = algorithm is SigningAlgorithm.SM2DSA
        public = self._public(record).der if is_sm2 else b""
        value = _signing.to_be_signed(algorithm, data, public)
        scheme = self._schemes.signing[algorithm]
        return self._token.use(place, "C_Sign", _signing.sign, scheme, value)

    def verify(
        self, key_id: str, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """Check on this machine, with the public half of the key."""
        record = self.registry.usable(key_id, Purpose.VERIFY)
        return self._public(record).verify(data, signature, algorithm)

    # --- KeyImporter -------------------------------------------------------------------------

    def get_import_parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """A new RSA-2048 wrapping key on the token, and a random token."""
        self._sweep()
        with self._token.changing:
            return self._importer.parameters(key_id, wrapping)

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Unwrap 16 or 32 bytes inside the token, as the key's spec says."""
        with self._token.changing:
            self._importer.take(key_id, wrapped, token, valid_to)

    def delete_key_material(self, key_id: str) -> None:
        """Destroy imported material on the token."""
        with self._token.changing:
            self.registry.delete_material(key_id)
        self._forget(key_id)

    # --- Inside ------------------------------------------------------------------------------

    def _version(self, record: KeyRecord, number: int) -> Ready:
        ready = self._ready.get((record.key_id, number))
        version = None
        if record.origin is Origin.EXTERNAL:
            # Deleted and imported again, a version is another object.
            version = self.registry.version(record.key_id, number)
            if ready is not None and ready.place[1] != version.material:
                ready = None
        if ready is None:
            version = version or self.registry.version(record.key_id, number)
            head, mechanism = b"", 0
            if TRAITS[record.spec].is_symmetric:
                head = header(SUITE_OF[record.spec], record.key_id, number)
                mechanism = self._schemes.secret[record.spec].gcm
            ready = Ready(place_of(record.spec, version.material), head, mechanism)
            if len(self._ready) >= READY_KEYS:
                self._ready.clear()
            self._ready[record.key_id, number] = ready
        return ready

    def _public(self, record: KeyRecord) -> PublicKey:
        public = self._publics.get(record.key_id)
        if public is None:
            public = PublicKey(self.registry.version(record.key_id, record.version).public_key)
            if len(self._publics) >= READY_KEYS:
                self._publics.clear()
            self._publics[record.key_id] = public
        return public

    def _forget(self, key_id: str) -> None:
        for number, ready in list(self._ready):
            if number == key_id:
                self._ready.pop((number, ready), None)

    def _rotate_if_due(self, key_id: str) -> KeyRecord:
        with self._token.changing:
            record = self.registry.rotate(key_id, self.make_material, only_if_due=True)
            self._mirror(key_id)
        return record

    def _switch_off(self, key_id: str, state: KeyState, write: Any) -> None:
        with self._token.changing:
            record = self.registry.find(key_id)
            if record.state in (KeyState.ENABLED, KeyState.DISABLED):
                with suppress(KeyNotFound):
                    # What is not there cannot be used either.
                    self._keys.mirror(record, self._store.versions(record.key_id), state)
            try:
                write(key_id)
            finally:
                with suppress(KeyNotFound):
                    self._mirror(key_id)

    def _mirror(self, key_id: str) -> None:
        """Give the key's objects the flags of its state, until that is its state afterwards, too.

        Another process may change the state meanwhile, and set the flags before we do.
        """
        while True:
            record = self.registry.find(key_id)
            self._keys.mirror(record, self._store.versions(record.key_id), record.state)
            if self.registry.find(key_id) == record:
                return

    def _destroy(self, record: KeyRecord, versions: list[VersionRecord]) -> None:
        self._keys.destroy(record, versions)
        if record.deletion_at is not None and record.deletion_at <= self._clock():
            self._importer.forget_job(record.key_id)

    def _sweep(self) -> None:
        now = int(self._clock())
        if any(self._store.due(now)):
            with self._token.changing:
                self._importer.forget_old_jobs(now)
                self.registry.sweep()

    def _works(self, record: KeyRecord, mechanism: int) -> bool:
        """Whether the key encrypts and decrypts, so that a ciphertext is to blame.

        The newest version is tried: the token lets nobody encrypt with older ones.
        """
        if record.state is not KeyState.ENABLED:
            return self._token.is_logged_in()
        place = self._version(record, record.version).place
        try:
            self._token.use(place, "C_Decrypt", _try, mechanism)
        except KmsError:
            return False
        return True

    def _decrypted(self, place: Place, algorithm: EncryptionAlgorithm, ciphertext: bytes) -> bytes:
        sm2 = self._schemes.sm2
        if algorithm is EncryptionAlgorithm.SM2 and sm2 is not None:
            return self._token.use(place, "C_Decrypt", _asymmetric.decrypt_sm2, sm2, ciphertext)
        if self._abilities.can(algorithm):
            return self._token.use(place, "C_Decrypt", _asymmetric.decrypt, algorithm, ciphertext)
        # The table offers this for OAEP with SHA-256 alone, and only where it was allowed.
        encoded = self._token.use(place, "C_Decrypt", _asymmetric.raw, ciphertext)
        return _asymmetric.unpad_oaep_sha256(encoded)

    def _decrypts(self, record: KeyRecord, place: Place, algorithm: EncryptionAlgorithm) -> bool:
        """Whether the key opens what is encrypted for it now, so that a ciphertext is to blame."""
        data = os.urandom(32)
        fresh = self._public(record).encrypt(data, algorithm)
        try:
            return self._decrypted(place, algorithm, fresh) == data
        except KmsError:
            return False


def _seal(session: Session, handle: int, *rest: Any) -> bytes:
    return session.gcm.encrypt(handle, *rest)


def _open(session: Session, handle: int, *rest: Any) -> bytes:
    return session.gcm.decrypt(handle, *rest)


def _try(session: Session, handle: int, mechanism: int) -> None:
    try_secret(session, mechanism, handle)


def _random(session: Session, length: int) -> bytes:
    value: bytes = session.raw.generate_random(8 * length)
    return value
