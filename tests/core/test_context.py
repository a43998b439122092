"""The encryption context: one canonical form, whatever was given."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmscore.context import EMPTY, EncryptionContext
from kmscore.errors import InvalidRequest, LimitExceeded

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
contexts = st.dictionaries(texts.filter(bool), texts, max_size=6)


@given(contexts)
def test_the_canonical_form_is_json_that_reads_back(context):
    """What providers bind as associated data is the map itself, as sorted JSON."""
    canonical = EncryptionContext.of(context)
    assert (json.loads(canonical.json) if canonical.json else {}) == context
    assert canonical.aad == canonical.json.encode()
    assert list(canonical.items) == sorted(context.items())


@given(contexts)
def test_the_order_of_the_pairs_does_not_matter(context):
    """Two maps that are equal give the same bytes."""
    backwards = dict(reversed(context.items()))
    assert EncryptionContext.of(context).aad == EncryptionContext.of(backwards).aad
    assert EncryptionContext.of(context) == EncryptionContext.of(backwards)
    assert hash(EncryptionContext.of(context)) == hash(EncryptionContext.of(backwards))


@given(contexts)
def test_a_context_sent_as_json_is_the_same_context(context):
    """Other systems send the context as JSON text, in any order and spacing."""
    text = json.dumps(context, indent=1) if context else ""
    assert EncryptionContext.from_json(text) == EncryptionContext.of(context)


def test_no_context_and_an_empty_one_are_the_same():
    """None and {} bind nothing."""
    assert EncryptionContext.of(None) is EMPTY
    assert EncryptionContext.of({}) is EMPTY
    assert EncryptionContext.from_json("{}") == EMPTY
    assert not EMPTY
    assert EMPTY != {}


def test_1024_characters_are_allowed_and_1025_are_not():
    """The limit is counted in characters of the JSON form."""
    room = 1024 - len('{"k":""}')
    assert len(EncryptionContext.of({"k": "é" * room}).json) == 1024
    with pytest.raises(LimitExceeded, match="1025 characters"):
        EncryptionContext.of({"k": "é" * (room + 1)})


@pytest.mark.parametrize(
    "context",
    [
        {"k": 1},
        {1: "v"},
        {"": "v"},
        {"k": None},
        {"k": "\ud800"},
        {"\udfff": "v"},
        [("k", "v")],
        "k=v",
    ],
)
def test_what_is_no_map_of_strings_is_refused(context):
    """Wrong types, empty keys and characters without UTF-8 are named before any call."""
    with pytest.raises(InvalidRequest):
        EncryptionContext.of(context)


@pytest.mark.parametrize("pairs", [{"id": "7"}, "ab", b"abc", None, 1, [("k",)], [1]])
def test_what_are_no_pairs_is_refused(pairs):
    """A mapping above all: its keys could pass for pairs, and its values would not be bound."""
    with pytest.raises(InvalidRequest):
        EncryptionContext(pairs)


@pytest.mark.parametrize(
    "text", ["[]", "null", "1", "{", '{"k":1}', '{"k":"a","k":"b"}', "nope", '{"k":' * 9999]
)
def test_json_that_is_no_such_map_is_refused(text):
    """Duplicate keys too: which of the two would be bound?"""
    with pytest.raises(InvalidRequest):
        EncryptionContext.from_json(text)


def test_the_repr_shows_keys_but_no_values():
    """Logs may hold a repr; values can be personal."""
    shown = repr(EncryptionContext.of({"patient": "Jane Doe"}))
    assert "patient" in shown
    assert "Jane" not in shown


@pytest.mark.parametrize("given", [1, b"{}", {"k": "v"}, ["k"]])
def test_json_that_is_no_text_is_refused(given):
    """By its type."""
    with pytest.raises(InvalidRequest, match=type(given).__name__):
        EncryptionContext.from_json(given)
