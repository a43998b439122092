"""Key objects on a token: made, read back, tried, switched on and off, and destroyed.

Everything here is done on a read-write session, and may be done again after the token was lost and
came back: what an earlier try left behind is looked for, and removed, first.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.exceptions import PKCS11Error

from kmscore.algorithms import TRAITS, KeySpec
from kmscore.encodings import sm2_public_key
from kmscore.errors import InternalError, Unsupported
from kmscore_pkcs11._schemes import STANDARD, SecretScheme, Sm2Profile
from kmscore_pkcs11._templates import (
    EC_PARAMS,
    KEY_TYPES,
    PUBLIC_EXPONENT,
    Template,
    checked,
)

if TYPE_CHECKING:
    from pkcs11 import ObjectClass

    from kmscore_pkcs11._sessions import Session

_AES: Final = STANDARD.secret[KeySpec.AES_256]
_CURVES: Final = {KeySpec.EC_P256: ec.SECP256R1, KeySpec.EC_P384: ec.SECP384R1}


class Pair(NamedTuple):
    """A key pair that was just made.

    Attributes:
        public: SubjectPublicKeyInfo in DER.
        private: The handle of the private half.
    """

    public: bytes
    private: int


def generate_secret(
    session: Session, bits: int, template: Template, scheme: SecretScheme = _AES
) -> int:
    """A new symmetric key, by default AES.

    Returns:
        Its handle.

    Raises:
        Unsupported: The token makes keys that can leave it.
        PKCS11Error: It makes none.
    """
    remove(session, template[Attribute.ID])
    key = session.raw.generate_key(
        scheme.kind,
        bits,
        mechanism=scheme.generation,
        capabilities=0,
        template=checked(template),
    )
    return _kept(session, key, template)


def generate_pair(
    session: Session,
    spec: KeySpec,
    public: Template,
    private: Template,
    *,
    params: bytes = b"",
    sm2: Sm2Profile | None = None,
) -> Pair:
    """A new key pair; the public half is gone with the session.

    Args:
        session: A read-write session.
        spec: What it is made of.
        public: The template of the public half.
        private: The template of the private half.
        params: CKA_EC_PARAMS, where the usual ones do not do.
        sm2: How the vendor does SM2; needed for such keys alone.

    Raises:
        Unsupported: The token makes keys that can leave it.
        PKCS11Error: It makes none.
    """
    remove(session, private[Attribute.ID])
    traits = TRAITS[spec]
    kind = sm2.kind if sm2 else KEY_TYPES[traits.family]
    if kind is KeyType.RSA:
        public = {
            **public,
            Attribute.MODULUS_BITS: traits.bits,
            Attribute.PUBLIC_EXPONENT: PUBLIC_EXPONENT,
        }
        make, mechanism = session.raw.generate_keypair, Mechanism.RSA_PKCS_KEY_PAIR_GEN
        arguments: tuple[Any, ...] = (kind, traits.bits)
    else:
        curve = {Attribute.EC_PARAMS: params or EC_PARAMS[spec]}
        public = {**public, **curve}
        domain = session.raw.create_domain_parameters(kind, checked(curve), local=True)
        make, mechanism = domain.generate_keypair, Mechanism.EC_KEY_PAIR_GEN
        if sm2:
            mechanism = sm2.generation
        elif kind is KeyType.EC_EDWARDS:
            mechanism = Mechanism.EC_EDWARDS_KEY_PAIR_GEN
        arguments = ()
    open_half, closed_half = make(
        *arguments,
        mechanism=mechanism,
        capabilities=0,
        public_template=checked(public),
        private_template=checked(private),
    )
    try:
        der = _public_key(spec, open_half)
        with suppress(PKCS11Error):
            open_half.destroy()
    except BaseException:
        closed_half.destroy()
        raise
    return Pair(der, _kept(session, closed_half, private))


def remove(session: Session, identity: bytes) -> None:
    """Destroy every object with that CKA_ID; afterwards there is none.

    Raises:
        InternalError: The token keeps one.
        PKCS11Error: It destroys none.
    """
    for _ in range(2):
        found = session.search(identity)
        if not found:
            return
        for handle in found:
            session.destroy(handle)
    raise InternalError("the token keeps a key that it was told to destroy")


def set_flags(session: Session, kind: ObjectClass, identity: bytes, flags: Template) -> bool:
    """Set usage flags of the key with that CKA_ID.

    Returns:
        Whether the token has that key.
    """
    found = session.search(identity, kind)
    for handle in found:
        for flag, value in checked(flags).items():
            session.set_flag(handle, flag, value)
    return bool(found)


def read_back(key: Any, template: Template) -> str:
    """What the token made of a template where it matters, or an empty string when all is right.

    The API promises nothing: opencryptoki takes SENSITIVE and EXTRACTABLE in C_UnwrapKey, and
    ignores both.
    """
    watched = (
        Attribute.SENSITIVE,
        Attribute.EXTRACTABLE,
        Attribute.PRIVATE,
        Attribute.ENCRYPT,
        Attribute.DECRYPT,
        Attribute.SIGN,
        Attribute.WRAP,
        Attribute.UNWRAP,
    )
    wrong = [
        f"CKA_{attribute.name}"
        for attribute in watched
        if attribute in template and bool(key[attribute]) is not bool(template[attribute])
    ]
    return ", ".join(wrong)


def _kept(session: Session, key: Any, template: Template) -> int:
    try:
        wrong = read_back(key, template)
        if wrong:
            raise Unsupported(
                f"the token makes keys with other attributes than it was asked for: {wrong}",
                hint="Its keys could leave it, or do what they are not for",
            )
    except BaseException:
        key.destroy()
        raise
    return int(key.handle)


def _public_key(spec: KeySpec, key: Any) -> bytes:
    """SubjectPublicKeyInfo of a public key object."""
    parsed: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
    if TRAITS[spec].family == "RSA":
        modulus = int.from_bytes(key[Attribute.MODULUS])
        exponent = int.from_bytes(key[Attribute.PUBLIC_EXPONENT])
        parsed = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    elif spec is KeySpec.SM2:
        return sm2_public_key(_point(key[Attribute.EC_POINT], 65))
    elif spec is KeySpec.ED25519:
        parsed = ed25519.Ed25519PublicKey.from_public_bytes(_point(key[Attribute.EC_POINT], 32))
    else:
        size = 1 + TRAITS[spec].bits // 4
        parsed = ec.EllipticCurvePublicKey.from_encoded_point(
            _CURVES[spec](), _point(key[Attribute.EC_POINT], size)
        )
    return parsed.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _point(value: bytes, size: int) -> bytes:
    """CKA_EC_POINT without its OCTET STRING, which some tokens leave out."""
    return value[-size:] if len(value) == size + 2 and value[0] == 0x04 else value
