"""The keys of the registry on the token: made, mirrored in its usage flags, and destroyed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from pkcs11 import Attribute, ObjectClass

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    KeyUsage,
    SigningAlgorithm,
)
from kmscore.errors import InternalError, KeyNotFound, KmsError
from kmscore.public_key import PublicKey
from kmscore.registry import Material
from kmscore.signing import Message
from kmscore_pkcs11 import _asymmetric, _signing
from kmscore_pkcs11._abilities import (
    ALLOWED,
    COPYABLE,
    ED25519_BY_OID,
    ED25519_OID,
    FLAGS,
    Abilities,
)
from kmscore_pkcs11._objects import (
    Pair,
    generate_pair,
    generate_secret,
    remove,
    set_flags,
)
from kmscore_pkcs11._templates import (
    IDENTITY_BYTES,
    Template,
    allowed_mechanisms,
    private_key,
    public_key,
    secret_key,
    usage_flags,
)

if TYPE_CHECKING:
    from kmscore.algorithms import KeyState
    from kmscore.registry.model import KeyRecord, VersionRecord
    from kmscore_pkcs11._schemes import Schemes, SigningScheme, Sm2Profile
    from kmscore_pkcs11._sessions import Place, Session
    from kmscore_pkcs11._token import Token


class TokenKeys:
    """Keys on one token.

    Args:
        token: The token.
        abilities: What it can do.
        schemes: How it carries out what it can do.
        raw_rsa: Whether keys that decrypt may be used for raw RSA, too.
    """

    def __init__(
        self, token: Token, abilities: Abilities, schemes: Schemes, *, raw_rsa: bool
    ) -> None:
        self._token = token
        self._abilities = abilities
        self._schemes = schemes
        self._raw_rsa = raw_rsa

    def make(self, record: KeyRecord, number: int) -> Material:
        """The material of a new version: a key on the token that was tried, and its CKA_ID."""
        identity = os.urandom(IDENTITY_BYTES)
        make = self._make_secret if TRAITS[record.spec].is_symmetric else self._make_pair
        function = "C_GenerateKey" if TRAITS[record.spec].is_symmetric else "C_GenerateKeyPair"
        try:
            public = self._token.change(function, make, record, number, identity)
        except Exception:
            with suppress(KmsError):
                self.remove(identity)
            raise
        return Material(identity, public)

    def secret_template(
        self, spec: KeySpec, identity: bytes, label: str, *, token: bool
    ) -> Template:
        """The template of an AES key, with what this token has for its protection."""
        return secret_key(identity, label, token=token) | self._more(spec, KeyUsage.ENCRYPT_DECRYPT)

    def mirror(self, record: KeyRecord, versions: list[VersionRecord], state: KeyState) -> None:
        """Give a key's objects the usage flags of a state; where one is missing, go on.

        Raises:
            KeyNotFound: None of them is on the token.
        """
        if self._abilities.found.get(FLAGS, "").startswith("CKR_"):
            # The token lets nobody change them: the registry alone says what is disabled.
            return
        found = self._token.change("C_SetAttributeValue", self._set_flags, record, versions, state)
        if versions and not found:
            raise KeyNotFound(
                "the key is no longer on the token",
                hint="Somebody destroyed it with another tool; restore the token from a backup",
                key=record.key_id,
            )

    def destroy(self, record: KeyRecord, versions: list[VersionRecord]) -> None:
        """Destroy versions on the token; those that are gone are well gone."""
        self._token.change("C_DestroyObject", _destroy, [each.material for each in versions])

    def remove(self, identity: bytes) -> None:
        """Destroy whatever has that CKA_ID."""
        self._token.change("C_DestroyObject", _destroy, [identity])

    # --- Inside ------------------------------------------------------------------------------

    def _make_secret(
        self, session: Session, record: KeyRecord, number: int, identity: bytes
    ) -> bytes:
        template = self.secret_template(
            record.spec, identity, label_of(record.key_id, number), token=True
        )
        scheme = self._schemes.secret[record.spec]
        handle = generate_secret(session, TRAITS[record.spec].bits, template, scheme)
        try_secret(session, scheme.gcm, handle)
        return b""

    def _make_pair(
        self, session: Session, record: KeyRecord, number: int, identity: bytes
    ) -> bytes:
        label = label_of(record.key_id, number)
        for_signing = record.usage is KeyUsage.SIGN_VERIFY
        flag = Attribute.SIGN if for_signing else Attribute.DECRYPT
        params = b""
        if record.spec is KeySpec.ED25519 and self._abilities.can(ED25519_BY_OID):
            params = ED25519_OID
        pair = generate_pair(
            session,
            record.spec,
            public_key(identity, label, flag),
            private_key(identity, label, flag, token=True) | self._more(record.spec, record.usage),
            params=params,
            sm2=self._schemes.sm2 if record.spec is KeySpec.SM2 else None,
        )
        self._try_pair(session, record.spec, pair, for_signing=for_signing)
        return pair.public

    def _try_pair(self, session: Session, spec: KeySpec, pair: Pair, *, for_signing: bool) -> None:
        """A pair whose halves do not fit is found now, and not by its first user."""
        if for_signing:
            schemes = [each for each in TRAITS[spec].signing if self._abilities.can(each)]
            right = all(signs(session, pair, each, self._schemes.signing[each]) for each in schemes)
        else:
            known = [each for each in TRAITS[spec].encryption if self._abilities.can(each)]
            right = all(decrypts(session, pair, each, self._schemes.sm2) for each in known)
        if not right:
            raise InternalError("the token made a key pair whose halves do not fit")

    def _more(self, spec: KeySpec, usage: KeyUsage) -> Template:
        more: Template = {}
        if self._abilities.can(COPYABLE):
            more[Attribute.COPYABLE] = False
        allowed = allowed_mechanisms(spec, usage, raw_rsa=self._raw_rsa)
        if allowed and self._abilities.can(ALLOWED):
            more[Attribute.ALLOWED_MECHANISMS] = allowed
        return more

    def _set_flags(
        self, session: Session, record: KeyRecord, versions: list[VersionRecord], state: KeyState
    ) -> bool:
        found = False
        for version in versions:
            kind, identity = place_of(record.spec, version.material)
            flags = usage_flags(
                record.spec, record.usage, state, newest=version.number == record.version
            )
            found |= set_flags(session, kind, identity, flags)
        return found


def place_of(spec: KeySpec, identity: bytes) -> Place:
    """Where a version is on the token."""
    is_symmetric = TRAITS[spec].is_symmetric
    return (ObjectClass.SECRET_KEY if is_symmetric else ObjectClass.PRIVATE_KEY, identity)


def label_of(key_id: str, number: int) -> str:
    """CKA_LABEL: for people, and not searched by."""
    return f"kms:{key_id}:{number}"


def try_secret(session: Session, mechanism: int, handle: int) -> None:
    """Encrypt and decrypt once.

    Raises:
        InternalError: What comes out is not what went in.
    """
    nonce, data, aad = os.urandom(12), os.urandom(32), b"kmscore trial"
    sealed = session.gcm.encrypt(handle, mechanism, nonce, data, aad)
    if session.gcm.decrypt(handle, mechanism, nonce, sealed, aad) != data or data in sealed:
        raise InternalError("the token made a key that does not encrypt as it should")


def signs(session: Session, pair: Pair, algorithm: SigningAlgorithm, scheme: SigningScheme) -> bool:
    """Whether a signature of the private half is right for the public one."""
    message = Message(os.urandom(100))
    value = _signing.to_be_signed(algorithm, message, pair.public)
    signature = _signing.sign(session, pair.private, scheme, value)
    return PublicKey(pair.public).verify(message, signature, algorithm)


def decrypts(
    session: Session, pair: Pair, algorithm: EncryptionAlgorithm, sm2: Sm2Profile | None
) -> bool:
    """Whether the private half opens what is encrypted for the public one."""
    data = os.urandom(32)
    ciphertext = PublicKey(pair.public).encrypt(data, algorithm)
    if algorithm is EncryptionAlgorithm.SM2 and sm2 is not None:
        return _asymmetric.decrypt_sm2(session, pair.private, sm2, ciphertext) == data
    return _asymmetric.decrypt(session, pair.private, algorithm, ciphertext) == data


def _destroy(session: Session, identities: list[bytes]) -> None:
    for identity in identities:
        remove(session, identity)
