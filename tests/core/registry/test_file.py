"""The file: private, recognised, and shared without harm."""

import contextlib
import os
import sqlite3
import stat

import pytest

from kmscore.errors import ConfigError, IntegrityError, InternalError, Unavailable, Unsupported
from kmscore.registry import Purpose, Registry, SqliteStore, sqlite_connections, sqlite_file


def mode(path):
    """Permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def companions(path):
    """The write-ahead log and its index."""
    return [path.with_name(path.name + ending) for ending in ("-wal", "-shm")]


# --- Private ---------------------------------------------------------------------------------


def test_the_file_and_its_log_are_for_the_owner_alone(registry, key_id, path):
    """Even where the umask would allow more."""
    assert [mode(file) for file in (path, *companions(path))] == [0o600] * 3


def test_the_umask_does_not_matter(path):
    """A file made under umask 0 is private all the same."""
    before = os.umask(0)
    try:
        store = SqliteStore(path)
        with store.write() as writer:
            writer.put_meta("name", b"value")
        assert [mode(file) for file in (path, *companions(path))] == [0o600] * 3
        store.close()
    finally:
        os.umask(before)


@pytest.mark.parametrize("bits", [0o640, 0o620, 0o604, 0o602, 0o660, 0o666])
def test_a_file_that_others_may_use_is_refused(path, bits):
    """The hint is the command that mends it."""
    SqliteStore(path).close()
    path.chmod(bits)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        SqliteStore(path)
    path.chmod(0o600)
    SqliteStore(path).close()


@pytest.mark.parametrize("which", [0, 1])
def test_a_log_that_others_may_use_is_refused(registry, key_id, path, which):
    """It holds the newest rows."""
    log = companions(path)[which]
    log.chmod(0o644)
    with pytest.raises(ConfigError, match=f"chmod 600 {log}"):
        SqliteStore(path)
    log.chmod(0o600)


def test_a_keystore_that_was_read_only_for_a_while(registry, key_id, path):
    """What was read meanwhile left a read-only log, which nobody could write to for ever."""
    for file in (path, *companions(path)):
        file.chmod(0o400)
    SqliteStore(path).close()
    assert [mode(file) for file in companions(path)] == [0o400] * 2
    path.chmod(0o600)
    SqliteStore(path).close()
    assert [mode(file) for file in companions(path)] == [0o600] * 2


def test_a_folder_that_is_not_there(tmp_path):
    """It is not made silently."""
    with pytest.raises(ConfigError, match="Make the folder first"):
        SqliteStore(tmp_path / "none" / "keystore.db")


def test_a_file_that_is_not_there_can_be_refused(path):
    """With ``create=False`` a wrong path does not become a new keystore."""
    with pytest.raises(ConfigError, match="Check the path"):
        SqliteStore(path, create=False)
    assert not path.exists()
    SqliteStore(path).close()
    SqliteStore(path, create=False).close()


@pytest.mark.parametrize("name", [".", "a\x00b", "x" * 300])
def test_what_cannot_be_a_file(tmp_path, name):
    """A folder, a name with a zero, a name that is too long."""
    with pytest.raises(ConfigError):
        SqliteStore(tmp_path / name)


def test_a_path_with_every_kind_of_character(tmp_path):
    """Nothing in a path is taken for an option."""
    path = tmp_path / "a b?mode=memory&x#y%41 钥"
    store = SqliteStore(path)
    with store.write() as writer:
        writer.put_meta("name", b"value")
    store.close()
    assert path.stat().st_size > 0
    again = SqliteStore(path, create=False)
    assert again.meta("name") == b"value"
    again.close()


# --- Recognised ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"07" * 32, b"x" * 511, b"x" * 512, b"[providers.dev]\n" * 99, b"x" * 8192]
)
def test_a_file_that_is_no_database(path, content):
    """It is refused, and not touched."""
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IntegrityError, match="keystore"):
        SqliteStore(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("application", [0, 0x0F055112])
@pytest.mark.parametrize("tables", ["", "CREATE TABLE mine (x)"])
def test_a_database_that_is_no_keystore(path, application, tables):
    """Somebody else's tables, or their mark: refused, and not touched."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.execute(f"PRAGMA application_id = {application}")
    connection.execute(tables)
    connection.close()
    path.chmod(0o600)
    before = path.read_bytes()
    if not application and not tables:
        SqliteStore(path).close()  # nothing in it is anybody's
        return
    with pytest.raises(IntegrityError, match="is no keystore"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_keystore_only_where_one_may_be_made(path):
    """With ``create=False`` a keystore that was cut to nothing is noticed."""
    path.touch(0o600)
    with pytest.raises(IntegrityError, match="is no keystore"):
        SqliteStore(path, create=False)
    SqliteStore(path).close()
    SqliteStore(path, create=False).close()


def test_who_comes_second_finds_the_tables_made(registry, key_id, path):
    """Two processes may both have found the file empty: nothing is made twice."""
    connection = sqlite_file.connect(path)
    sqlite_file._make_tables(connection, path)
    connection.close()
    assert registry.find(key_id).version == 1


def test_a_file_of_a_newer_version(path):
    """It is refused, and says what helps."""
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(Unsupported, match="Upgrade kmscore"):
        SqliteStore(path)


def test_a_damaged_file(registry, keys, path):
    """Pages overwritten with noise are an IntegrityError, not an answer."""
    key_ids = [keys.create() for _ in range(50)]
    registry.close()
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    store = SqliteStore(path)
    with pytest.raises(IntegrityError, match="Restore it from a backup"):
        store.key(key_ids[0])
    with pytest.raises(IntegrityError), store.write() as writer:
        writer.key(key_ids[0])
    store.close()


@pytest.mark.parametrize(("fact", "value"), [("sqlite_version_info", (3, 36)), ("threadsafety", 1)])
def test_an_unfit_sqlite_is_refused(path, monkeypatch, fact, value):
    """Too old, or built without care for threads: refused before anything is written."""
    monkeypatch.setattr(sqlite3, fact, value)
    with pytest.raises(Unsupported, match=r"SQLite 3\.37"):
        SqliteStore(path)
    assert path.stat().st_size == 0


def test_a_file_system_without_shared_memory_is_refused(path, monkeypatch):
    """A write-ahead log needs it; some network file systems have none."""

    def connect(path):
        return sqlite3.connect(
            f"{path.as_uri()}?vfs=unix-dotfile",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )

    monkeypatch.setattr(sqlite_connections, "connect", connect)
    with pytest.raises(ConfigError, match="local disk"):
        SqliteStore(path)


# --- Shared ----------------------------------------------------------------------------------


def test_writers_wait_for_each_other_but_not_for_ever(path, key_id, registry, monkeypatch):
    """A file held too long is Unavailable; readers are not held up."""
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.01)
    store = SqliteStore(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="held by another process") as failed, store.write():
        raise AssertionError
    assert failed.value.retryable
    assert store.key(key_id) is not None
    holder.close()
    with store.write() as writer:
        assert writer.key(key_id) is not None
    store.close()


def test_a_watch_that_fails_is_an_error(asking, registry, key_id):
    """When SQLite cannot say whether something changed, no key is used."""
    registry.usable(key_id, Purpose.ENCRYPT)
    registry._store._file._reader.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
    with pytest.raises(InternalError, match="not authorized"):
        registry.usable(key_id, Purpose.ENCRYPT)


def test_a_write_within_a_write_is_refused(registry, keys, key_id):
    """It would wait for itself; the outer one goes on unharmed."""
    with registry._store.write() as writer:
        with pytest.raises(InternalError, match="within another"):
            registry.disable(key_id)
        writer.put_meta("name", b"value")
    assert registry._store.meta("name") == b"value"
    registry.disable(key_id)


def test_an_interrupted_write_leaves_nothing_behind(registry, keys, key_id):
    """Ctrl-C in the middle: nothing is written, and the next write works."""

    def make(record, number):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registry.rotate(key_id, make)
    assert registry.usable(key_id, Purpose.ENCRYPT).version == 1
    registry.disable(key_id)


def test_a_provider_that_hands_over_something_else_is_told(registry, keys):
    """Material that is no bytes is an InternalError, and not half a key."""
    with pytest.raises(InternalError):
        registry.create(keys.new(), lambda record, number: ("text", b""))
    with pytest.raises(InternalError):
        registry.create(keys.new(), lambda record, number: (object(), b""))
    assert registry.count() == 0


def test_rows_of_the_wrong_kind_are_refused(registry, key_id):
    """Whoever writes a number where there is none is told that it is a defect."""
    record = registry.find(key_id)
    with pytest.raises(InternalError, match="cannot store BLOB"), registry._store.write() as writer:
        writer.update_key(record._replace(created_at=b"noon"))
    assert registry.find(key_id) == record


def test_named_values_belong_to_the_provider(registry):
    """They are written with everything else, or not at all."""
    store = registry._store
    with store.write() as writer:
        assert writer.meta("salt") is None
        writer.put_meta("salt", b"1")
        writer.put_meta("salt", b"2")
        assert writer.meta("salt") == b"2"
        assert store.meta("salt") is None
    assert store.meta("salt") == b"2"


def test_the_versions_of_a_key_are_in_order(registry, keys, key_id):
    """The oldest first, for who wants them all."""
    registry.rotate(key_id, keys.make)
    assert [version.number for version in registry._store.versions(key_id)] == [1, 2]
    assert registry._store.version(key_id, 2) == registry.version(key_id, 2)


def test_a_closed_store_says_so(registry, key_id):
    """Closing twice is fine; using it afterwards is a defect of the caller."""
    registry.close()
    registry.close()
    for use in (
        lambda: registry.find(key_id),
        lambda: registry.usable(key_id, Purpose.ENCRYPT),
        lambda: registry.disable(key_id),
    ):
        with pytest.raises(InternalError, match="was closed"):
            use()


def test_a_file_that_vanished_is_no_new_keystore(registry, path, key_id):
    """A store that must open it again does not make an empty one in its place."""
    store = registry._store
    store._file.pause()
    for file in (path, *companions(path)):
        file.unlink(missing_ok=True)
    store._file.resume(in_child=False)
    with pytest.raises(ConfigError, match="where it was"):
        registry.find(key_id)
    with pytest.raises(ConfigError, match="where it was"):
        registry.usable(key_id, Purpose.ENCRYPT)
    with pytest.raises(ConfigError, match="where it was"), store.write():
        raise AssertionError
    assert not path.exists()


def test_a_second_store_of_a_process_does_not_drop_the_locks_of_the_first(
    registry, other, keys, path, run
):
    """Another process that closes the file must not think that nobody else has it open."""
    keys.create()
    run("store = SqliteStore(PATH); store.count(); store.close()")
    assert companions(path)[0].exists()
    key_id = keys.create()
    assert run("say(Registry(SqliteStore(PATH)).find(sys.argv[2]).state)", key_id) == ["ENABLED"]


def test_a_copy_that_lost_its_log_gets_one_again(registry, key_id, path):
    """As SQLite's VACUUM INTO makes copies: one that is put in place of the file is as good."""
    registry.close()
    copy = path.with_name("copy.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    copy.chmod(0o600)
    copy.replace(path)
    again = Registry(SqliteStore(path))
    assert again.find(key_id).key_id == key_id
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    again.close()
