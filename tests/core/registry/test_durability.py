"""What was acknowledged is there: after a kill, a full disk, and a failure in between."""

import errno
import os
import signal
import sqlite3

import pytest

from kmscore.errors import KeyNotFound, Unavailable
from kmscore.registry import Purpose, Registry, SqliteStore

WRITER = """
import hmac
store = SqliteStore(PATH)
store.protect(lambda row: hmac.digest(b"key", row, "sha256"))
registry = Registry(store)
while True:
    key_id = registry.create(NEW, make).key_id
    say("created", key_id)
    registry.rotate(key_id, make)
    say("rotated", key_id)
    registry.disable(key_id)
    say("disabled", key_id)
"""


@pytest.mark.parametrize("acknowledged", [1, 2, 3, 10, 50])
def test_a_kill_loses_nothing_that_was_acknowledged(start, path, acknowledged):
    """SIGKILL in the middle of writing: every acknowledged change is there, nothing is half."""
    process = start(WRITER)
    acks = [process.stdout.readline().split() for _ in range(acknowledged)]
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0]
    acks += [line.split() for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL

    registry = Registry(SqliteStore(path))
    for what, key_id in acks:
        record = registry.find(key_id)
        assert record.version == 2 or what == "created"
        assert record.state == "DISABLED" or what != "disabled"
    for info in registry.page(10_000, None).keys:
        for number in range(1, info.version + 1):
            assert registry.version(info.key_id, number).material
        assert not registry.has_version(info.key_id, info.version + 1)
    registry.close()


def test_a_kill_between_statements_leaves_nothing_half_written(start, registry, keys, path):
    """Dying within a transaction is as if it had never begun."""
    program = """
registry = Registry(SqliteStore(PATH))
def die(record, number):
    os.kill(os.getpid(), signal.SIGKILL)
registry.rotate(sys.argv[2], die)
"""
    key_id = keys.create()
    before = registry.find(key_id)
    process = start(program, key_id)
    assert process.wait(60) == -signal.SIGKILL
    assert registry.find(key_id) == before
    assert registry.rotate(key_id, keys.make).version == 2


def test_a_full_disk(registry, keys, key_id):
    """Unavailable, with nothing half-written; the key that was there still works."""
    writer = registry._store._file._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    made = [key_id]
    with pytest.raises(Unavailable, match="make room") as failed:
        made.extend(keys.create() for _ in range(1000))
    assert failed.value.code == "SQLITE_FULL"
    assert registry.count() == len(made)
    assert [registry.usable(key_id, Purpose.ENCRYPT).key_id for key_id in made] == made
    writer.execute("PRAGMA max_page_count = 100000")
    assert registry.usable(keys.create(), Purpose.ENCRYPT)


def test_a_file_that_may_not_grow(run):
    """The operating system refuses to write: the same, and it goes on when there is room again."""
    said = run("""
import resource
registry = Registry(SqliteStore(PATH))
first = registry.create(NEW, make).key_id
limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
size = PATH.with_name(PATH.name + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40_000, most))
made = 1
try:
    while made < 1000:
        registry.create(NEW, make)
        made += 1
except Unavailable as error:
    say(error.retryable)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
say(registry.count() == made, registry.usable(first, Purpose.ENCRYPT).version)
registry.create(NEW, make)
again = Registry(SqliteStore(PATH))
say(again.count() == made + 1, len(again.page(2000, None).keys) == made + 1)
again.close()
registry.close()
""")
    assert said == ["True", "True", "1", "True", "True"]


@pytest.mark.parametrize("room", ["100", "10000", "30000"])
def test_a_disk_that_is_full_from_the_start(run, room):
    """No keystore can be made; later it can, in the same place."""
    said = run(
        """
import resource
limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), most))
try:
    SqliteStore(PATH)
except Unavailable as error:
    say("full")
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
say(SqliteStore(PATH).count())
""",
        room,
    )
    assert said == ["full", "0"]


def test_a_disk_without_room_for_one_more_file(path, monkeypatch):
    """Unavailable, as for any full disk."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Unavailable, match="the disk is full"):
        SqliteStore(path)


def test_a_commit_that_fails_is_rolled_back(registry, keys, key_id, path, other):
    """The error is of ours, and the next write works."""
    writer = registry._store._file._writer
    writer.set_authorizer(
        lambda action, first, *_: (
            sqlite3.SQLITE_DENY
            if (action, first) == (sqlite3.SQLITE_TRANSACTION, "COMMIT")
            else sqlite3.SQLITE_OK
        )
    )
    with pytest.raises(Exception, match="not authorized"):
        keys.create(alias="db")
    with pytest.raises(KeyNotFound):
        other.find("db")
    writer.set_authorizer(None)
    assert other.find(keys.create(alias="db")).alias == "db"


@pytest.mark.parametrize("way", ["deleted", "expired", "gone", "replaced"])
def test_what_is_destroyed_is_not_left_in_the_file(registry, keys, clock, path, way):
    """Neither in the database nor in its log: deleted rows are overwritten."""
    key_id = keys.imported(valid_to=clock.now + 60)
    secret = f"sealed {key_id} 1".encode()
    if way == "replaced":
        secret = b"wrapping key"

    def found():
        files = (path, path.with_name(path.name + "-wal"))
        return any(secret in file.read_bytes() for file in files)

    assert found()
    if way == "deleted":
        registry.delete_material(key_id)
    elif way == "gone":
        registry.disable(key_id)
        clock.now = registry.schedule_deletion(key_id, 7)
    else:
        clock.now += 86400
    registry.sweep()
    assert not found()


def test_durable_means_flushed(registry, key_id):
    """The settings that a commit's durability rests on (sqlite.org/pragma: 2 is FULL)."""
    settings = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}
    writer = registry._store._file._writer
    for name, value in settings.items():
        assert writer.execute(f"PRAGMA {name}").fetchone() == (value,)
