"""The SM2 engines: what they refuse, what they keep to themselves, and what they promise."""

import copy
import pickle
import random
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmscore.encodings import sm2_ciphertext_convert
from kmscore.encodings.curves import SM2, SM2_GENERATOR, SM2_ORDER
from kmscore.encodings.signature import signature_der, signature_integers
from kmscore.encodings.sm2_ciphertext import (
    SM2Ciphertext,
    SM2CiphertextFormat,
    decode_ciphertext,
    encode_ciphertext,
)
from kmscore.encodings.spki import sm2_public_key
from kmscore.errors import (
    CiphertextInvalid,
    InvalidRequest,
    LimitExceeded,
)
from kmscore.signing import DEFAULT_SM2_USER_ID
from kmscore.sm2 import Engine, SM2PrivateKey, SM2PublicKey, load_engine, message_digest
from kmscore.sm2.digest import sm3

E = bytes(range(32))


@pytest.fixture
def private(engine: Engine) -> SM2PrivateKey:
    """A fresh private key."""
    return engine.private_key(engine.generate())


@pytest.fixture
def public(engine: Engine, private: SM2PrivateKey) -> SM2PublicKey:
    """Its public key."""
    return engine.public_key(private.public_key)


class TestPrivateKeys:
    """Making and reading private keys."""

    def test_generated_keys(self, engine: Engine) -> None:
        """Generated keys have 32 bytes, are in range, and differ."""
        keys = {engine.generate() for _ in range(64)}
        assert len(keys) == 64
        assert all(len(d) == 32 and 1 <= int.from_bytes(d) <= SM2_ORDER - 2 for d in keys)

    def test_pair_is_checked(self, engine: Engine, private: SM2PrivateKey) -> None:
        """A private key with somebody else's public key is refused; with its own it is not."""
        d = engine.generate()
        own = engine.private_key(d).public_key
        assert engine.private_key(d, own).public_key == own
        with pytest.raises(InvalidRequest, match="does not belong"):
            engine.private_key(d, private.public_key)

    @pytest.mark.parametrize("size", [0, 31, 33])
    def test_length(self, engine: Engine, size: int) -> None:
        """A private key has 32 bytes, neither more nor fewer."""
        with pytest.raises(InvalidRequest):
            engine.private_key(b"\x01" * size)

    def test_nothing_secret_is_shown(self, engine: Engine) -> None:
        """Neither repr nor an error shows the key."""
        d = secrets.token_bytes(31) + b"\x01"
        key = engine.private_key(d[::-1])
        assert repr(key) == f"<{type(key).__name__}>"
        public = engine.public_key(key.public_key)
        assert repr(public) == f"<{type(public).__name__}>"
        with pytest.raises(InvalidRequest) as caught:
            engine.private_key(b"\xff" * 4 + d[4:])
        assert d[4:].hex() not in str(caught.value) + repr(caught.value)

    def test_no_copies(self, private: SM2PrivateKey) -> None:
        """A private key is neither copied nor pickled: a copy in C would be freed twice."""
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="neither copied nor pickled"):
                attempt(private)

    def test_no_copies_of_openssl_keys(self) -> None:
        """Nor is what libcrypto holds for a public key."""
        engine = load_engine()
        key = engine.public_key(sm2_public_key(SM2_GENERATOR))
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            copy.deepcopy(key)


class TestSigning:
    """Sign and verify."""

    def test_round_trip(self, private: SM2PrivateKey, public: SM2PublicKey) -> None:
        """A signature is right for its digest and key alone."""
        signature = private.sign(E)
        assert public.verify(E, signature) is True
        assert public.verify(E[::-1], signature) is False

    def test_another_key(self, engine: Engine, private: SM2PrivateKey) -> None:
        """It is wrong under another key."""
        other = engine.public_key(engine.private_key(engine.generate()).public_key)
        assert other.verify(E, private.sign(E)) is False

    def test_nonces_are_fresh(self, private: SM2PrivateKey) -> None:
        """Two signatures differ in r, also when the generator of `random` is seeded alike."""
        found: set[int] = set()
        for _ in range(3):
            random.seed(7)
            found.add(signature_integers(private.sign(E))[0])
        assert len(found) == 3

    @pytest.mark.parametrize("size", [0, 31, 33, 64])
    def test_digest_length(self, private: SM2PrivateKey, public: SM2PublicKey, size: int) -> None:
        """A digest has 32 bytes: a message is not taken for one."""
        with pytest.raises(InvalidRequest):
            private.sign(bytes(size))
        with pytest.raises(InvalidRequest):
            public.verify(bytes(size), b"")

    def test_signature_must_be_bytes(self, public: SM2PublicKey) -> None:
        """A hex signature is a mistake of the caller, not a wrong signature."""
        with pytest.raises(InvalidRequest, match="is a str"):
            public.verify(E, "3006")  # type: ignore[arg-type]  # a caller's mistake

    def test_sum_of_equal_points(self, engine: Engine) -> None:
        """A right signature with s·G = t·P is accepted: adding equal points is a special case."""
        d = 2
        s = 5
        t = s * pow(d, -1, SM2_ORDER) % SM2_ORDER
        r = (t - s) % SM2_ORDER
        x = _double_and_add(2 * s)[0]
        e = ((r - x) % SM2_ORDER).to_bytes(32, "big")
        public = engine.public_key(engine.private_key(d.to_bytes(32, "big")).public_key)
        assert public.verify(e, signature_der(r, s)) is True

    def test_sum_of_opposite_points(self, engine: Engine) -> None:
        """With s·G = -t·P there is no point, and no right signature."""
        d, s = 2, 6
        t = -s * pow(d, -1, SM2_ORDER) % SM2_ORDER
        r = (t - s) % SM2_ORDER
        public = engine.public_key(engine.private_key(d.to_bytes(32, "big")).public_key)
        assert public.verify(r.to_bytes(32, "big"), signature_der(r, s)) is False

    def test_integers_that_cancel(self, engine: Engine) -> None:
        """With r + s = n the public key would not matter: such a signature is wrong."""
        public = engine.public_key(sm2_public_key(SM2_GENERATOR))
        s = 5
        r = SM2_ORDER - s
        for multiple in (s, s + 1):
            e = (r - _double_and_add(multiple)[0]) % SM2_ORDER
            assert public.verify(e.to_bytes(32, "big"), signature_der(r, s)) is False

    @given(st.binary(max_size=80))
    def test_any_bytes(self, signature: bytes) -> None:
        """Any bytes at all are a wrong signature."""
        public = load_engine().public_key(sm2_public_key(SM2_GENERATOR))
        assert public.verify(E, signature) is False


def _double_and_add(scalar: int) -> tuple[int, int]:
    """A multiple of the generator, by the schoolbook."""
    p = SM2.p
    g = int.from_bytes(SM2_GENERATOR[:32]), int.from_bytes(SM2_GENERATOR[32:])
    total: tuple[int, int] | None = None
    for bit in f"{scalar:b}":
        for point in (total, g if bit == "1" else None):
            if point is None or total is None:
                total = total or point
                continue
            (x1, y1), (x2, y2) = total, point
            same = total == point
            over, under = (3 * x1 * x1 - 3, 2 * y1) if same else (y2 - y1, x2 - x1)
            slope = over * pow(under, -1, p)
            x = (slope * slope - x1 - x2) % p
            total = x, (slope * (x1 - x) - y1) % p
    assert total is not None
    return total


class TestEncrypting:
    """Encrypt and decrypt."""

    @pytest.mark.parametrize("size", [1, 31, 32, 33, 4096])
    def test_round_trip(self, private: SM2PrivateKey, public: SM2PublicKey, size: int) -> None:
        """1 to 4096 bytes come back, leading zeros included."""
        plaintext = bytes(size)
        ciphertext = public.encrypt(plaintext)
        assert private.decrypt(ciphertext) == plaintext
        assert decode_ciphertext(ciphertext, SM2CiphertextFormat.DER).c2 != plaintext

    def test_sizes(self, public: SM2PublicKey) -> None:
        """Nothing and more than 4096 bytes are refused."""
        with pytest.raises(InvalidRequest, match="empty"):
            public.encrypt(b"")
        with pytest.raises(LimitExceeded, match="4097 bytes") as caught:
            public.encrypt(bytes(4097))
        assert "At most 4096" in caught.value.hint

    def test_nonces_are_fresh(self, public: SM2PublicKey) -> None:
        """Two ciphertexts differ, also when the generator of `random` is seeded alike."""
        found: set[bytes] = set()
        for _ in range(3):
            random.seed(7)
            found.add(public.encrypt(b"plaintext"))
        assert len(found) == 3

    def test_another_key(self, engine: Engine, public: SM2PublicKey) -> None:
        """Another key does not open it."""
        with pytest.raises(CiphertextInvalid):
            engine.private_key(engine.generate()).decrypt(public.encrypt(b"plaintext"))

    def test_failures_are_alike(self, private: SM2PrivateKey, public: SM2PublicKey) -> None:
        """A changed C1, C2 or C3 and broken DER give the same error, and no cause to read."""
        parts = decode_ciphertext(public.encrypt(b"plaintext"), SM2CiphertextFormat.DER)
        changed = [
            parts._replace(y=SM2.p - parts.y),
            parts._replace(x=parts.x ^ 1),
            parts._replace(c2=bytes(9)),
            parts._replace(c3=bytes(32)),
            parts._replace(c3=bytes(31)),
            parts._replace(c2=b""),
            parts._replace(c2=bytes(4097)),
        ]
        told: set[str] = set()
        for ciphertext in [
            *(encode_ciphertext(each, SM2CiphertextFormat.DER) for each in changed),
            b"",
            b"\x30",
        ]:
            with pytest.raises(CiphertextInvalid) as caught:
                private.decrypt(ciphertext)
            assert caught.value.__cause__ is None
            told.add(str(caught.value))
        assert told == {str(CiphertextInvalid())}

    def test_zero_key_stream(self, engine: Engine) -> None:
        """One byte whose key stream is zero is not sent in clear, and not taken as sent so."""
        # For d = 1 the shared point is C1 itself.
        points = map(_double_and_add, count(1))
        coordinates = ((x.to_bytes(32, "big"), y.to_bytes(32, "big")) for x, y in points)
        x, y = next((x, y) for x, y in coordinates if sm3(x, y, b"\0\0\0\1")[0] == 0)
        ciphertext = sm2_ciphertext_convert(
            x + y + sm3(x, b"!", y) + b"!",
            SM2CiphertextFormat.C1C3C2_BARE,
            SM2CiphertextFormat.DER,
        )
        with pytest.raises(CiphertextInvalid):
            engine.private_key(bytes(31) + b"\x01").decrypt(ciphertext)

    def test_ciphertext_must_be_bytes(self, private: SM2PrivateKey) -> None:
        """A hex ciphertext is a mistake of the caller."""
        with pytest.raises(InvalidRequest, match="is a str"):
            private.decrypt("3006")  # type: ignore[arg-type]  # a caller's mistake


class Leaky(SM2PublicKey):
    """A key that sends the plaintext itself the first few times."""

    calls = 0

    def _verify(self, e: bytes, r: int, s: int) -> bool:
        raise AssertionError

    def _encrypt(self, plaintext: bytes) -> SM2Ciphertext:
        self.calls += 1
        x, y = _double_and_add(1)
        return SM2Ciphertext(x, y, bytes(32), plaintext if self.calls < 3 else b"?")


def test_zero_key_stream_is_drawn_again() -> None:
    """Where an engine does not begin anew for a key stream of zeros, the shell does."""
    key = Leaky(sm2_public_key(SM2_GENERATOR))
    ciphertext = key.encrypt(b"!")
    assert key.calls == 3
    assert decode_ciphertext(ciphertext, SM2CiphertextFormat.DER).c2 == b"?"


class TestDigest:
    """`message_digest`."""

    spki = sm2_public_key(SM2_GENERATOR)

    def test_id_matters(self) -> None:
        """Another user id, and no user id, give another digest."""
        found = {message_digest(b"m", each, self.spki) for each in (DEFAULT_SM2_USER_ID, b"", b"x")}
        assert len(found) == 3

    def test_longest_id(self) -> None:
        """8190 bytes are the longest id."""
        assert len(message_digest(b"", bytes(8190), self.spki)) == 32
        with pytest.raises(InvalidRequest, match="8191 bytes"):
            message_digest(b"", bytes(8191), self.spki)

    @pytest.mark.parametrize("at", [0, 1, 2])
    def test_types(self, at: int) -> None:
        """Message, id and key are bytes."""
        arguments: list[Any] = [b"m", b"id", self.spki]
        arguments[at] = "text"
        with pytest.raises(InvalidRequest, match="digest a str"):
            message_digest(*arguments)


@pytest.mark.parametrize("case", ["r = 0", "r + k = n", "s = 0"])
def test_unlucky_nonces(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """A nonce that would spoil the signature or give the key away is drawn again."""
    d, k, x = 3, 1, _double_and_add(1)[0]
    r = {"r = 0": 0, "r + k = n": SM2_ORDER - k, "s = 0": k * pow(d, -1, SM2_ORDER)}[case]
    e = ((r - x) % SM2_ORDER).to_bytes(32, "big")
    engine = load_engine("gmssl", allow_insecure=True)
    private = engine.private_key(d.to_bytes(32, "big"))
    nonces = [41, k - 1]

    def draw(below: int) -> int:
        return nonces.pop()

    monkeypatch.setattr("secrets.randbelow", draw)
    signature = private.sign(e)
    assert nonces == []
    assert engine.public_key(private.public_key).verify(e, signature)


def test_threads_share_keys(private: SM2PrivateKey, public: SM2PublicKey) -> None:
    """One key signs, verifies, encrypts and decrypts in several threads at once."""

    def work(number: int) -> bool:
        text = number.to_bytes(8, "big")
        e = text * 4
        return public.verify(e, private.sign(e)) and private.decrypt(public.encrypt(text)) == text

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(24)))


def test_nothing_on_stderr(engine: Engine) -> None:
    """Failures write nothing to stderr, which an attacker could fill."""
    program = f"""
from kmscore.sm2 import load_engine
from kmscore.errors import KmsError
engine = load_engine({engine.name!r}, allow_insecure=True)
key = engine.private_key(engine.generate())
public = engine.public_key(key.public_key)
assert not public.verify(bytes(32), bytes.fromhex("3006020101020101"))
ciphertext = public.encrypt(b"plaintext")
try:
    key.decrypt(ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]))
except KmsError:
    print("refused")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"refused\n", b"")
