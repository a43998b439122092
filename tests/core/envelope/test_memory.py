"""How much memory it takes to read messages with large frames, as others may write them."""

import tracemalloc

import pytest

from kmscore import envelope
from kmscore.envelope import message as writing

FRAME = 16 << 20
MESSAGE = FRAME * 5 // 2


class Nowhere:
    """Takes what is written, and keeps nothing."""

    def write(self, data):
        """All of it."""
        return len(data)


def by_stream(path, key):
    """From one open file to another."""
    with path.open("rb", buffering=0) as file:
        envelope.decrypt_stream(file, Nowhere(), key)


def by_rewrapping(path, key):
    """Into another message."""
    with path.open("rb", buffering=0) as file:
        envelope.rewrap_stream(file, Nowhere(), [key], [key])


def by_file(path, key):
    """From one path to another."""
    envelope.decrypt_file(path, path.with_name("back"), key)


def by_pieces(path, key):
    """As they come."""
    decryptor = envelope.EnvelopeDecryptor(key)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            decryptor.update(piece)
    decryptor.finalize()


def by_reader(path, key):
    """Some bytes of each frame."""
    with path.open("rb", buffering=0) as file, envelope.EnvelopeReader(file, key) as reader:
        for place in range(0, MESSAGE, FRAME):
            reader.seek(place)
            assert reader.read(10) == bytes(10)


@pytest.mark.parametrize("way", [by_stream, by_rewrapping, by_file, by_pieces, by_reader])
def test_a_message_takes_two_of_its_frames(tmp_path, monkeypatch, key, way):
    """One that is sealed and the same one open; and the few MiB that every message takes."""
    monkeypatch.setattr(writing, "FRAME_BYTES", FRAME)
    encryptor = envelope.EnvelopeEncryptor(key)
    path = tmp_path / "message"
    path.write_bytes(encryptor.update(bytes(MESSAGE)) + encryptor.finalize())
    monkeypatch.undo()
    tracemalloc.start()
    try:
        way(path, key)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * FRAME + (5 << 20)
