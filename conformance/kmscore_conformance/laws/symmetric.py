"""Symmetric encryption: what goes in comes out, for the same key and context, and for no other."""

from __future__ import annotations

import os
import random

from hypothesis import strategies as st

from kmscore.capabilities import Feature
from kmscore.errors import CiphertextInvalid
from kmscore_conformance.law import Layer, law
from kmscore_conformance.scope import SYMMETRIC
from kmscore_conformance.strategies import contexts, flipped, other_contexts, plaintexts
from kmscore_conformance.trial import Trial, refusal, require

EDGES = (b"\0", b"\0" * 16, b"\0\0 between zeros \0\0", b"\x01", b"\x10" * 16, b"\xff" * 33, b"a\n")
"""What careless padding, text and C strings lose."""

SECRET = b"the quick brown fox jumps over the lazy dog"
CONTEXT = {"table": "orders", "row": "17"}


@law(
    "sym.roundtrip",
    "What was encrypted is decrypted, at every size and in every context.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def roundtrip(trial: Trial) -> None:
    """Bytes are bytes: zeros at either end, blocks, one byte more and one less."""
    key = trial.key
    sizes = plaintexts(trial.subject.capabilities.limits.plaintext)

    def check(example: tuple[bytes, dict[str, str]]) -> None:
        plaintext, context = example
        sealed = key.encrypt(plaintext, context=context)
        require(key.decrypt(sealed, context=context) == plaintext, "another plaintext came out")

    for plaintext in EDGES:
        check((plaintext, CONTEXT))
    trial.each(st.tuples(sizes, contexts()), check)


@law(
    "sym.context",
    "A ciphertext opens in its own context, and in no other.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def context_is_bound(trial: Trial) -> None:
    """A context that is ignored protects nothing, and nobody notices."""
    key = trial.key

    def refuses(context: dict[str, str], most: int | None = None) -> None:
        sealed = key.encrypt(SECRET, context=context)
        for other in other_contexts(context)[:most]:
            refusal("another context", CiphertextInvalid, key.decrypt, sealed, context=other)

    refuses(CONTEXT)
    trial.each(contexts(), lambda context: refuses(context, 2 + trial.profile.few), dear=True)


@law(
    "sym.context-order",
    "The order in which a context was written does not matter.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def context_order(trial: Trial) -> None:
    """A map has no order; JSON and dictionaries do."""
    forward = {"a": "1", "b": "2", "表": "3", "Z": "4"}
    backward = dict(reversed(forward.items()))
    sealed = trial.key.encrypt(SECRET, context=forward)
    require(trial.key.decrypt(sealed, context=backward) == SECRET, "another plaintext came out")


@law(
    "sym.nondeterministic",
    "The same plaintext never has the same ciphertext twice.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def nondeterministic(trial: Trial) -> None:
    """Equal ciphertexts tell equal plaintexts; equal nonces tell more (NIST SP 800-38D, 8)."""
    count = trial.profile.examples
    made = {trial.key.encrypt(SECRET) for _ in range(count)}
    require(len(made) == count, "two ciphertexts of one plaintext are the same")
    tails = {sealed[-len(SECRET) - 16 :] for sealed in made}
    require(len(tails) == count, "two ciphertexts end alike: a nonce was used twice")


@law(
    "sym.random-seed",
    "Seeding Python's random module does not bring a ciphertext back.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def random_seed(trial: Trial) -> None:
    """Nonces come from the operating system, or from the token."""
    state = random.getstate()
    try:
        made: list[bytes] = []
        for _ in range(2):
            random.seed(7)
            made.append(trial.key.encrypt(SECRET))
    finally:
        random.setstate(state)
    require(made[0][-59:] != made[1][-59:], "the nonce follows from the seed")


@law(
    "sym.hides",
    "A ciphertext does not hold its plaintext.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def hides(trial: Trial) -> None:
    """Test doubles have been shipped."""
    import base64

    sealed = trial.key.encrypt(SECRET)
    for shown in (SECRET, SECRET[::-1], SECRET.hex().encode(), base64.b64encode(SECRET)[:-4]):
        require(shown not in sealed, "the plaintext can be read in the ciphertext")


@law(
    "sym.tampering",
    "A ciphertext with one bit changed, wherever it is, is CiphertextInvalid.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def tampering(trial: Trial) -> None:
    """Authenticated encryption, from the first byte to the last."""
    key = trial.key
    sealed = key.encrypt(SECRET, context=CONTEXT)

    def check(damage: tuple[int, int]) -> None:
        altered = flipped(sealed, *damage)
        refusal(
            f"byte {damage[0]} of {len(sealed)} changed",
            CiphertextInvalid,
            key.decrypt,
            altered,
            context=CONTEXT,
        )

    if trial.profile.max_calls is None:
        for place in range(len(sealed)):
            check((place, place % 8))
    trial.each(st.tuples(st.integers(0, len(sealed) - 1), st.integers(0, 7)), check)


@law(
    "sym.truncation",
    "A ciphertext that was cut or extended, at either end, is CiphertextInvalid.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def truncation(trial: Trial) -> None:
    """A tag that may be shorter can be guessed (NIST SP 800-38D, appendix C)."""
    key = trial.key
    sealed = key.encrypt(SECRET, context=CONTEXT)
    size = len(sealed)
    cuts = [*range(1, 18), size - 1, size - 2, size - 16] if size > 40 else range(1, size)
    altered = [sealed[:-cut] for cut in cuts if cut < size]
    altered += [sealed[cut:] for cut in (1, 4, size - 1)]
    altered += [sealed + b"\0", sealed + sealed[-1:], b"\0" + sealed, sealed + sealed]
    for damaged in altered if trial.profile.every_size else altered[::3]:
        what = f"a ciphertext of {len(damaged)} bytes instead of {size}"
        refusal(what, CiphertextInvalid, key.decrypt, damaged, context=CONTEXT)


@law(
    "sym.other-key",
    "A ciphertext of another key is CiphertextInvalid.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def other_key(trial: Trial) -> None:
    """Also with the key of the same kind that was made a moment before."""
    one, two = trial.key, trial.fresh()
    refusal("another key's ciphertext", CiphertextInvalid, one.decrypt, two.encrypt(SECRET))
    refusal("another key's ciphertext", CiphertextInvalid, two.decrypt, one.encrypt(SECRET))


@law(
    "sym.names-key",
    "A ciphertext names its key: it opens without being told which.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def names_key(trial: Trial) -> None:
    """And the right one among several is taken."""
    for key in (trial.key, trial.fresh(), trial.key):
        sealed = key.encrypt(key.key_id.encode()[:64], context=CONTEXT)
        opened = trial.kms.decrypt(sealed, context=CONTEXT)
        require(opened == key.key_id.encode()[:64], "another plaintext came out")


@law(
    "sym.garbage",
    "Bytes that are no ciphertext are CiphertextInvalid, with a key and without.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def garbage(trial: Trial) -> None:
    """Not an error of a parser, a library or a socket."""
    key, kms = trial.key, trial.kms
    shapes = [b"\0", b"\xff" * 64, b"{}", b"KMSC", b"\x30\x80", os.urandom(16), os.urandom(300)]
    for bytes_ in shapes:
        refusal("garbage", CiphertextInvalid, key.decrypt, bytes_)
        refusal("garbage without a key", CiphertextInvalid, kms.decrypt, bytes_)

    def check(data: bytes) -> None:
        refusal("garbage", CiphertextInvalid, key.decrypt, data, context=CONTEXT)

    trial.each(st.binary(min_size=1, max_size=200), check, dear=True)


@law(
    "sym.data-key",
    "A data key opens from its ciphertext in its context, and in no other; no two are the same.",
    Layer.PROPERTIES,
    SYMMETRIC,
)
def data_key(trial: Trial) -> None:
    """What envelope encryption stands on."""
    key = trial.key
    seen: set[bytes] = set()

    def check(context: dict[str, str]) -> None:
        with key.generate_data_key("AES_256", context=context) as made:
            plain = bytes(made.plaintext)
        require(len(plain) == 32, f"a data key for AES-256 has {len(plain)} bytes")
        require(plain not in seen, "two data keys are the same")
        seen.add(plain)
        require(key.decrypt(made.ciphertext, context=context) == plain, "it does not open")
        other = {**context, "another": "context"}
        refusal("another context", CiphertextInvalid, key.decrypt, made.ciphertext, context=other)

    trial.each(contexts(), check, dear=True)


@law(
    "sym.re-encrypt",
    "A ciphertext that was brought under another key and context opens there, and only there.",
    Layer.PROPERTIES,
    SYMMETRIC.having(Feature.RE_ENCRYPT),
)
def re_encrypt(trial: Trial) -> None:
    """And with the wrong source context it is not brought anywhere."""
    one, two = trial.key, trial.fresh()
    old = one.encrypt(SECRET, context=CONTEXT)
    new = trial.kms.re_encrypt(old, two, source_context=CONTEXT, context={"now": "here"})
    require(two.decrypt(new, context={"now": "here"}) == SECRET, "another plaintext came out")
    refusal("the old context", CiphertextInvalid, two.decrypt, new, context=CONTEXT)
    refusal("the old key", CiphertextInvalid, one.decrypt, new, context={"now": "here"})
    move = trial.kms.re_encrypt
    refusal("the wrong source context", CiphertextInvalid, move, old, two, source_context={})
