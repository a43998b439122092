"""Files: whole or not there, by two threads or one, and readable in any part."""

import os
import random
import resource
import signal
import subprocess
import sys

import pytest

from kmscore import envelope
from kmscore.envelope import EnvelopeReader, decrypt_file, encrypt_file, rewrap_file
from kmscore.envelope.frames import FRAME_BYTES
from kmscore.errors import (
    AlreadyExists,
    CiphertextInvalid,
    IntegrityError,
    InvalidRequest,
    KeyNotFound,
    Unavailable,
    Unsupported,
)

SIZES = [0, 1, FRAME_BYTES, FRAME_BYTES + 1, 8 * FRAME_BYTES, 8 * FRAME_BYTES + 1, 5_000_000]


@pytest.fixture
def plain(tmp_path):
    """A file of some frames."""
    path = tmp_path / "plain"
    path.write_bytes(random.Random(1).randbytes(3_000_000))
    return path


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_a_file_there_and_back(tmp_path, key, size, threads):
    """Any size, one thread or two; and what the one way writes the other reads."""
    plain, sealed, back = (tmp_path / name for name in ("plain", "sealed", "back"))
    plain.write_bytes(os.urandom(size))
    done: list[int] = []
    encrypt_file(plain, sealed, key, threads=threads, progress=done.append)
    assert sum(done) == size
    assert envelope.decrypt(sealed.read_bytes(), key) == plain.read_bytes()
    done.clear()
    decrypt_file(sealed, back, key, threads=threads, progress=done.append)
    assert sum(done) == size
    assert back.read_bytes() == plain.read_bytes()
    back.unlink()
    sealed.write_bytes(envelope.encrypt(plain.read_bytes(), key, suite="SM4_GCM"))
    decrypt_file(sealed, back, key, threads=threads)
    assert back.read_bytes() == plain.read_bytes()


def test_a_broken_message_leaves_nothing(tmp_path, key, plain):
    """Altered, cut, extended, another context: an error, and no output file."""
    sealed = tmp_path / "sealed"
    encrypt_file(plain, sealed, key, context={"a": "1"})
    good = sealed.read_bytes()
    altered = bytearray(good)
    altered[len(good) // 2] ^= 1
    broken = [bytes(altered), good[:-1], good[: len(good) // 2], good[:60], good + b"x", b"\x02"]
    for content in broken:
        sealed.write_bytes(content)
        with pytest.raises(IntegrityError):
            decrypt_file(sealed, tmp_path / "back", key, context={"a": "1"})
    sealed.write_bytes(good)
    with pytest.raises(CiphertextInvalid):
        decrypt_file(sealed, tmp_path / "back", key)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "sealed"]


def test_existing_files_are_kept_unless_forced(tmp_path, key, plain):
    """Nobody's file is lost by a typing error."""
    sealed = tmp_path / "sealed"
    sealed.write_text("precious")
    with pytest.raises(AlreadyExists):
        encrypt_file(plain, sealed, key)
    assert sealed.read_text() == "precious"
    encrypt_file(plain, sealed, key, force=True)
    assert envelope.decrypt(sealed.read_bytes(), key) == plain.read_bytes()


def test_input_and_output_must_differ(tmp_path, key, plain):
    """Also by another name."""
    link = tmp_path / "link"
    link.symlink_to(plain)
    for target in (plain, link):
        with pytest.raises(InvalidRequest, match="same file"):
            encrypt_file(plain, target, key, force=True)


def test_what_cannot_be_read_or_written_is_named(tmp_path, key, plain):
    """Missing files, folders, missing folders."""
    for source, target in (
        (tmp_path / "missing", tmp_path / "out"),
        (tmp_path, tmp_path / "out"),
        (plain, tmp_path / "missing" / "out"),
    ):
        with pytest.raises(InvalidRequest):
            encrypt_file(source, target, key)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing(tmp_path, key, plain):
    """The error says what to do."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(Unavailable, match="cannot write"):
            encrypt_file(plain, tmp_path / "sealed", key)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_the_output_has_the_mode_of_the_input(tmp_path, key, plain):
    """A private file stays private."""
    plain.chmod(0o600)
    encrypt_file(plain, tmp_path / "sealed", key)
    decrypt_file(tmp_path / "sealed", tmp_path / "back", key)
    assert oct((tmp_path / "back").stat().st_mode & 0o777) == "0o600"


def test_pipes_are_streamed(tmp_path, key, plain):
    """What has no size is read as it comes."""
    fifo, sealed = tmp_path / "fifo", tmp_path / "sealed"
    os.mkfifo(fifo)
    for source, target, work in (
        (plain, sealed, lambda: encrypt_file(fifo, sealed, key)),
        (sealed, tmp_path / "back", lambda: decrypt_file(fifo, tmp_path / "back", key)),
    ):
        code = (
            "import shutil,sys; shutil.copyfileobj(open(sys.argv[1],'rb'),open(sys.argv[2],'wb'))"
        )
        with subprocess.Popen([sys.executable, "-c", code, source, fifo]):
            work()
        assert target.exists()
    assert (tmp_path / "back").read_bytes() == plain.read_bytes()


def test_a_file_moves_to_another_provider_in_place(tmp_path, cloud, hsm, key, other, plain):
    """Rewrapping replaces the file at once, or writes a new one."""
    sealed = tmp_path / "sealed"
    encrypt_file(plain, sealed, key, context={"a": "1"})
    rewrap_file(sealed, tmp_path / "both", [key], [key, other], context={"a": "1"})
    rewrap_file(sealed, None, [cloud], [other], context={"a": "1"})
    decrypt_file(sealed, tmp_path / "back", hsm, context={"a": "1"})
    assert (tmp_path / "back").read_bytes() == plain.read_bytes()
    with pytest.raises(KeyNotFound):
        decrypt_file(sealed, tmp_path / "again", key, context={"a": "1"})
    decrypt_file(tmp_path / "both", tmp_path / "again", key, context={"a": "1"})


def test_a_failed_rewrap_keeps_the_old_message(tmp_path, key, other, plain):
    """Nothing is lost."""
    sealed = tmp_path / "sealed"
    encrypt_file(plain, sealed, key)
    content = bytearray(sealed.read_bytes())
    content[-20] ^= 1
    sealed.write_bytes(content)
    with pytest.raises(IntegrityError):
        rewrap_file(sealed, None, [key], [other])
    assert sealed.read_bytes() == content


def test_any_part_can_be_read(tmp_path, key, plain):
    """Seek and read as in any file."""
    sealed = tmp_path / "sealed"
    encrypt_file(plain, sealed, key)
    content = plain.read_bytes()
    draw = random.Random(2)
    with sealed.open("rb") as file, EnvelopeReader(file, key) as reader:
        assert reader.readable()
        assert reader.seekable()
        for _ in range(50):
            place, size = draw.randrange(len(content) + 10), draw.randrange(1, 200_000)
            reader.seek(place)
            assert reader.tell() == place
            piece = reader.read(size)
            assert piece == content[place : place + len(piece)]
            assert piece or place >= len(content)
        reader.seek(-5, os.SEEK_END)
        assert reader.read() == content[-5:]
        reader.seek(0)
        assert reader.readall() == content
        with pytest.raises(ValueError, match="negative"):
            reader.seek(-1)


def test_a_reader_checks_that_the_message_is_whole(tmp_path, key, plain):
    """Before it gives anything out; and each frame when it is read."""
    sealed = tmp_path / "sealed"
    encrypt_file(plain, sealed, key)
    good = sealed.read_bytes()
    for size in (len(good) - 1, len(good) - FRAME_BYTES - 32, 200, 20):
        sealed.write_bytes(good[:size])
        with sealed.open("rb") as file, pytest.raises(IntegrityError):
            EnvelopeReader(file, key)
    altered = bytearray(good)
    altered[1000] ^= 1
    sealed.write_bytes(altered)
    with sealed.open("rb") as file, EnvelopeReader(file, key) as reader:
        reader.seek(FRAME_BYTES)
        assert reader.read(10) == plain.read_bytes()[FRAME_BYTES:][:10]
        reader.seek(0)
        with pytest.raises(IntegrityError, match="frame 1"):
            reader.read(10)


def test_messages_without_frames_are_not_read_in_parts(tmp_path, key):
    """They can only be checked as a whole."""
    message = bytearray(envelope.encrypt(b"x", key))
    frame_field = message.index(FRAME_BYTES.to_bytes(4))
    message[frame_field - 1] = 1
    message[frame_field : frame_field + 4] = bytes(4)
    path = tmp_path / "single"
    path.write_bytes(message)
    with path.open("rb") as file, pytest.raises(Unsupported, match="in parts"):
        EnvelopeReader(file, key)
