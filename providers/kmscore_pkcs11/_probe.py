"""What a token can do, found out by doing it, on objects that are gone afterwards.

What a module lists is no guide: SoftHSM leaves garbage in the flags of mechanisms and lists OAEP
without saying that it stops at SHA-1; TPM modules do what they do not list. Every result here was
checked against `cryptography`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore_pkcs11 import _trials
from kmscore_pkcs11._abilities import (
    ALLOWED,
    BORROWS_RSA,
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
from kmscore_pkcs11._failures import FAILURES
from kmscore_pkcs11._known_rsa import lend
from kmscore_pkcs11._objects import Pair, generate_secret, remove, set_flags
from kmscore_pkcs11._templates import IDENTITY_BYTES, Template, secret_key
from kmscore_pkcs11._token import Token
from kmscore_pkcs11._trials import LABEL, Trial
from kmscore_pkcs11._unwrapping import MEASURES, prove

if TYPE_CHECKING:
    from kmscore_pkcs11._schemes import Schemes
    from kmscore_pkcs11._sessions import Session

Made = TypeVar("Made")


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
        return _trials.refusal(partial(_trials.hmac_sha256, session), session) == ""

    return token.change("C_Sign", attempt)


class _Probe:
    def __init__(self, token: Token, schemes: Schemes) -> None:
        self._token = token
        self._schemes = schemes
        self._found: dict[str, str] = {}

    def run(self, maker: Session) -> Abilities:
        """Every trial; keys belong to the maker's session, each call has one of its own."""
        self._found = {}
        self._try(RANDOM, _trials.random_bytes)
        self._try(HMAC, partial(_trials.hmac_sha256, maker))
        self._symmetric(maker)
        self._rsa(maker)
        self._curves(maker)
        self._vendor(maker)
        return Abilities(self._found)

    def _try(self, name: str, trial: Trial) -> bool:
        """Try on a session of its own, which is thrown away afterwards."""
        self._found[name] = self._token.change("C_GetSessionInfo", partial(_trials.refusal, trial))
        return self.can(name)

    def can(self, name: str) -> bool:
        """Whether that worked."""
        return self._found.get(name) == ""

    def _make(self, name: str, maker: Session, make: Callable[[], Made]) -> Made | None:
        """Make a key on the maker's session; None when the token does not."""
        made: list[Made] = []
        self._found[name] = _trials.refusal(lambda _: made.append(make()), maker)
        return made[0] if made else None

    def _symmetric(self, maker: Session) -> None:
        known = self._make(GCM, maker, partial(_trials.known_key, maker, KeyType.AES, 32))
        if known is not None:
            self._try(GCM, partial(_trials.gcm, Mechanism.AES_GCM, *known))
        works: int | None = None
        for spec in (KeySpec.AES_128, KeySpec.AES_256):
            make = partial(generate_secret, maker, TRAITS[spec].bits, _trials.temporary())
            made = self._make(spec, maker, make)
            if made is not None and self._try(
                spec, partial(_trials.gcm, Mechanism.AES_GCM, made, None)
            ):
                works = made
        if known is None and works is not None:
            # It takes no keys in clear, as HSMs in FIPS mode: less can be compared.
            self._try(GCM, partial(_trials.counts, Mechanism.AES_GCM, works))
        if self.can(KeySpec.AES_256):
            self._habits(maker)

    def _habits(self, maker: Session) -> None:
        """How the token treats attributes of symmetric keys."""
        restricted: Template = {Attribute.ALLOWED_MECHANISMS: (Mechanism.AES_CBC_PAD,)}
        if self._keeps(maker, ALLOWED, restricted):
            other = generate_secret(maker, 256, _trials.temporary() | restricted)
            self._try(ALLOWED, partial(_trials.must_refuse, other))
        self._keeps(maker, COPYABLE, {Attribute.COPYABLE: False})
        template = _trials.temporary()
        key = generate_secret(maker, 256, template)
        place = (ObjectClass.SECRET_KEY, bytes(template[Attribute.ID]))
        off: Template = {Attribute.ENCRYPT: False}
        if self._make(FLAGS, maker, partial(set_flags, maker, *place, off)):
            self._try(FLAGS, partial(_trials.must_refuse, key))
        self._try(NEVER_WRAPPED, partial(_trials.must_not_wrap, place))

    def _keeps(self, maker: Session, name: str, attributes: Template) -> bool:
        """Whether a key may have such attributes when it is to stay: NSS has other rules then."""
        identity = os.urandom(IDENTITY_BYTES)
        template = secret_key(identity, LABEL, token=True) | attributes
        self._make(name, maker, partial(generate_secret, maker, 256, template))
        remove(maker, identity)
        return self.can(name)

    def _rsa(self, maker: Session) -> None:
        spec = KeySpec.RSA_2048
        signer = self._make(spec, maker, partial(_trials.make_pair, maker, spec, Attribute.SIGN))
        if signer is None:
            return
        for signing in TRAITS[spec].signing:
            self._try(signing, self._signing(signer, signing))
        decrypter = self._make(
            RAW_RSA, maker, partial(_trials.make_pair, maker, spec, Attribute.DECRYPT)
        )
        if decrypter is not None:
            for scheme in TRAITS[spec].encryption:
                self._try(scheme, partial(_trials.decrypts_right, decrypter, scheme, None))
            self._try(RAW_RSA, partial(_trials.decrypts_raw, decrypter))
            self._try(EXPLICIT_REJECTION, partial(_trials.must_reject, decrypter))
        self._sizes(maker)
        if self.can(KeySpec.AES_256):
            make = partial(_trials.make_pair, maker, spec, Attribute.UNWRAP)
            unwrapper = self._make("unwrap", maker, make)
            if unwrapper is not None:
                self._unwrapping(unwrapper)

    def _sizes(self, maker: Session) -> None:
        """Larger keys, by one that is lent: making one can take the token a minute."""
        self._borrows(maker, BORROWS_RSA, KeySpec.RSA_2048)
        most = self._most_bits()
        for spec in (KeySpec.RSA_3072, KeySpec.RSA_4096):
            is_listed = TRAITS[spec].bits <= most
            if not self.can(BORROWS_RSA):
                self._found[spec] = "" if is_listed else f"at most {most} bits, as it lists"
            elif self._borrows(maker, spec, spec) and not is_listed:
                # Either it refuses at once, or it does more than it lists.
                self._make(spec, maker, partial(_trials.make_pair, maker, spec, Attribute.SIGN))

    def _borrows(self, maker: Session, name: str, spec: KeySpec) -> bool:
        """Whether the token takes the known pair of that size, and works with it."""
        signing = next(filter(self.can, TRAITS[spec].signing), None)
        scheme = next(filter(self.can, TRAITS[spec].encryption), None)
        flag = Attribute.DECRYPT if signing is None else Attribute.SIGN
        pair = self._make(name, maker, partial(lend, maker, spec, flag, LABEL))
        if pair is None:
            return False
        trial: Trial = partial(_trials.decrypts_raw, pair)
        if signing is not None:
            trial = self._signing(pair, signing)
        elif scheme is not None:
            trial = partial(_trials.decrypts_right, pair, scheme, None)
        return self._try(name, trial)

    def _most_bits(self) -> int:
        """The longest modulus that the token lists for pairs that it makes."""
        try:
            return int(self._token.mechanism_info(Mechanism.RSA_PKCS_KEY_PAIR_GEN).max_key_length)
        except FAILURES:
            return TRAITS[KeySpec.RSA_2048].bits

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
            make = partial(_trials.make_pair, maker, spec, Attribute.SIGN, params)
            made = self._make(name, maker, make)
            (signing,) = TRAITS[spec].signing
            if made is not None and self._try(name, self._signing(made, signing)):
                self._found[signing] = ""

    def _signing(self, pair: Pair, algorithm: SigningAlgorithm) -> Trial:
        return partial(_trials.signs_right, pair, algorithm, self._schemes.signing[algorithm])

    def _vendor(self, maker: Session) -> None:
        """SM4 and SM2, where a profile says how: their numbers may mean anything."""
        sm4 = self._schemes.secret.get(KeySpec.SM4)
        if sm4 is not None:
            known = self._make(KeySpec.SM4, maker, partial(_trials.known_key, maker, sm4.kind, 16))
            if known is not None:
                self._try(KeySpec.SM4, partial(_trials.sm4_gcm, sm4.gcm, *known))
            if self.can(KeySpec.SM4):
                make = partial(generate_secret, maker, 128, _trials.temporary(), sm4)
                made = self._make(KeySpec.SM4, maker, make)
                if made is not None:
                    self._try(KeySpec.SM4, partial(_trials.gcm, sm4.gcm, made, None))
        sm2 = self._schemes.sm2
        if sm2 is None:
            return
        make_pair = partial(_trials.make_pair, maker, KeySpec.SM2, sm2=sm2)
        signer = self._make(SigningAlgorithm.SM2DSA, maker, partial(make_pair, Attribute.SIGN))
        if signer is not None:
            self._try(SigningAlgorithm.SM2DSA, self._signing(signer, SigningAlgorithm.SM2DSA))
        if sm2.decryption is not None:
            decrypter = self._make(
                EncryptionAlgorithm.SM2, maker, partial(make_pair, Attribute.DECRYPT)
            )
            if decrypter is not None:
                trial = partial(_trials.decrypts_right, decrypter, EncryptionAlgorithm.SM2, sm2)
                self._try(EncryptionAlgorithm.SM2, trial)
