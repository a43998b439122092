"""Frozen messages, good and bad: by every way in which a message can be read."""

import io
import json
from pathlib import Path

import pytest

from kmscore import envelope, errors
from kmscore.envelope import EnvelopeDecryptor, EnvelopeReader
from kmscore.envelope.recipients import Source

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "envelope" / "messages.json").read_text()
)

pytestmark = pytest.mark.vectors


class Given(Source):
    """The data key that a row names."""

    def __init__(self, row):
        self._key = bytes.fromhex(row["data_key"])

    def open(self, recipients, openers, context):
        return bytearray(self._key)


def by_bytes(message, row, folder):
    """In memory."""
    return envelope.decrypt(message, context=row["context"], cache=Given(row))


def by_pieces(message, row, folder):
    """Incrementally, in pieces of seven bytes."""
    decryptor = EnvelopeDecryptor(context=row["context"], cache=Given(row))
    pieces = [decryptor.update(message[n : n + 7]) for n in range(0, len(message), 7)]
    return b"".join(pieces) + decryptor.finalize()


def by_stream(message, row, folder):
    """From one open file to another."""
    out = io.BytesIO()
    envelope.decrypt_stream(io.BytesIO(message), out, context=row["context"], cache=Given(row))
    return out.getvalue()


def by_file(message, row, folder):
    """From one path to another; after an error there is no file."""
    (folder / "message").write_bytes(message)
    try:
        envelope.decrypt_file(
            folder / "message", folder / "plain", context=row["context"], cache=Given(row)
        )
    except errors.KmsError:
        assert [path.name for path in folder.iterdir()] == ["message"]
        raise
    return (folder / "plain").read_bytes()


def into_buffer(message, row, folder):
    """Into a buffer of the caller; after an error there is nothing in it."""
    out = bytearray(len(message))
    try:
        size = envelope.decrypt_into(message, out, context=row["context"], cache=Given(row))
    except errors.KmsError:
        assert not any(out)
        raise
    return bytes(out[:size])


WAYS = [by_bytes, by_pieces, by_stream, by_file, into_buffer]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", VECTORS["messages"], ids=lambda row: row["name"])
def test_frozen_messages_are_read(row, way, tmp_path):
    """Ours and the SDK's: what could be read once can be read for good."""
    assert way(bytes.fromhex(row["message"]), row, tmp_path).hex() == row["plaintext"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", VECTORS["refused"], ids=lambda row: row["name"])
def test_tampered_messages_are_refused(row, way, tmp_path):
    """With an error that says what, and without a byte of plaintext that is not authentic."""
    with pytest.raises(getattr(errors, row["error"])) as caught:
        way(bytes.fromhex(row["message"]), row, tmp_path)
    assert type(caught.value).__name__ == row["error"]
    assert caught.value.message


@pytest.mark.parametrize("row", VECTORS["refused"], ids=lambda row: row["name"])
def test_a_stream_gives_out_a_true_beginning_at_most(row):
    """Authenticated frames go out as they come; nothing else does."""
    plaintexts = [bytes.fromhex(each["plaintext"]) for each in VECTORS["messages"]]
    out = io.BytesIO()
    with pytest.raises(errors.KmsError):
        envelope.decrypt_stream(
            io.BytesIO(bytes.fromhex(row["message"])), out, context=row["context"], cache=Given(row)
        )
    assert any(plaintext.startswith(out.getvalue()) for plaintext in plaintexts)
    assert len(out.getvalue()) % 64 == 0 or row["name"].startswith(("signature", "extra"))


@pytest.mark.parametrize("row", VECTORS["messages"], ids=lambda row: row["name"])
def test_frozen_messages_are_read_in_parts(row):
    """From the end to the beginning; those that are checked as a whole say so."""
    file = io.BytesIO(bytes.fromhex(row["message"]))
    if row["name"].startswith("0578") or "no frames" in row["name"]:
        with pytest.raises(errors.Unsupported, match="in parts"):
            EnvelopeReader(file, context=row["context"], cache=Given(row))
        return
    plaintext = bytes.fromhex(row["plaintext"])
    with EnvelopeReader(file, context=row["context"], cache=Given(row)) as reader:
        for place in range(len(plaintext) - 1, -1, -50):
            reader.seek(place)
            assert reader.readall() == plaintext[place:]


@pytest.mark.parametrize("row", VECTORS["messages"], ids=lambda row: row["name"])
def test_every_truncation_of_them_is_refused(row):
    """At every single byte."""
    message = bytes.fromhex(row["message"])
    for size in range(len(message)):
        with pytest.raises(errors.IntegrityError):
            by_bytes(message[:size], row, None)
        with pytest.raises(errors.IntegrityError):
            by_stream(message[:size], row, None)


@pytest.mark.parametrize("row", VECTORS["messages"], ids=lambda row: row["name"])
def test_every_flipped_byte_of_them_is_refused(row):
    """Each byte, and each time with an error of the tree."""
    message = bytearray.fromhex(row["message"])
    for place in range(len(message)):
        message[place] ^= 1 << place % 8
        with pytest.raises(errors.KmsError):
            by_bytes(bytes(message), row, None)
        message[place] ^= 1 << place % 8


def test_absurd_lengths_allocate_nothing():
    """What promises gigabytes costs no more than the buffers for any message: some MiB."""
    import tracemalloc

    rows = [
        row for row in VECTORS["refused"] if "length" in row["name"] or "of 2^63" in row["name"]
    ]
    assert len(rows) >= 4
    tracemalloc.start()
    try:
        for row in rows:
            for way in (by_bytes, by_stream, by_pieces):
                with pytest.raises(errors.KmsError):
                    way(bytes.fromhex(row["message"]), row, None)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
