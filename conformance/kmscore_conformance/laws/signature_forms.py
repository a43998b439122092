"""Forms of signatures: a malformed one is wrong, it is no error, and no second form is accepted."""

from __future__ import annotations

from collections.abc import Iterator

from kmscore.algorithms import SigningAlgorithm
from kmscore.encodings.signature import signature_der, signature_integers, signature_to_raw
from kmscore.errors import InvalidRequest
from kmscore.signing import Message
from kmscore_conformance.law import Layer, law
from kmscore_conformance.laws.signatures import ORDERS
from kmscore_conformance.outcome import Violation
from kmscore_conformance.scope import signing
from kmscore_conformance.strategies import flipped
from kmscore_conformance.trial import Trial, require

S = SigningAlgorithm
MESSAGE = Message(b"one signature, one form")
ON_CURVES = signing(S.ECDSA_SHA_256, S.ECDSA_SHA_384, S.SM2DSA)


def _refuses(trial: Trial, what: str, signature: bytes) -> None:
    answer = trial.key.verify(MESSAGE, signature, algorithm=trial.signing)
    require(answer is False, f"{what} is accepted")


@law(
    "sig.malformed",
    "A signature that was cut, extended or altered is False, not an error.",
    Layer.PROPERTIES,
    signing(),
)
def malformed(trial: Trial) -> None:
    """An error would mean that nobody knows."""
    right = trial.key.sign(MESSAGE, algorithm=trial.signing)
    size = len(right)
    altered = {
        "an empty signature": b"",
        "one byte": b"\0",
        "a signature cut by a byte": right[:-1],
        "a signature cut to half": right[: size // 2],
        "a signature with a byte more": right + b"\0",
        "a signature with a byte before": b"\0" + right,
        "a signature twice": right + right,
        "zeros": bytes(size),
        "ones": b"\xff" * size,
        "text": b"not a signature",
    }
    for what, signature in altered.items():
        _refuses(trial, what, signature)
    for place in range(0, size, max(1, size // (4 + 4 * trial.profile.few))):
        _refuses(trial, f"a signature with byte {place} changed", flipped(right, place, place % 8))


@law(
    "sig.der",
    "ECDSA and SM2 signatures are strict DER of r and s within the group's order.",
    Layer.PROPERTIES,
    ON_CURVES,
)
def der(trial: Trial) -> None:
    """RFC 3279, 2.2.3; GM/T 0009-2012, clause 7."""
    order = ORDERS[trial.signing]
    for number in range(trial.profile.few + 3):
        message = Message(b"number %d" % number)
        signature = trial.key.sign(message, algorithm=trial.signing)
        try:
            r, s = signature_integers(signature)
        except InvalidRequest as error:
            raise Violation(f"the signature is not strict DER: {error.message}") from error
        require(0 < r < order and 0 < s < order, "r or s is out of range")


@law(
    "sig.der-strict",
    "No second form of an ECDSA or SM2 signature is accepted.",
    Layer.PROPERTIES,
    ON_CURVES,
)
def der_strict(trial: Trial) -> None:
    """Malleable signatures have broken systems that use them as names."""
    right = trial.key.sign(MESSAGE, algorithm=trial.signing)
    require(trial.key.verify(MESSAGE, right, algorithm=trial.signing), "it is wrong to begin with")
    for what, signature in _other_forms(right, ORDERS[trial.signing]):
        _refuses(trial, what, signature)


def _other_forms(right: bytes, order: int) -> Iterator[tuple[str, bytes]]:
    r, s = signature_integers(right)
    size = (order.bit_length() + 7) // 8
    body = right[2:] if right[1] < 0x80 else right[3:]
    first = body[: 2 + body[1]]
    second = body[len(first) :]
    yield "r ‖ s", signature_to_raw(right, size)
    yield "bytes after the sequence", right + b"\x05\x00"
    yield "a third integer", _sequence(body + b"\x02\x01\x00")
    yield "bytes inside after s", _sequence(body + b"\x05\x00")
    yield "a length in long form", b"\x30\x82" + len(body).to_bytes(2) + body
    yield "an indefinite length", b"\x30\x80" + body + b"\x00\x00"
    yield "an r with a zero before it", _sequence(_padded(first) + second)
    yield "an s with a zero before it", _sequence(first + _padded(second))
    yield "a set instead of a sequence", b"\x31" + right[1:]
    yield "r and s exchanged", signature_der(s, r)
    yield "r alone", _sequence(first)
    yield "r + n", signature_der(r + order, s)
    yield "s + n", signature_der(r, s + order)
    yield "r = 0", signature_der(0, s)
    yield "s = 0", signature_der(r, 0)
    yield "r = s = 0", signature_der(0, 0)
    yield "r = s = 1", signature_der(1, 1)
    yield "s = n", signature_der(r, order)
    yield "r = n", signature_der(order, s)
    yield "a negative s", _sequence(first + _negative(s - order))
    yield "a negative r", _sequence(_negative(r - order) + second)


def _sequence(body: bytes) -> bytes:
    head = bytes([len(body)]) if len(body) < 0x80 else b"\x81" + bytes([len(body)])
    return b"\x30" + head + body


def _padded(integer: bytes) -> bytes:
    return b"\x02" + bytes([integer[1] + 1]) + b"\0" + integer[2:]


def _negative(value: int) -> bytes:
    body = value.to_bytes((value.bit_length() // 8) + 1, signed=True)
    return b"\x02" + bytes([len(body)]) + body


@law(
    "sig.ed25519-strict",
    "An Ed25519 signature with S beyond the group's order is False.",
    Layer.PROPERTIES,
    signing(S.ED25519),
)
def ed25519_strict(trial: Trial) -> None:
    """RFC 8032, 5.1.7: otherwise everybody can make a second one."""
    order = 2**252 + 27742317777372353535851937790883648493
    right = trial.key.sign(MESSAGE)
    s = int.from_bytes(right[32:], "little")
    require(s < order, "the provider's own S is beyond it")
    _refuses(trial, "S + L", right[:32] + (s + order).to_bytes(32, "little"))


@law(
    "sig.rsa-size",
    "An RSA signature is as long as the modulus, and one that is larger than it is False.",
    Layer.PROPERTIES,
    signing(S.RSA_PKCS1_SHA_256, S.RSA_PSS_SHA_256),
)
def rsa_size(trial: Trial) -> None:
    """RFC 8017, 8.1.2 and 8.2.2, step 1."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    public = load_der_public_key(trial.key.public_key().der)
    if not isinstance(public, rsa.RSAPublicKey):
        raise Violation("the public key is not RSA")
    size, modulus = public.key_size // 8, public.public_numbers().n
    right = trial.key.sign(MESSAGE, algorithm=trial.signing)
    require(len(right) == size, f"{len(right)} bytes for a modulus of {size}")
    value = int.from_bytes(right) + modulus
    if value.bit_length() <= 8 * size:
        _refuses(trial, "s + n", value.to_bytes(size))
    _refuses(trial, "s + n in a byte more", value.to_bytes(size + 1))
    _refuses(trial, "n itself", modulus.to_bytes(size))
