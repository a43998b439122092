"""Certificate signing requests for keys that stay where they are (PKCS #10, RFC 2986).

A certificate authority gets the public key, a name and a proof that whoever asks has the private
key: a signature, made by the key's provider.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from kmscore.algorithms import TRAITS, KeySpec, KeyUsage, SigningAlgorithm, parse
from kmscore.checks import require_text
from kmscore.encodings import der
from kmscore.encodings.spki import ED25519
from kmscore.errors import InvalidRequest, LimitExceeded
from kmscore.signing import Message

if TYPE_CHECKING:
    from cryptography import x509

    from kmscore.key import Key

MAX_TEXT: Final = 4096
"""Most characters of a subject, and of all alternative names together."""

_SHA_256: Final = der.sequence(der.object_identifier("2.16.840.1.101.3.4.2.1"), der.NULL)
_MGF1: Final = der.sequence(der.object_identifier("1.2.840.113549.1.1.8"), _SHA_256)

# The library writes these names as PrintableString and IA5String (RFC 5280, A.1; X.680, 41), and
# does not look at their characters.
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")
_IA5: Final = re.compile(r"[\x00-\x7f]*")
_CHARACTERS: Final = {
    "2.5.4.6": _PRINTABLE,  # countryName
    "2.5.4.5": _PRINTABLE,  # serialNumber
    "2.5.4.46": _PRINTABLE,  # dnQualifier
    "1.3.6.1.4.1.311.60.2.1.3": _PRINTABLE,  # jurisdictionCountryName
    "1.2.840.113549.1.9.1": _IA5,  # emailAddress
    "0.9.2342.19200300.100.1.25": _IA5,  # domainComponent
}

SIGNATURE_ALGORITHMS: Final = {
    SigningAlgorithm.RSA_PKCS1_SHA_256: der.sequence(
        der.object_identifier("1.2.840.113549.1.1.11"), der.NULL
    ),
    SigningAlgorithm.RSA_PSS_SHA_256: der.sequence(
        der.object_identifier("1.2.840.113549.1.1.10"),
        der.sequence(der.tagged(0, _SHA_256), der.tagged(1, _MGF1), der.tagged(2, der.integer(32))),
    ),
    SigningAlgorithm.ECDSA_SHA_256: der.sequence(der.object_identifier("1.2.840.10045.4.3.2")),
    SigningAlgorithm.ECDSA_SHA_384: der.sequence(der.object_identifier("1.2.840.10045.4.3.3")),
    SigningAlgorithm.ED25519: ED25519,
    SigningAlgorithm.SM2DSA: der.sequence(der.object_identifier("1.2.156.10197.1.501")),
}
"""AlgorithmIdentifiers (RSA: RFC 4055, 3 and 5; ECDSA: RFC 5758, 3.2; Ed25519: RFC 8410, 3; SM2
with SM3: GM/T 0006-2012)."""

_EXTENSION_REQUEST: Final = der.object_identifier("1.2.840.113549.1.9.14")
_SUBJECT_ALT_NAME: Final = der.object_identifier("2.5.29.17")


def certificate_request(
    key: Key,
    subject: str,
    names: Sequence[str] = (),
    *,
    algorithm: SigningAlgorithm | str | None = None,
) -> bytes:
    """A request for a certificate, signed by the key where it is.

    Args:
        key: A SIGN_VERIFY key.
        subject: The distinguished name as RFC 4514 writes it, such as
            ``CN=www.example.com,O=Example,C=CN``: the most specific part comes first.
        names: Alternative names: ``DNS:…``, ``IP:…``, ``email:…`` or ``URI:…``; without a kind
            they are DNS names.
        algorithm: The signature scheme; by default the key's own, and RSA_PKCS1_SHA_256 for RSA
            keys, since many authorities do not take PSS.

    Returns:
        CertificationRequest in DER. SM2 signatures are made with the default user id.

    Raises:
        InvalidRequest: The subject or a name is none.
        KeyUsageMismatch: The key is not for signing.
        Unsupported: The provider does not sign with that algorithm.
    """
    key.require_usage(KeyUsage.SIGN_VERIFY, "csr")
    scheme = _scheme(key.spec, algorithm)
    name = _subject(subject)
    attributes = _extension_request(_alternative_names(names)) if names else b""
    info = der.sequence(der.integer(0), name, key.public_key().der, der.tagged(0, attributes))
    signature = key.sign(Message(info), algorithm=scheme)
    return der.sequence(info, SIGNATURE_ALGORITHMS[scheme], der.bit_string(signature))


def _scheme(spec: KeySpec, algorithm: SigningAlgorithm | str | None) -> SigningAlgorithm:
    if algorithm is not None:
        return parse(SigningAlgorithm, algorithm, "algorithm")
    if TRAITS[spec].family == "RSA":
        return SigningAlgorithm.RSA_PKCS1_SHA_256
    return TRAITS[spec].signing[0]


def _subject(text: str) -> bytes:
    """The distinguished name in DER."""
    from cryptography.x509 import Name, NameOID

    wrong = "the subject is no distinguished name"
    mail = NameOID.EMAIL_ADDRESS
    try:
        name = Name.from_rfc4514_string(_short(text, "subject"), {"emailAddress": mail, "E": mail})
        encoded = name.public_bytes()
    except ValueError as error:
        # The library's own words tell which part is too short or too long; some errors have none.
        detail = f": {error}" if str(error) else ""
        raise InvalidRequest(
            f"{wrong}{detail}", hint="Write it like CN=www.example.com,O=Example,C=CN"
        ) from error
    if not name.rdns:
        raise InvalidRequest("the subject is empty", hint="Write it like CN=www.example.com")
    for attribute in name:
        allowed = _CHARACTERS.get(attribute.oid.dotted_string)
        if allowed is not None and not allowed.fullmatch(str(attribute.value)):
            raise InvalidRequest(
                f"{wrong}: {attribute.value!r} holds characters that its kind of name cannot",
                hint="Countries, serial numbers, mail addresses and domains are written in ASCII",
            )
    return encoded


def _alternative_names(names: Sequence[str]) -> bytes:
    """The extension subjectAltName's value in DER (RFC 5280, 4.2.1.6)."""
    from cryptography.x509 import SubjectAlternativeName

    if isinstance(names, str):
        raise InvalidRequest("the alternative names are a str", hint="Give a list of them")
    _short("".join(require_text(name, "alternative name") for name in names), "alternative names")
    return SubjectAlternativeName([_general_name(name) for name in names]).public_bytes()


def _general_name(text: str) -> x509.GeneralName:
    from cryptography import x509

    kind, colon, value = text.partition(":")
    if not colon:
        kind, value = "dns", text
    try:
        match kind.lower():
            case "dns":
                return x509.DNSName(_not_empty(value))
            case "ip":
                return x509.IPAddress(ip_address(value))
            case "email":
                return x509.RFC822Name(_not_empty(value))
            case "uri":
                return x509.UniformResourceIdentifier(_not_empty(value))
            case _:
                raise ValueError
    except ValueError as error:
        raise InvalidRequest(
            f"{text!r} is no alternative name",
            hint="Write DNS:name, IP:address, email:address or URI:uri, in ASCII",
        ) from error


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError
    return value


def _extension_request(alternative_names: bytes) -> bytes:
    """The attribute extensionRequest with one extension (RFC 2985, 5.4.2)."""
    extension = der.sequence(_SUBJECT_ALT_NAME, der.octet_string(alternative_names))
    return der.sequence(_EXTENSION_REQUEST, der.set_of(der.sequence(extension)))


def _short(text: str, what: str) -> str:
    if len(require_text(text, what)) > MAX_TEXT:
        raise LimitExceeded(f"the {what} has {len(text)} characters", hint=f"At most {MAX_TEXT}")
    return text
