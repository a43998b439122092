"""Decryption with key pairs: what was encrypted for the public key, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator

from kmscore.algorithms import TRAITS, EncryptionAlgorithm
from kmscore.encodings import der as _der
from kmscore.encodings import sm2_ciphertext_convert
from kmscore.encodings.curves import SM2
from kmscore.encodings.sm2_ciphertext import SM2CiphertextFormat, decode_ciphertext
from kmscore.errors import CiphertextInvalid, InvalidRequest
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Violation
from kmscore_conformance.scope import deciphering
from kmscore_conformance.strategies import flipped
from kmscore_conformance.trial import Trial, refusal, require, told

E = EncryptionAlgorithm
SECRET = b"thirty-two bytes of a data key!!"
RSA = (E.RSAES_OAEP_SHA_256, E.RSAES_OAEP_SHA_1, E.RSAES_PKCS1_V1_5)
KEYS_TO_ASK = 6
OVERHEAD = {E.RSAES_OAEP_SHA_256: 66, E.RSAES_OAEP_SHA_1: 42, E.RSAES_PKCS1_V1_5: 11}
"""RFC 8017, 7.1.1 and 7.2.1."""


def _refuses(trial: Trial, what: str, ciphertext: bytes) -> None:
    """CiphertextInvalid; or, with PKCS #1 v1.5, bytes that have nothing to do with the secret.

    Answering with random bytes instead of an error ("implicit rejection") is what OpenSSL does
    since 3.2, so that there is no padding oracle to ask.
    """
    if trial.encryption is E.RSAES_PKCS1_V1_5:
        try:
            opened = trial.key.decrypt(ciphertext, algorithm=trial.encryption)
        except CiphertextInvalid:
            return
        require(opened != SECRET, f"{what} is opened")
        return
    call = trial.key.decrypt
    refusal(what, CiphertextInvalid, call, ciphertext, algorithm=trial.encryption)


@law(
    "asym.sizes",
    "Plaintexts of 1 byte and of the largest size for the key are decrypted.",
    Layer.PROPERTIES,
    deciphering(),
)
def sizes(trial: Trial) -> None:
    """With zeros at either end, which some unpadding takes for padding."""
    public = trial.key.public_key()
    most = 96
    if trial.encryption is not E.SM2:
        most = TRAITS[trial.kind.spec].bits // 8 - OVERHEAD[trial.encryption]
    for plaintext in (b"\x01", b"\0" * 16, b"\0" + SECRET + b"\0", b"\x04" * 32, os.urandom(most)):
        sealed = public.encrypt(plaintext, trial.encryption)
        opened = trial.key.decrypt(sealed, algorithm=trial.encryption)
        require(opened == plaintext, f"another plaintext of {len(opened)} bytes came out")


@law(
    "asym.tampering",
    "A ciphertext for a public key that was altered, cut or extended is CiphertextInvalid.",
    Layer.PROPERTIES,
    deciphering(),
)
def tampering(trial: Trial) -> None:
    """Always the same error: what it says of the padding is an oracle (RFC 8017, 7.2.2)."""
    sealed = trial.key.public_key().encrypt(SECRET, trial.encryption)
    size = len(sealed)
    _refuses(trial, "a byte less", sealed[:-1])
    _refuses(trial, "a byte more", sealed + b"\0")
    _refuses(trial, "a byte before", b"\0" + sealed)
    _refuses(trial, "one byte", b"\x02")
    _refuses(trial, "zeros", bytes(size))
    _refuses(trial, "ones", b"\xff" * size)
    for place in range(0, size, max(1, size // (3 + 2 * trial.profile.few))):
        _refuses(trial, f"byte {place} changed", flipped(sealed, place, place % 8))


@law(
    "asym.uniform",
    "Every bad ciphertext for a public key has the same error, word for word.",
    Layer.PROPERTIES,
    deciphering(),
)
def uniform(trial: Trial) -> None:
    """Manger's and Bleichenbacher's attacks need one bit of difference.

    With PKCS #1 v1.5, no error at all but random bytes is even better.
    """
    sealed = trial.key.public_key().encrypt(SECRET, trial.encryption)
    bad = [flipped(sealed, -1), flipped(sealed, len(sealed) // 2), sealed[:-1], sealed + b"\0"]
    bad += [bytes(len(sealed)), os.urandom(len(sealed)), b"\x01"]
    said: set[str] = set()
    for each in bad:
        try:
            trial.key.decrypt(each, algorithm=trial.encryption)
        except CiphertextInvalid as error:
            said.add(told(error))
        else:
            pkcs1 = trial.encryption is E.RSAES_PKCS1_V1_5
            require(pkcs1, f"a bad ciphertext of {len(each)} bytes is opened")
    require(len(said) == 1, f"{len(said)} different errors: {' / '.join(sorted(said))}")


@law(
    "asym.other-key",
    "A ciphertext for another public key is not opened.",
    Layer.PROPERTIES,
    deciphering().smallest(),
)
def other_key(trial: Trial) -> None:
    """Of the same kind."""
    _refuses(
        trial,
        "another key's ciphertext",
        trial.fresh().public_key().encrypt(SECRET, trial.encryption),
    )


@law(
    "asym.other-scheme",
    "A ciphertext of another RSA scheme is not opened.",
    Layer.PROPERTIES,
    deciphering(*RSA),
)
def other_scheme(trial: Trial) -> None:
    """OAEP with SHA-1 is not OAEP with SHA-256."""
    for other in RSA:
        if other is not trial.encryption:
            sealed = trial.key.public_key().encrypt(SECRET, other)
            _refuses(trial, f"a ciphertext of {other}", sealed)


@law(
    "asym.pkcs1-padding",
    "Broken PKCS #1 v1.5 padding is CiphertextInvalid, or random bytes: never a part of the block.",
    Layer.PROPERTIES,
    deciphering(E.RSAES_PKCS1_V1_5),
)
def pkcs1_padding(trial: Trial) -> None:
    """Blocks that Bleichenbacher would send (RFC 8017, 7.2.2)."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    public = load_der_public_key(trial.key.public_key().der)
    if not isinstance(public, rsa.RSAPublicKey):
        raise Violation("the public key is not RSA")
    numbers, size = public.public_numbers(), public.key_size // 8
    fill = size - 3 - len(SECRET)
    blocks = {
        "block type 1": b"\0\x01" + b"\xff" * fill + b"\0" + SECRET,
        "block type 0": b"\0\0" + b"\0" * fill + b"\0" + SECRET,
        "a first byte that is not zero": b"\x01\x02" + b"\x11" * fill + b"\0" + SECRET,
        "no separator": b"\0\x02" + b"\x11" * (size - 2),
        "padding of 7 bytes": b"\0\x02" + b"\x11" * 7 + b"\0" + b"\x22" * (size - 10),
        "a separator at once": b"\0\x02\0" + b"\x22" * (size - 3),
    }
    for what, block in blocks.items():
        sealed = pow(int.from_bytes(block), numbers.e, numbers.n).to_bytes(size)
        try:
            opened = trial.key.decrypt(sealed, algorithm=trial.encryption)
        except (CiphertextInvalid, InvalidRequest):
            continue
        # Random answers have any length; what is as short as this is in every block by chance.
        is_part = len(opened) > 3 and opened in block
        require(not is_part, f"{what}: a part of the block came out")


@law(
    "asym.sm2.forms",
    "SM2 ciphertexts are DER; the raw forms, and DER that is not strict, are CiphertextInvalid.",
    Layer.PROPERTIES,
    deciphering(E.SM2),
)
def sm2_forms(trial: Trial) -> None:
    """GM/T 0009-2012, clause 7: a form is always said, never guessed."""
    sealed = trial.key.public_key().encrypt(SECRET)
    for form in SM2CiphertextFormat:
        if form is not SM2CiphertextFormat.DER:
            raw = sm2_ciphertext_convert(sealed, SM2CiphertextFormat.DER, form)
            _refuses(trial, f"the form {form}", raw)
    for what, bad in _sm2_damage(sealed):
        _refuses(trial, what, bad)


def _sm2_damage(sealed: bytes) -> Iterator[tuple[str, bytes]]:
    x, y, c3, c2 = decode_ciphertext(sealed, SM2CiphertextFormat.DER)

    def put(x: int, y: int, c3: bytes, c2: bytes, tail: bytes = b"") -> bytes:
        parts = (_der.integer(x), _der.integer(y), _der.octet_string(c3), _der.octet_string(c2))
        return _der.sequence(*parts, tail) if tail else _der.sequence(*parts)

    yield "C3 of zeros", put(x, y, bytes(32), c2)
    yield "C3 with a bit changed", put(x, y, flipped(c3, 0), c2)
    yield "C3 with the last bit changed", put(x, y, flipped(c3, 31, 7), c2)
    yield "C2 with a bit changed", put(x, y, c3, flipped(c2, 3))
    yield "C3 and C2 exchanged", put(x, y, c2[:32], c3)
    yield "C3 of 31 bytes", put(x, y, c3[:-1], c2)
    yield "C3 of 33 bytes", put(x, y, c3 + b"\0", c2)
    yield "an empty C2", put(x, y, c3, b"")
    yield "C1 with another y", put(x, y ^ 1, c3, c2)
    yield "C1 with the negative y", put(x, SM2.p - y, c3, c2)
    yield "C1 with x + p", put(x + SM2.p, y, c3, c2)
    yield "C1 at infinity", put(0, 0, c3, c2)
    yield "a fifth part", put(x, y, c3, c2, b"\x05\x00")
    yield "bytes after it", sealed + b"\0"


@law(
    "asym.sm2.invalid-curve",
    "A point that is not on the curve is never multiplied with the private key.",
    Layer.PROPERTIES,
    deciphering(E.SM2),
)
def invalid_curve(trial: Trial) -> None:
    """Some twenty answers to such questions are the private key (CVE-2026-23966).

    Points of order 2 and 3 have one or two multiples besides infinity: a ciphertext for each of
    them opens, for five keys of six, where the point is multiplied unseen.
    """
    from kmscore_conformance.vectors import load

    for row in load("sm2_generated.json")["invalid_ciphertexts"]:
        if "invalid-curve" in row["comment"]:
            _refuses(trial, row["comment"], bytes.fromhex(row["ciphertext_der"]))
    for _ in range(KEYS_TO_ASK):
        key = trial.fresh()
        for order, (x, y) in _points_of_small_order():
            for multiple in {y, SM2.p - y if y else 0}:
                sealed = _sealed_for(x, multiple)
                asked = _der.sequence(
                    _der.integer(x), _der.integer(y), *map(_der.octet_string, sealed)
                )
                what = f"a point of order {order} on another curve"
                refusal(what, CiphertextInvalid, key.decrypt, asked)


def _points_of_small_order() -> Iterator[tuple[int, tuple[int, int]]]:
    """Points on y² = x³ - 3x + b for some b that is not SM2's."""
    p = SM2.p
    yield 2, (5, 0)
    x = 2
    while True:
        # The third division polynomial 3x⁴ - 18x² + 12bx - 9 is zero for exactly one b.
        b = (9 + 18 * x * x - 3 * pow(x, 4, p)) * pow(12 * x, -1, p) % p
        square = (x**3 - 3 * x + b) % p
        y = pow(square, (p + 1) // 4, p)
        if y * y % p == square:
            yield 3, (x, y)
            return
        x += 1


def _sealed_for(x: int, y: int) -> tuple[bytes, bytes]:
    """C3 and C2 for a shared point (GM/T 0003.4-2012, 6.1)."""
    import hashlib

    def sm3(data: bytes) -> bytes:
        return hashlib.new("sm3", data).digest()

    left, right = x.to_bytes(32), y.to_bytes(32)
    stream = sm3(left + right + (1).to_bytes(4))
    c2 = bytes(one ^ other for one, other in zip(SECRET, stream, strict=True))
    return sm3(left + SECRET + right), c2
