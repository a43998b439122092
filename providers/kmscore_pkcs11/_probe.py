"""What a token can do, found out by doing it, on objects that are gone afterwards.

What a module lists is no guide: SoftHSM leaves garbage in the flags of mechanisms and lists OAEP
without saying that it stops at SHA-1; TPM modules do what they do not list. Every result here was
checked against `cryptography`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.errors import KmsError
from kmscore.public_key import PublicKey
from kmscore_pkcs11 import _asymmetric, _guard
from kmscore_pkcs11._abilities import (
    ALLOWED,
    COPYABLE,
    ED25519_BY_OID,
    ED25519_OID,
    EXPLICIT_REJECTION,
    FLAGS,
    GCM,
    HMAC,
    NEVER_WRAPPED,
    RANDOM,
    RAW_RSA,
    Abilities,
)
from kmscore_pkcs11._errors import LOST, name_of
from kmscore_pkcs11._failures import FAILURES, code_of_failure
from kmscore_pkcs11._keys import decrypts, signs
from kmscore_pkcs11._objects import Pair, generate_pair, generate_secret, remove, set_flags
from kmscore_pkcs11._templates import (
    IDENTITY_BYTES,
    Template,
    checked,
    private_key,
    public_key,
    secret_key,
)
from kmscore_pkcs11._token import Token
from kmscore_pkcs11._unwrapping import MEASURES, prove

if TYPE_CHECKING:
    from kmscore_pkcs11._schemes import Schemes, SigningScheme, Sm2Profile
    from kmscore_pkcs11._sessions import Session

Made = TypeVar("Made")

LABEL: Final = "kms:probe"

Trial = Callable[["Session"], Any]


def probe(token: Token, schemes: Schemes) -> Abilities:
    """Try everything that the provider may do with a token: a second or two on a soft token.

    Args:
        token: The token.
        schemes: How it is asked.

    Raises:
        KmsError: The token was lost meanwhile.
    """
    return token.change("C_GenerateKey", _Probe(token, schemes).run)


def has_hmac(token: Token) -> bool:
    """Whether the token computes HMAC-SHA-256, asked anew at every start.

    What protects a registry does not depend on a note in the registry.
    """

    def attempt(session: Session) -> bool:
        return _refusal(partial(_hmac, session), session) == ""

    return token.change("C_Sign", attempt)


class _WrongError(Exception):
    """The token does something, but not the right thing."""


class _Probe:
    def __init__(self, token: Token, schemes: Schemes) -> None:
        self._token = token
        self._schemes = schemes
        self._found: dict[str, str] = {}

    def run(self, maker: Session) -> Abilities:
        """Every trial; keys belong to the maker's session, each call has one of its own."""
        self._found = {}
        self._try(RANDOM, _random)
        self._try(HMAC, partial(_hmac, maker))
        self._symmetric(maker)
        self._rsa(maker)
        self._curves(maker)
        self._vendor(maker)
        return Abilities(self._found)

    def _try(self, name: str, trial: Trial) -> bool:
        """Try on a session of its own, which is thrown away afterwards."""
        self._found[name] = self._token.change("C_GetSessionInfo", partial(_refusal, trial))
        return self.can(name)

    def can(self, name: str) -> bool:
        """Whether that worked."""
        return self._found.get(name) == ""

    def _make(self, name: str, maker: Session, make: Callable[[], Made]) -> Made | None:
        """Make a key on the maker's session; None when the token does not."""
        made: list[Made] = []
        self._found[name] = _refusal(lambda _: made.append(make()), maker)
        return made[0] if made else None

    def _symmetric(self, maker: Session) -> None:
        known = self._make(GCM, maker, partial(_known_key, maker, KeyType.AES, 32))
        if known is not None:
            self._try(GCM, partial(_gcm, Mechanism.AES_GCM, *known))
        for spec in (KeySpec.AES_128, KeySpec.AES_256):
            make = partial(generate_secret, maker, TRAITS[spec].bits, _secret())
            made = self._make(spec, maker, make)
            if made is not None:
                self._try(spec, partial(_gcm, Mechanism.AES_GCM, made, None))
        if self.can(KeySpec.AES_256):
            self._habits(maker)

    def _habits(self, maker: Session) -> None:
        """How the token treats attributes of symmetric keys."""
        restricted: Template = {Attribute.ALLOWED_MECHANISMS: (Mechanism.AES_CBC_PAD,)}
        if self._keeps(maker, ALLOWED, restricted):
            other = generate_secret(maker, 256, _secret() | restricted)
            self._try(ALLOWED, partial(_must_refuse, other))
        self._keeps(maker, COPYABLE, {Attribute.COPYABLE: False})
        template = _secret()
        key = generate_secret(maker, 256, template)
        place = (ObjectClass.SECRET_KEY, bytes(template[Attribute.ID]))
        off: Template = {Attribute.ENCRYPT: False}
        if self._make(FLAGS, maker, partial(set_flags, maker, *place, off)):
            self._try(FLAGS, partial(_must_refuse, key))
        self._try(NEVER_WRAPPED, partial(_must_not_wrap, place))

    def _keeps(self, maker: Session, name: str, attributes: Template) -> bool:
        """Whether a key may have such attributes when it is to stay: NSS has other rules then."""
        identity = os.urandom(IDENTITY_BYTES)
        template = secret_key(identity, LABEL, token=True) | attributes
        self._make(name, maker, partial(generate_secret, maker, 256, template))
        remove(maker, identity)
        return self.can(name)

    def _rsa(self, maker: Session) -> None:
        spec = KeySpec.RSA_2048
        signer = self._make(spec, maker, partial(_pair, maker, spec, Attribute.SIGN))
        if signer is None:
            return
        for signing in TRAITS[spec].signing:
            self._try(signing, self._signing(signer, signing))
        decrypter = self._make(RAW_RSA, maker, partial(_pair, maker, spec, Attribute.DECRYPT))
        if decrypter is not None:
            for scheme in TRAITS[spec].encryption:
                self._try(scheme, partial(_decrypt, decrypter, scheme, None))
            self._try(RAW_RSA, partial(_decrypt_raw, decrypter))
            self._try(EXPLICIT_REJECTION, partial(_must_reject, decrypter))
        self._sizes()
        if self.can(KeySpec.AES_256):
            make = partial(_pair, maker, spec, Attribute.UNWRAP)
            unwrapper = self._make("unwrap", maker, make)
            if unwrapper is not None:
                self._unwrapping(unwrapper)

    def _sizes(self) -> None:
        """Larger keys, by what the token lists: making one can take it a minute."""
        try:
            most = self._token.mechanism_info(Mechanism.RSA_PKCS_KEY_PAIR_GEN).max_key_length
        except FAILURES:
            most = 2048
        for spec in (KeySpec.RSA_3072, KeySpec.RSA_4096):
            self._found[spec] = "" if TRAITS[spec].bits <= most else f"at most {most} bits"

    def _unwrapping(self, pair: Pair) -> None:
        for wrapping in WrappingAlgorithm:
            for measure in MEASURES:
                if self._try(f"unwrap {wrapping}", partial(prove, pair, wrapping, measure)):
                    self._found[measure] = ""
                    break

    def _curves(self, maker: Session) -> None:
        for spec, name, params in (
            (KeySpec.EC_P256, KeySpec.EC_P256.value, b""),
            (KeySpec.EC_P384, KeySpec.EC_P384.value, b""),
            (KeySpec.ED25519, KeySpec.ED25519.value, b""),
            (KeySpec.ED25519, ED25519_BY_OID, ED25519_OID),
        ):
            if self.can(spec):
                continue
            make = partial(_pair, maker, spec, Attribute.SIGN, params)
            made = self._make(name, maker, make)
            (signing,) = TRAITS[spec].signing
            if made is not None and self._try(name, self._signing(made, signing)):
                self._found[signing] = ""

    def _signing(self, pair: Pair, algorithm: SigningAlgorithm) -> Trial:
        return partial(_sign, pair, algorithm, self._schemes.signing[algorithm])

    def _vendor(self, maker: Session) -> None:
        """SM4 and SM2, where a profile says how: their numbers may mean anything."""
        sm4 = self._schemes.secret.get(KeySpec.SM4)
        if sm4 is not None:
            known = self._make(KeySpec.SM4, maker, partial(_known_key, maker, sm4.kind, 16))
            if known is not None:
                self._try(KeySpec.SM4, partial(_sm4_gcm, sm4.gcm, *known))
            if self.can(KeySpec.SM4):
                make = partial(generate_secret, maker, 128, _secret(), sm4)
                made = self._make(KeySpec.SM4, maker, make)
                if made is not None:
                    self._try(KeySpec.SM4, partial(_gcm, sm4.gcm, made, None))
        sm2 = self._schemes.sm2
        if sm2 is None:
            return
        make_pair = partial(_pair, maker, KeySpec.SM2, sm2=sm2)
        signer = self._make(SigningAlgorithm.SM2DSA, maker, partial(make_pair, Attribute.SIGN))
        if signer is not None:
            self._try(SigningAlgorithm.SM2DSA, self._signing(signer, SigningAlgorithm.SM2DSA))
        if sm2.decryption is not None:
            decrypter = self._make(
                EncryptionAlgorithm.SM2, maker, partial(make_pair, Attribute.DECRYPT)
            )
            if decrypter is not None:
                trial = partial(_decrypt, decrypter, EncryptionAlgorithm.SM2, sm2)
                self._try(EncryptionAlgorithm.SM2, trial)


def _refusal(trial: Trial, session: Session) -> str:
    """An empty string when the trial succeeds, or why it fails; a lost token is no refusal."""
    try:
        trial(session)
    except FAILURES as error:
        code = code_of_failure(error)
        if code in LOST:
            raise
        return name_of(code) if code is not None else type(error).__name__
    except KmsError as error:
        return error.code or error.message
    except (_WrongError, ValueError) as error:
        return str(error) or "a wrong result"
    return ""


def _fails(call: Callable[[], object]) -> bool:
    """Whether the token refuses; a lost token is no refusal."""
    return _refusal(lambda _: call(), None) != ""  # type: ignore[arg-type]


# --- Trials ----------------------------------------------------------------------------------


def _secret() -> Template:
    return secret_key(os.urandom(IDENTITY_BYTES), LABEL, token=False)


def _known_key(maker: Session, kind: KeyType, size: int) -> tuple[int, bytes]:
    value = os.urandom(size)
    template = _secret() | {Attribute.KEY_TYPE: kind, Attribute.VALUE: value}
    return int(maker.raw.create_object(checked(template)).handle), value


def _pair(
    maker: Session,
    spec: KeySpec,
    flag: Attribute,
    params: bytes = b"",
    sm2: Sm2Profile | None = None,
) -> Pair:
    identity = os.urandom(IDENTITY_BYTES)
    public = public_key(identity, LABEL, flag)
    private = private_key(identity, LABEL, flag, token=False)
    return generate_pair(maker, spec, public, private, params=params, sm2=sm2)


def _gcm(mechanism: int, key: int, value: bytes | None, session: Session) -> None:
    nonce, aad, data = os.urandom(12), os.urandom(20), os.urandom(100)
    sealed = session.gcm.encrypt(key, mechanism, nonce, data, aad)
    if session.gcm.nonce != nonce:
        raise _WrongError("the token makes its own nonces")
    if value is not None and sealed != AESGCM(value).encrypt(nonce, data, aad):
        raise _WrongError("a wrong ciphertext")
    if session.gcm.decrypt(key, mechanism, nonce, sealed, aad) != data:
        raise _WrongError("a wrong plaintext")
    if not _fails(lambda: session.gcm.decrypt(key, mechanism, nonce, sealed, aad + b"x")):
        raise _WrongError("a wrong tag is accepted")


def _must_refuse(key: int, session: Session) -> None:
    nonce = os.urandom(12)
    if not _fails(lambda: session.gcm.encrypt(key, Mechanism.AES_GCM, nonce, bytes(16), b"aad")):
        raise _WrongError("not enforced")


def _must_not_wrap(place: tuple[ObjectClass, bytes], session: Session) -> None:
    flags = dict.fromkeys((Attribute.ENCRYPT, Attribute.DECRYPT), False)
    template = checked(_secret() | flags | {Attribute.WRAP: True})
    kek = session.raw.generate_key(KeyType.AES, 256, capabilities=0, template=template)
    kind, identity = place
    (key,) = session.raw.get_objects({Attribute.CLASS: kind, Attribute.ID: identity})
    if not _fails(lambda: kek.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP)):
        raise _WrongError("keys that are not extractable can be wrapped and taken out")


def _sm4_gcm(mechanism: int, key: int, value: bytes, session: Session) -> None:
    nonce, aad, data = os.urandom(12), os.urandom(20), os.urandom(100)
    try:
        encryptor = Cipher(SM4(value), modes.GCM(nonce)).encryptor()
    except UnsupportedAlgorithm as error:
        raise _WrongError("this machine has no SM4 to compare with") from error
    encryptor.authenticate_additional_data(aad)
    expected = encryptor.update(data) + encryptor.finalize() + encryptor.tag
    if session.gcm.encrypt(key, mechanism, nonce, data, aad) != expected:
        raise _WrongError("the numbers of the profile are not those of SM4")


def _sign(pair: Pair, algorithm: SigningAlgorithm, scheme: SigningScheme, session: Session) -> None:
    if not signs(session, pair, algorithm, scheme):
        raise _WrongError("a wrong signature")


def _decrypt(
    pair: Pair, algorithm: EncryptionAlgorithm, sm2: Sm2Profile | None, session: Session
) -> None:
    if not decrypts(session, pair, algorithm, sm2):
        raise _WrongError("a wrong plaintext")


def _decrypt_raw(pair: Pair, session: Session) -> None:
    data = os.urandom(32)
    ciphertext = PublicKey(pair.public).encrypt(data, EncryptionAlgorithm.RSAES_OAEP_SHA_256)
    encoded = _asymmetric.raw(session, pair.private, ciphertext)
    if _asymmetric.unpad_oaep_sha256(encoded) != data:
        raise _WrongError("a wrong plaintext")


def _must_reject(pair: Pair, session: Session) -> None:
    garbage = b"\0" + os.urandom(TRAITS[KeySpec.RSA_2048].bits // 8 - 1)
    scheme = EncryptionAlgorithm.RSAES_PKCS1_V1_5
    if not _fails(lambda: _asymmetric.decrypt(session, pair.private, scheme, garbage)):
        raise _WrongError("bad PKCS #1 v1.5 padding gives random bytes")


def _hmac(maker: Session, session: Session) -> None:
    key = _guard.guard_key(maker, os.urandom(IDENTITY_BYTES), LABEL, token=False)
    first, again, other = (
        _guard.hmac_sha256(session, key, data) for data in (b"one", b"one", b"two")
    )
    if first != again or len(first) != 32 or first == other:
        raise _WrongError("a wrong code")


def _random(session: Session) -> None:
    first, second = (session.raw.generate_random(256) for _ in range(2))
    if first == second or len(first) != 32:
        raise _WrongError("no random bytes")
