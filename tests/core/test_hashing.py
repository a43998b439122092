"""The lean hashes are those of the standard library."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmscore.hashing import compare_digest, hmac_sha256, keyed_hmac_sha256, sha256, sha512


@given(st.binary(max_size=300))
def test_the_hashes_are_those_of_openssl(data):
    """Whatever the interpreter has built in."""
    assert sha256(data).digest() == hashlib.sha256(data).digest()
    assert sha512(data).digest() == hashlib.sha512(data).digest()


@pytest.mark.parametrize("size", [0, 32, 63, 64, 65, 128, 200])
@given(data=st.binary(max_size=300))
def test_the_hmac_is_that_of_openssl(size, data):
    """For keys of up to a block of 64 bytes, and for longer ones, which are hashed first."""
    key = bytes(range(size))
    assert hmac_sha256(key, data) == hmac.digest(key, data, "sha256")


def test_one_keyed_hmac_serves_for_many_data():
    """None of them leaves anything behind for the next."""
    code = keyed_hmac_sha256(b"key")
    for data in (b"first", b"second", b"first"):
        assert code(data) == hmac.digest(b"key", data, "sha256")


@pytest.mark.parametrize(
    ("key", "data", "code"),
    [
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c7"),
        (bytes([0x0B] * 20), b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b"),
    ],
)
def test_the_hmac_gives_the_known_answers(key, data, code):
    """RFC 4231, test cases 2 and 1: their first half."""
    assert hmac_sha256(key, data).hex().startswith(code)


def test_a_comparison_tells_equal_from_different():
    """And takes any buffer."""
    assert compare_digest(b"abc", bytearray(b"abc"))
    assert not compare_digest(b"abc", b"abd")
    assert not compare_digest(b"abc", b"ab")
