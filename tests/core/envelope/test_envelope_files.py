"""Files: whole or not there, by two threads or one, and readable in any part."""

import errno
import io
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from fcntl import ioctl
from termios import FIONREAD
from typing import Any

import pytest

from kmscore import envelope
from kmscore.envelope import (
    Batch,
    DataKeyCache,
    EnvelopeReader,
    decrypt_file,
    encrypt_file,
    files,
    output,
    rewrap_file,
    units,
)
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


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # from Python 3.12 on
def test_nothing_is_left_by_a_kill(tmp_path, key, plain):
    """Not even a draft: until it is complete, the output has no name."""
    source = tmp_path / "fifo"
    os.mkfifo(source)
    target = tmp_path / "sealed"
    child = os.fork()
    if child == 0:
        try:
            encrypt_file(source, target, key)
        finally:
            os._exit(1)
    with source.open("wb") as file:
        file.write(plain.read_bytes())  # more than a pipe holds: the child is at work
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "plain"]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_leaves_nothing(tmp_path, key, plain, threads):
    """All threads have ended before the files are closed."""

    def interrupt(done):
        raise KeyboardInterrupt

    before = threading.active_count()  # whoever writes an audit log has left a thread
    with pytest.raises(KeyboardInterrupt):
        encrypt_file(plain, tmp_path / "sealed", key, threads=threads, progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]
    assert threading.active_count() == before


def test_a_file_that_changes_meanwhile_is_refused(tmp_path, key, plain):
    """Half of the old and half of the new would be nobody's file."""
    for change in (
        lambda: plain.write_bytes(b"short"),
        lambda: _append(plain),
        lambda: _touch(plain),
    ):
        plain.write_bytes(bytes(2_000_000))
        with pytest.raises(InvalidRequest, match=r"changed|shorter"):
            encrypt_file(plain, tmp_path / "sealed", key, threads=1, progress=_once(change))
        assert not (tmp_path / "sealed").exists()


def _append(path):
    with path.open("ab") as file:
        file.write(b"more")


def _touch(path):
    with path.open("r+b") as file:
        file.write(b"other")


def _once(change):
    calls: list[int] = []

    def call(done):
        if not calls:
            calls.append(done)
            change()

    return call


def test_a_file_that_appears_meanwhile_is_kept(tmp_path, key, plain):
    """Between the look and the end somebody else may have been quicker."""
    target = tmp_path / "sealed"
    with pytest.raises(AlreadyExists):
        encrypt_file(plain, target, key, progress=_once(lambda: target.write_text("precious")))
    assert target.read_text() == "precious"
    target.unlink()
    appear = _once(lambda: target.write_text("replaced"))
    encrypt_file(plain, target, key, force=True, progress=appear)
    assert envelope.decrypt(target.read_bytes(), key) == plain.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "sealed"]


@pytest.mark.parametrize("force", [False, True])
def test_only_regular_files_are_ever_replaced(tmp_path, key, plain, force):
    """Links, folders, pipes and devices are refused and left alone."""
    link, folder, fifo, dangling = (tmp_path / n for n in ("link", "folder", "fifo", "dangling"))
    (tmp_path / "other").write_text("precious")
    link.symlink_to(tmp_path / "other")
    dangling.symlink_to(tmp_path / "nowhere")
    folder.mkdir()
    os.mkfifo(fifo)
    for target in (link, folder, fifo, dangling, "/dev/null"):
        with pytest.raises(InvalidRequest, match="no regular file"):
            encrypt_file(plain, target, key, force=force)
    assert (tmp_path / "other").read_text() == "precious"
    assert (link.is_symlink(), fifo.is_fifo()) == (True, True)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("force", [False, True])
def test_file_systems_without_nameless_files_serve_too(
    tmp_path, key, plain, monkeypatch, force, links
):
    """There a draft has a hidden name; it is as whole, and as gone after a failure.

    FAT, on a memory stick, has no links either.
    """
    real = os.open

    def no_links(*arguments, **named):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", no_links)

    def refuse(path, flags, *arguments, **named):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    target = tmp_path / "sealed"
    if force:
        target.write_text("old")
    encrypt_file(plain, target, key, force=force)
    assert envelope.decrypt(target.read_bytes(), key) == plain.read_bytes()
    with pytest.raises(AlreadyExists):
        encrypt_file(plain, target, key)
    with pytest.raises(KeyNotFound):
        decrypt_file(target, tmp_path / "back", *[])
    appear = _once(lambda: (tmp_path / "late").write_text("precious"))
    with pytest.raises(AlreadyExists):
        encrypt_file(plain, tmp_path / "late", key, progress=appear)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["late", "plain", "sealed"]


def test_a_batch_publishes_many_at_once(tmp_path, key, plain):
    """Once there are so many, while the next are written; the rest at its end."""
    names = [tmp_path / f"sealed{n}" for n in range(7)]
    seen = []
    with Batch(size=3) as batch:
        for name in names:
            encrypt_file(plain, name, key, batch=batch)
            seen.append(sum(each.exists() for each in names))
    assert seen[:2] == [0, 0]
    assert seen[5] >= 3, "the first three were not waited for"
    assert all(count <= 6 for count in seen), "the last one is no three"
    assert batch.failures == []
    for name in names:
        assert envelope.decrypt(name.read_bytes(), key) == plain.read_bytes()


def test_threads_share_a_batch(tmp_path, key):
    """Whatever they add at once is there in the end."""
    names = [tmp_path / f"sealed{n}" for n in range(200)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    small = tmp_path / "small"
    small.write_bytes(b"x")
    try:
        with DataKeyCache() as cache, Batch(size=2) as batch, ThreadPoolExecutor(8) as threads:
            work = [
                threads.submit(encrypt_file, small, name, key, cache=cache, batch=batch)
                for name in names
            ]
        for each in work:
            each.result()
    finally:
        sys.setswitchinterval(before)
    assert all(name.exists() for name in names)


def test_a_batch_tells_what_could_not_be_published(tmp_path, key, plain):
    """By its name; the other files are there, also when an error ends the work early."""
    batch = Batch()

    def work():
        with batch:
            for name in ("one", "two"):
                encrypt_file(plain, tmp_path / name, key, batch=batch)
            (tmp_path / "one").write_text("precious")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    ((target, error),) = batch.failures
    assert (target, type(error)) == (str(tmp_path / "one"), AlreadyExists)
    assert (tmp_path / "one").read_text() == "precious"
    assert envelope.decrypt((tmp_path / "two").read_bytes(), key) == plain.read_bytes()


def test_a_batch_ends_with_an_error_when_a_file_is_not_there(tmp_path, key, plain, monkeypatch):
    """Whoever deletes the plaintexts afterwards need not know where to look."""
    real = os.fsync

    def full(handle):
        if os.fstat(handle).st_size > len(plain.read_bytes()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="sealed: No space left"), Batch() as batch:
        encrypt_file(plain, tmp_path / "sealed", key, batch=batch)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_a_batch_hands_on_what_nobody_expects(tmp_path, key, plain, monkeypatch):
    """Publishing has a thread of its own: a defect there ends the work as anywhere else."""

    def broken(folder):
        raise ZeroDivisionError

    monkeypatch.setattr(output, "sync_folder", broken)
    batch = Batch()
    encrypt_file(plain, tmp_path / "sealed", key, batch=batch)
    with pytest.raises(ZeroDivisionError):
        batch.flush()


@pytest.mark.parametrize("work", [encrypt_file, decrypt_file])
def test_a_disk_that_fails_in_the_middle_is_told(tmp_path, key, plain, monkeypatch, work):
    """The kernel tells of it once: to the thread that syncs while the others still write."""
    encrypt_file(plain, tmp_path / "sealed", key)
    source = plain if work is encrypt_file else tmp_path / "sealed"
    synced = threading.Event()

    def broken(handle):
        synced.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def wait_after_a_unit(count):
        if count == units.UNIT_BYTES:
            assert synced.wait(60)

    monkeypatch.setattr(os, "fdatasync", broken)
    monkeypatch.setattr(units, "SYNC_UNITS", 1)
    with pytest.raises(InvalidRequest, match="Input/output error"):
        work(source, tmp_path / "out", key, progress=wait_after_a_unit)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_at_the_very_end_leaves_nothing(tmp_path, key, plain, monkeypatch):
    """Some file systems find out only when the file is brought to the disk."""

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left") as caught:
        encrypt_file(plain, tmp_path / "sealed", key)
    assert "nothing was left" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_rewrapping_in_place_keeps_permissions_and_links(tmp_path, key, other, plain):
    """The file is another one, with the same name, mode and, for root, owner."""
    sealed, link = tmp_path / "sealed", tmp_path / "link"
    encrypt_file(plain, sealed, key)
    link.symlink_to(sealed)
    sealed.chmod(0o640)
    os.chown(sealed, -1, os.getgroups()[-1] if os.getgroups() else -1)
    before = sealed.stat()
    rewrap_file(link, None, [key], [other])
    after = sealed.stat()
    assert link.is_symlink()
    assert (before.st_mode, before.st_uid, before.st_gid) == (
        after.st_mode,
        after.st_uid,
        after.st_gid,
    )
    assert envelope.decrypt(sealed.read_bytes(), other) == plain.read_bytes()


@pytest.mark.parametrize("name", ["two\nlines", "tab\there", "\udcff\udcfe", "-", " "])
def test_any_name_will_do(tmp_path, key, name):
    """Also with line breaks, or such as are no text; errors show it on one line."""
    plain = tmp_path / "plain"
    plain.write_bytes(b"x")
    encrypt_file(plain, tmp_path / name, key)
    decrypt_file(tmp_path / name, tmp_path / "back", key)
    assert (tmp_path / "back").read_bytes() == b"x"
    with pytest.raises(AlreadyExists) as caught:
        encrypt_file(plain, tmp_path / name, key)
    caught.value.message.encode()
    assert "\n" not in caught.value.message


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


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("way", ["replaced", "overwritten"])
def test_a_message_that_is_written_anew_meanwhile_is_not_lost(tmp_path, key, other, way, batch):
    """Rewrapping in place takes nobody's newer message away."""
    sealed = tmp_path / "sealed"
    sealed.write_bytes(envelope.encrypt(b"old" * FRAME_BYTES, key))
    newer = envelope.encrypt(b"new", key)

    def change():
        if way == "replaced":
            (tmp_path / "newer").write_bytes(newer)
            (tmp_path / "newer").replace(sealed)
        else:
            sealed.write_bytes(newer)

    if batch:
        many = Batch()
        rewrap_file(sealed, None, [key], [other], batch=many)
        change()
        many.flush()
        ((_, failure),) = many.failures
        assert isinstance(failure, InvalidRequest)
    else:
        with pytest.raises((InvalidRequest, IntegrityError)):
            rewrap_file(sealed, None, [key], [other], progress=_once(change))
    assert sealed.read_bytes() == newer
    assert [path.name for path in tmp_path.iterdir()] == ["sealed"]


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


def test_a_missing_end_is_found_first(tmp_path, key, plain):
    """A large message need not be opened to find that it is cut off."""
    sealed = tmp_path / "sealed"
    encrypt_file(plain, sealed, key)
    good = sealed.read_bytes()
    for content in (good[:-1], good[: -FRAME_BYTES - 32], good + b"x"):
        sealed.write_bytes(content)
        done: list[int] = []
        with pytest.raises(IntegrityError, match="cut off"):
            decrypt_file(sealed, tmp_path / "back", key, progress=done.append)
        assert done == []


def test_a_disk_that_fails_while_reading_is_told(tmp_path, key, plain, monkeypatch):
    """As trouble with the input, not with the output."""

    def fail(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(InvalidRequest, match="input cannot be read"):
        encrypt_file(plain, tmp_path / "sealed", key)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_somebody_elses_file_is_rewrapped_with_its_permissions(
    tmp_path, key, other, plain, monkeypatch
):
    """Its owner cannot be kept then, and no bit that lends somebody's rights."""
    sealed = tmp_path / "sealed"
    encrypt_file(plain, sealed, key)
    sealed.chmod(0o4640)

    def refuse(*arguments):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refuse)
    rewrap_file(sealed, None, [key], [other])
    assert oct(sealed.stat().st_mode & 0o7777) == "0o640"


def test_the_header_in_a_pipe_is_inspected(tmp_path, key):
    """As that of a file; one that is cut off is no header."""
    from kmscore.envelope.files import inspect_file

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    message = envelope.encrypt(b"x", key, context={"a": "1"})
    for content, failing in ((message, False), (message[:40], True)):
        writer = threading.Thread(target=fifo.write_bytes, args=(content,))
        writer.start()
        if failing:
            with pytest.raises(IntegrityError, match="cut off"):
                inspect_file(fifo)
        else:
            assert dict(inspect_file(fifo).context.items) == {"a": "1"}
        writer.join()


def test_a_reader_takes_what_a_file_gives(tmp_path, key, plain):
    """Also in parts, and with a header that is longer than most."""
    context = {f"k{n}": "v" * 30 for n in range(20)}
    message = envelope.encrypt(plain.read_bytes(), key, context=context)

    class Parts(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 5000))

    class Crumbs(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 500))

    for file in (Parts(message), Crumbs(message)):
        with EnvelopeReader(file, key, context=context) as reader:
            assert io.BufferedReader(reader).read() == plain.read_bytes()
    for size in (0, 1, 100, 600):
        with pytest.raises(IntegrityError, match="cut off"):
            EnvelopeReader(Parts(message[:size]), key, context=context)


def test_a_reader_is_a_file_of_python(key):
    """It refuses what other files refuse, and gives nothing out when it is closed."""
    reader = EnvelopeReader(io.BytesIO(envelope.encrypt(b"plaintext", key)), key)
    for wrong in ((0, 3), (-1, 0), (-10, 2)):
        with pytest.raises(ValueError, match=r"invalid whence|negative"):
            reader.seek(*wrong)
    half: Any = 1.5
    with pytest.raises(TypeError):
        reader.seek(half)
    assert (reader.seek(-4, 2), reader.read(), reader.seek(100), reader.read()) == (
        5,
        b"text",
        100,
        b"",
    )
    reader.seek(0)
    reader.close()
    for use in (reader.read, reader.tell, lambda: reader.seek(0), lambda: reader.read(1)):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_an_input_that_fails_is_not_taken_for_the_output(tmp_path, key):
    """Such as a file that can be opened and not read."""
    place, target = "/proc/self/mem", tmp_path / "out"
    for call in (
        lambda: encrypt_file(place, target, key),
        lambda: decrypt_file(place, target, key),
        lambda: rewrap_file(place, target, [key], [key]),
        lambda: files.inspect_file(place),
    ):
        with pytest.raises(InvalidRequest, match="the input cannot be read: Input/output error"):
            call()
    with pytest.raises(InvalidRequest, match="is a folder"):
        files.inspect_file(tmp_path)


def test_a_pipe_is_inspected_as_it_comes(key):
    """In parts, and without waiting for its end."""
    message = envelope.encrypt(bytes(5000), key)
    ours, theirs = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(files.inspect_file, f"/proc/self/fd/{ours}")
        os.write(theirs, message[:50])
        while not found.done() and ioctl(ours, FIONREAD, bytes(4)) != bytes(4):
            pass  # until they were read
        os.write(theirs, message[50:1000])
        assert found.result().size == envelope.inspect(message)["header_bytes"]
    os.close(ours)
    os.close(theirs)
