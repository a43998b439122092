"""The portable ciphertext: its form byte by byte, and what is refused."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kmscore.ciphertext import (
    MAX_PLAINTEXT,
    SUITE_OF,
    Suite,
    associated_data,
    header,
    parse,
)
from kmscore.context import EMPTY, EncryptionContext
from kmscore.errors import CiphertextInvalid

PAGE = Path(__file__).parents[2] / "docs/ciphertext-format.md"
HEAD = b"KMSC\x01\x02\x06orders\x00\x00\x00\x07"
GOOD = HEAD + b"n" * 12 + b"sealed" + b"t" * 16


def test_a_header_byte_by_byte():
    """Magic, version, suite, the key id with its length, and the key's version."""
    assert header(Suite.AES_256_GCM, "orders", 7) == HEAD


def test_the_associated_data_byte_by_byte():
    """The header, then the context with its length: one cannot be taken for the other."""
    context = EncryptionContext([("b", "2"), ("a", "1")])
    assert associated_data(HEAD, context.aad) == HEAD + b"\x00\x00\x00\x11" + b'{"a":"1","b":"2"}'
    assert associated_data(HEAD, EMPTY.aad) == HEAD + bytes(4)


def test_a_ciphertext_is_taken_apart():
    """Every part is where the page says."""
    assert parse(GOOD) == (Suite.AES_256_GCM, "orders", 7, HEAD, b"n" * 12, b"sealed" + b"t" * 16)


def test_every_symmetric_spec_has_a_suite_of_its_own():
    """The numbers are part of the format."""
    assert {spec.value: int(suite) for spec, suite in SUITE_OF.items()} == {
        "AES_128": 1,
        "AES_256": 2,
        "SM4": 3,
    }


@pytest.mark.parametrize("length", range(len(GOOD) - len("sealed")))
def test_a_ciphertext_that_was_cut_off_is_refused(length):
    """Wherever the cut is: there must be room for a tag at least."""
    with pytest.raises(CiphertextInvalid):
        parse(GOOD[:length])


@pytest.mark.parametrize(
    ("what", "bad"),
    [
        ("magic", b"KMSD" + GOOD[4:]),
        ("version 0", GOOD[:4] + b"\x00" + GOOD[5:]),
        ("version 2", GOOD[:4] + b"\x02" + GOOD[5:]),
        ("suite 0", GOOD[:5] + b"\x00" + GOOD[6:]),
        ("suite 4", GOOD[:5] + b"\x04" + GOOD[6:]),
        ("no key id", HEAD[:6] + b"\x00" + GOOD[13:]),
        ("key id not UTF-8", GOOD[:7] + b"\xff" + GOOD[8:]),
        ("key id with a surrogate", GOOD[:7] + b"\xed\xa0\x80" + GOOD[10:]),
        ("key id overlong in UTF-8", GOOD[:7] + b"\xc0\xaf" + GOOD[9:]),
        ("key version 0", GOOD[:13] + bytes(4) + GOOD[17:]),
        ("a key id longer than everything", GOOD[:6] + b"\xff" + GOOD[7:]),
    ],
)
def test_another_form_is_refused(what, bad):
    """One error with one text, whatever is wrong."""
    with pytest.raises(CiphertextInvalid) as failed:
        parse(bad)
    assert str(failed.value) == str(CiphertextInvalid())


def test_the_longest_ciphertext():
    """65536 bytes of plaintext, and not one more."""
    head = header(Suite.SM4_GCM, "k" * 255, 2**32 - 1)
    longest = head + bytes(12 + MAX_PLAINTEXT + 16)
    assert parse(longest).key_version == 2**32 - 1
    assert parse(longest).key_id == "k" * 255
    with pytest.raises(CiphertextInvalid):
        parse(longest + b"\0")


@given(
    st.sampled_from(Suite),
    st.text(min_size=1, max_size=60),
    st.integers(1, 2**32 - 1),
    st.binary(min_size=12, max_size=12),
    st.binary(min_size=16, max_size=100),
)
def test_what_is_put_together_is_taken_apart(suite, key_id, version, nonce, sealed):
    """Any key id, version and content."""
    head = header(suite, key_id, version)
    assert parse(head + nonce + sealed) == (suite, key_id, version, head, nonce, sealed)


@given(st.binary(max_size=120) | st.binary(max_size=80).map(b"KMSC\x01\x02".__add__))
@example(b"")
def test_any_bytes_are_refused_or_taken_apart(data):
    """Nothing but the one error, and what is accepted says the same again."""
    try:
        parsed = parse(data)
    except CiphertextInvalid:
        return
    assert header(parsed.suite, parsed.key_id, parsed.key_version) == parsed.header
    assert parsed.header + parsed.nonce + parsed.sealed == data


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=5))
def test_a_context_is_written_as_the_page_says(pairs):
    """Sorted, without white space, the fewest escapes; nothing at all when it is empty."""
    aad = EncryptionContext(pairs.items()).aad
    if not pairs:
        assert aad == b""
        return
    assert json.loads(aad) == pairs
    assert list(json.loads(aad)) == sorted(pairs)
    tokens = [f"{_string(key)}:{_string(value)}" for key, value in sorted(pairs.items())]
    assert aad.decode() == "{" + ",".join(tokens) + "}"


def _string(text: str) -> str:
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n"}
    short |= {"\f": "\\f", "\r": "\\r"}
    escaped = (
        short.get(character) or (f"\\u{ord(character):04x}" if character < " " else character)
        for character in text
    )
    return '"' + "".join(escaped) + '"'


def test_the_example_of_the_page():
    """Nothing but the page's own code opens the page's own example."""
    [code] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, bytes] = {}
    exec(code, names)  # noqa: S102 - it is our own page
    parsed = parse(names["example"])
    assert parsed.suite is Suite.AES_256_GCM
    assert (parsed.key_version, parsed.nonce) == (1, bytes(range(12)))
    assert len(names["example"]) == len(b"card number") + 75
