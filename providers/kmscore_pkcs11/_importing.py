"""Bring your own key: material is unwrapped inside the token, tried, and only then kept."""

from __future__ import annotations

import hmac
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pkcs11 import Attribute, Mechanism, ObjectClass

from kmscore.algorithms import TRAITS, KeySpec, WrappingAlgorithm
from kmscore.errors import (
    CiphertextInvalid,
    ImportMaterialInvalid,
    InternalError,
    KmsError,
)
from kmscore.public_key import PublicKey
from kmscore.registry import Material
from kmscore.spi import ImportParameters
from kmscore_pkcs11._errors import LOST
from kmscore_pkcs11._failures import FAILURES, Doubtful, code_of_failure
from kmscore_pkcs11._keys import TokenKeys, label_of, try_secret
from kmscore_pkcs11._objects import generate_pair, read_back, remove
from kmscore_pkcs11._templates import IDENTITY_BYTES, private_key, public_key
from kmscore_pkcs11._token import Token
from kmscore_pkcs11._unwrapping import HMAC_LENGTH, VALUE_LEN, check_value, has_length, unwrap

if TYPE_CHECKING:
    from kmscore.registry import Registry, SqliteStore
    from kmscore.registry.model import ImportJob, KeyRecord
    from kmscore_pkcs11._abilities import Abilities
    from kmscore_pkcs11._sessions import Place, Session

TOKEN_BYTES: Final = 32
MOST_FAILURES: Final = 10
"""How many wrong materials one wrapping key takes; with PKCS #1 v1.5 each try tells a little."""

_WRAPPING_SPEC: Final = KeySpec.RSA_2048
_WRAPPED_BYTES: Final = TRAITS[_WRAPPING_SPEC].bits // 8


class Importer:
    """Imports into keys of origin EXTERNAL.

    Args:
        token: The token.
        keys: Makes and destroys its keys.
        registry: The registry.
        store: Its database.
        abilities: What the token can do.
        secret: Makes check values of use to nobody who has no PIN.
    """

    def __init__(
        self,
        token: Token,
        keys: TokenKeys,
        registry: Registry,
        store: SqliteStore,
        abilities: Abilities,
        secret: bytes,
    ) -> None:
        self._token = token
        self._keys = keys
        self._registry = registry
        self._store = store
        self._measure = VALUE_LEN if abilities.can(VALUE_LEN) else HMAC_LENGTH
        self._secret = secret

    def parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """A new wrapping pair on the token, which does nothing but unwrap, and a random token."""
        key_id = self._registry.importable(key_id).key_id
        older = self._store.job(key_id)
        identity = os.urandom(IDENTITY_BYTES)
        token = os.urandom(TOKEN_BYTES)
        try:
            public = self._token.change("C_GenerateKeyPair", _make_wrapping_pair, identity, key_id)
            opaque = identity + b"\0" + public
            job = self._registry.open_import(key_id, wrapping, token, opaque)
        except Exception:
            with suppress(KmsError):
                self._keys.remove(identity)
            raise
        if older is not None:
            self._keys.remove(_identity_of(older))
        return ImportParameters(
            key_id, wrapping, public, token, datetime.fromtimestamp(job.expires_at, UTC)
        )

    def take(self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None) -> None:
        """Unwrap as a session object, try it, and then make the key of it."""
        record = self._registry.importable(key_id)
        key_id = record.key_id
        job = self._registry.check_import(key_id, token)
        try:
            if len(wrapped) != _WRAPPED_BYTES:
                raise _refused(record, job)
            value = self._unwrapped(record, job, wrapped)
        except ImportMaterialInvalid:
            self._count_failure(job)
            raise
        fingerprint = hmac.digest(self._secret, record.spec.encode() + b"\0" + value, "sha256")
        self._registry.finish_import(
            key_id,
            token,
            fingerprint,
            None if valid_to is None else int(valid_to.timestamp()),
            lambda key, number: self._keep(key, number, job, wrapped, value),
        )

    def forget_old_jobs(self, now: int) -> None:
        """Destroy wrapping pairs whose time is over, before the registry forgets them."""
        _, due = self._store.due(now)
        for key_id in due:
            job = self._store.job(key_id)
            if job is not None and job.expires_at <= now:
                self._keys.remove(_identity_of(job))

    def forget_job(self, key_id: str) -> None:
        """Destroy the wrapping pair of a key that is going to be destroyed itself."""
        job = self._store.job(key_id)
        if job is not None:
            self._keys.remove(_identity_of(job))

    # --- Inside ------------------------------------------------------------------------------

    def _unwrapped(self, record: KeyRecord, job: ImportJob, wrapped: bytes) -> bytes:
        """The check value of the material; every fault of it ends in the same error."""
        place = (ObjectClass.PRIVATE_KEY, _identity_of(job))
        try:
            value: bytes = self._token.use(
                place, "C_UnwrapKey", self._try_unwrap, record, job.wrapping, wrapped
            )
        except (CiphertextInvalid, ImportMaterialInvalid, _BadMaterial) as error:
            raise _refused(record, job) from error
        except Doubtful as error:
            # SoftHSM answers wrong material like any other trouble.
            raise error.judged(
                token_works=self._works(place, job), fault=_refused(record, job)
            ) from error
        return value

    def _try_unwrap(
        self,
        session: Session,
        handle: int,
        record: KeyRecord,
        wrapping: WrappingAlgorithm,
        wrapped: bytes,
    ) -> bytes:
        template = self._keys.secret_template(
            record.spec, os.urandom(IDENTITY_BYTES), "kms:import", token=False
        )
        key = unwrap(session, handle, wrapping, wrapped, template)
        try:
            if read_back(key, template):
                raise _BadMaterial
            try_secret(session, Mechanism.AES_GCM, key.handle)
            if not has_length(session, handle, wrapping, wrapped, key, record.spec, self._measure):
                raise _BadMaterial
            value = check_value(session, Mechanism.AES_GCM, key.handle)
        except FAILURES as error:
            if code_of_failure(error) in LOST:
                raise
            # SoftHSM takes 5 bytes for an AES key, and finds out when it is used.
            raise _BadMaterial from error
        except InternalError as error:
            raise _BadMaterial from error
        key.destroy()
        return value

    def _keep(
        self, record: KeyRecord, number: int, job: ImportJob, wrapped: bytes, value: bytes
    ) -> Material:
        """The same material once more, as an object of the token."""
        identity = os.urandom(IDENTITY_BYTES)
        label = label_of(record.key_id, number)
        template = self._keys.secret_template(record.spec, identity, label, token=True)

        def keep(session: Session) -> bytes:
            # What an earlier try left, if the token was lost after it: two could not be told apart.
            remove(session, identity)
            handle = session.find((ObjectClass.PRIVATE_KEY, _identity_of(job)))
            key = unwrap(session, handle, job.wrapping, wrapped, template)
            if read_back(key, template):
                raise _refused(record, job)
            return check_value(session, Mechanism.AES_GCM, key.handle)

        try:
            kept: bytes = self._token.change("C_UnwrapKey", keep)
            if not hmac.compare_digest(kept, value):
                raise _refused(record, job)
        except Exception:
            with suppress(KmsError):
                self._keys.remove(identity)
            raise
        return Material(identity)

    def _works(self, place: Place, job: ImportJob) -> bool:
        """Whether the wrapping key unwraps what is right, so that the material is to blame."""
        public = PublicKey(job.private_key[IDENTITY_BYTES + 1 :])
        wrapped = public.encrypt(os.urandom(32), job.wrapping.value)
        template = self._keys.secret_template(
            KeySpec.AES_256, os.urandom(IDENTITY_BYTES), "kms:trial", token=False
        )

        def trial(session: Session, handle: int) -> None:
            unwrap(session, handle, job.wrapping, wrapped, template).destroy()

        try:
            self._token.use(place, "C_UnwrapKey", trial)
        except KmsError:
            return False
        return True

    def _count_failure(self, job: ImportJob) -> None:
        with self._store.write() as writer:
            current = writer.job(job.key_id)
            if current is None or current.token_digest != job.token_digest:
                return
            identity, failures = _identity_of(current), current.private_key[IDENTITY_BYTES] + 1
            if failures < MOST_FAILURES:
                public = current.private_key[IDENTITY_BYTES + 1 :]
                opaque = identity + bytes([failures]) + public
                writer.put_job(current._replace(private_key=opaque))
                return
            writer.delete_job(job.key_id)
        self._keys.remove(identity)


class _BadMaterial(Exception):
    """The material is wrong in some way that nobody is told."""


def _identity_of(job: ImportJob) -> bytes:
    """CKA_ID of the wrapping key; after it come the count of failures and the public half."""
    return job.private_key[:IDENTITY_BYTES]


def _refused(record: KeyRecord, job: ImportJob) -> ImportMaterialInvalid:
    size = TRAITS[record.spec].bits // 8
    return ImportMaterialInvalid(
        "the wrapped material cannot be unwrapped, or is no key of this spec",
        hint=f"Wrap {size} bytes with {job.wrapping} and the newest wrapping key; after "
        f"{MOST_FAILURES} failures it is destroyed",
        key=record.key_id,
    )


def _make_wrapping_pair(session: Session, identity: bytes, key_id: str) -> bytes:
    label = f"kms:{key_id}:wrapping"
    return generate_pair(
        session,
        _WRAPPING_SPEC,
        public_key(identity, label, Attribute.UNWRAP),
        private_key(identity, label, Attribute.UNWRAP, token=True),
    ).public
