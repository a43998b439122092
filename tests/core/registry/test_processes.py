"""Threads, processes and forks: everybody sees the same keys, and nobody loses any."""

import itertools
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kmscore.algorithms import KeyState
from kmscore.errors import AlreadyExists, InternalError, KeyNotFound, KeyStateError
from kmscore.registry import Purpose, Registry, SqliteStore, sqlite_wal_index
from tests.core.registry.conftest import BY_ASKING, Keys

WAYS = ["by the WAL index", "by asking SQLite"]


@pytest.fixture
def way(request):
    """How it is seen whether somebody has changed something."""
    if request.param == WAYS[1]:
        request.getfixturevalue("asking")


EACH_WAY = pytest.mark.parametrize("way", WAYS, indirect=True)


def together(count, work):
    """Runs work(0), work(1), … at once; gives what they return."""
    ready = threading.Barrier(count)

    def one(number):
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def descriptors():
    """What this process has open."""
    return {path.name for path in Path("/dev/fd").iterdir()}


# --- Threads ---------------------------------------------------------------------------------


def test_threads_make_keys_together(registry, keys):
    """Every key is there once, with its material."""
    batches = together(8, lambda number: [keys.create() for _ in range(20)])
    made = [key_id for batch in batches for key_id in batch]
    assert len(set(made)) == registry.count() == 160
    for key_id in made:
        assert registry.version(key_id, 1).material == f"sealed {key_id} 1".encode()


def test_threads_rotate_a_key_together(registry, keys, key_id):
    """No version is lost, and none made twice."""
    together(8, lambda number: [registry.rotate(key_id, keys.make) for _ in range(5)])
    assert registry.find(key_id).version == 41
    assert [registry.version(key_id, number).number for number in range(1, 42)] == [*range(1, 42)]


def test_one_of_many_gets_the_name(registry, keys):
    """Eight threads want the same alias."""

    def work(number):
        try:
            return keys.create(alias="db")
        except AlreadyExists:
            return None

    results = together(8, work)
    assert results.count(None) == 7
    assert registry.find("db").key_id in results
    assert registry.count() == 1


@EACH_WAY
def test_a_disabled_key_is_refused_however_busy_the_threads_are(way, registry, other, key_id):
    """Threads that use a key without a pause all see at the next call that it is disabled."""
    disabled = threading.Event()

    def use():
        while True:
            was_disabled = disabled.is_set()
            try:
                registry.usable(key_id, Purpose.ENCRYPT)
            except KeyStateError:
                return "refused"
            if was_disabled:
                return "used"

    def work(number):
        if number:
            return use()
        other.disable(key_id)
        disabled.set()
        return "disabled"

    for _ in range(20):
        disabled.clear()
        assert together(6, work) == ["disabled"] + ["refused"] * 5
        other.enable(key_id)


def test_threads_open_nothing_of_their_own(registry, key_id):
    """However many use a key, one connection reads for all."""
    registry.usable(key_id, Purpose.ENCRYPT)
    before = descriptors()
    together(5, lambda number: registry.usable(key_id, Purpose.ENCRYPT))
    assert descriptors() == before


def test_a_store_is_closed_under_threads_that_use_it(registry, key_id):
    """Each gets its answer, or is told; nothing crashes."""
    began = threading.Barrier(5)

    def work(number):
        began.wait()
        if not number:
            registry.close()
            return None
        with pytest.raises(InternalError, match="was closed"):
            [registry.usable(key_id, Purpose.ENCRYPT) for _ in itertools.count()]
        return number

    assert together(5, work) == [None, 1, 2, 3, 4]


# --- Processes -------------------------------------------------------------------------------


def test_many_processes_make_one_keystore(start, path):
    """All open a file that is not there at once; each makes a key."""
    program = """
sys.stdin.readline()
registry = Registry(SqliteStore(PATH))
say(registry.create(NEW, make).key_id)
registry.close()
"""
    processes = [start(program) for _ in range(6)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    made = []
    for process in processes:
        said, complaints = process.communicate(timeout=60)
        assert complaints == ""
        made.append(said.strip())
    registry = Registry(SqliteStore(path))
    assert sorted(info.key_id for info in registry.page(10, None).keys) == sorted(made)
    registry.close()


@EACH_WAY
def test_a_key_disabled_by_another_process_is_refused_at_the_next_call(way, registry, key_id, run):
    """Really another process."""
    registry.usable(key_id, Purpose.ENCRYPT)
    run("Registry(SqliteStore(PATH)).disable(sys.argv[2])", key_id)
    with pytest.raises(KeyStateError, match="DISABLED"):
        registry.usable(key_id, Purpose.ENCRYPT)


HOLD = """
registry = Registry(SqliteStore(PATH))
say("open")
sys.stdin.read()
registry.close()
"""


def test_a_process_that_was_killed_leaves_no_wrong_idea_behind(start, run, path, clock):
    """Its WAL index is still there; whoever opens the keystore next sees what others change."""
    crashed = start(HOLD)
    assert crashed.stdout.readline() == "open\n"
    crashed.kill()
    crashed.wait()
    registry = Registry(SqliteStore(path), clock=clock)
    key_id = registry.create(Keys.new(), Keys.make).key_id
    registry.usable(key_id, Purpose.ENCRYPT)
    run("Registry(SqliteStore(PATH)).disable(sys.argv[2])", key_id)
    with pytest.raises(KeyStateError, match="DISABLED"):
        registry.usable(key_id, Purpose.ENCRYPT)
    registry.close()


def test_a_later_sqlite_is_asked(registry, other, key_id, monkeypatch):
    """Where its WAL index has another format, SQLite itself says whether something changed."""
    monkeypatch.setattr(sqlite_wal_index, "_VERSION", 3_007_001)
    registry._store._file.pause()
    registry._store._file.resume(in_child=False)
    registry.usable(key_id, Purpose.ENCRYPT)
    assert registry._store._file._index is None
    other.disable(key_id)
    with pytest.raises(KeyStateError, match="DISABLED"):
        registry.usable(key_id, Purpose.ENCRYPT)


def test_a_write_is_alone_while_the_keystore_is_closed_elsewhere(registry, other, key_id, run):
    """To close a file of SQLite's would drop all locks that this process has on it."""
    other.usable(key_id, Purpose.ENCRYPT)
    with registry._store.write() as writer:
        writer.put_meta("name", b"value")
        other.close()
        said = run(
            """
from kmscore.registry import sqlite_file
sqlite_file.BUSY_SECONDS = 0.01
try:
    Registry(SqliteStore(PATH)).disable(sys.argv[2])
except Unavailable:
    say("held")
""",
            key_id,
        )
    assert said == ["held"]


def test_a_keystore_that_is_opened_again_and_again_leaves_nothing_open(start, path):
    """Also when other processes have it open meanwhile, and close it."""
    SqliteStore(path).close()
    before = descriptors()
    for _ in range(3):
        holder = start(HOLD)
        assert holder.stdout.readline() == "open\n"
        for _ in range(3):
            SqliteStore(path).close()
        holder.communicate(timeout=60)
    SqliteStore(path).close()
    assert descriptors() == before


def test_several_processes_sweep_at_once(registry, other, keys, clock):
    """What one has destroyed, the other leaves alone."""
    key_ids = [keys.create() for _ in range(10)]
    waiting = [keys.imported(valid_to=clock.now + 60) for _ in range(10)]
    for key_id in key_ids:
        registry.disable(key_id)
        end = registry.schedule_deletion(key_id, 7)
    clock.now = end
    together(4, lambda number: (registry, other)[number % 2].sweep())
    assert registry.count() == 10
    assert {registry.find(key_id).state for key_id in waiting} == {KeyState.PENDING_IMPORT}
    with pytest.raises(KeyNotFound):
        registry.find(key_ids[0])


def test_a_sweep_that_is_overtaken_does_nothing(registry, other, keys, clock, monkeypatch):
    """Between looking and destroying, another process has swept, or the material is back."""
    back = keys.imported(valid_to=clock.now + 60)
    gone = keys.create()
    registry.disable(gone)
    clock.now = registry.schedule_deletion(gone, 7)
    store = registry._store
    due = store.due(int(clock.now))
    assert (set(due[0]), due[1]) == ({back, gone}, [back])
    other.sweep()
    keys.ask(back)
    keys.send(back)
    monkeypatch.setattr(store, "due", lambda now: due)
    registry.sweep()
    assert registry.usable(back, Purpose.ENCRYPT).version == 1
    assert registry.check_import(back, b"token")


# --- Forks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["", BY_ASKING], ids=WAYS)
def test_a_forked_child_sees_what_happens_to_keys(run, way):
    """Every change by the parent counts at the child's next call, and the other way round."""
    said = run(
        way
        + """
registry = Registry(SqliteStore(PATH))
key_id = registry.create(NEW, make).key_id

def usable():
    try:
        return registry.usable(key_id, Purpose.ENCRYPT).version
    except KeyStateError as error:
        return error.state

for rounds in range(4):
    registry.create(NEW, make)
    usable()
    (to_child, from_parent), (to_parent, from_child) = (os.pipe()[::-1] for _ in range(2))
    if os.fork() == 0:
        for _ in range(6):
            os.read(from_parent, 1)
            say("child", usable())
            (registry.enable if usable() == "DISABLED" else registry.disable)(key_id)
            os.write(to_parent, b".")
        sys.exit()
    for _ in range(6):
        (registry.enable if usable() == "DISABLED" else registry.disable)(key_id)
        os.write(to_child, b".")
        os.read(from_child, 1)
        say("parent", usable())
    os.wait()
"""
    )
    assert said == ["child", "DISABLED", "parent", "1"] * 24


@EACH_WAY
def test_what_was_remembered_before_a_fork_does_not_count_after_it(way, registry, other, key_id):
    """SQLite counts changes from the same number again in every new connection."""
    store = registry._store
    for _ in range(3):
        store._file.pause()
        store._file.resume(in_child=False)
        registry.usable(key_id, Purpose.ENCRYPT)
        store._file.pause()
        other.disable(key_id)
        store._file.resume(in_child=False)
        with pytest.raises(KeyStateError, match="DISABLED"):
            registry.usable(key_id, Purpose.ENCRYPT)
        other.enable(key_id)


@EACH_WAY
def test_a_keystore_that_was_replaced_counts_after_a_fork(way, registry, key_id, path):
    """A backup was put in its place, in which the key is disabled, and looks as new as before."""
    registry.disable(key_id)
    file = registry._store._file
    file.pause()
    shutil.copyfile(path, path.with_name("disabled"))
    file.resume(in_child=False)
    registry.enable(key_id)
    file.pause()
    file.resume(in_child=False)
    registry.usable(key_id, Purpose.ENCRYPT)
    file.pause()
    path.with_name("disabled").chmod(0o600)
    path.with_name("disabled").replace(path)
    file.resume(in_child=False)
    with pytest.raises(KeyStateError, match="DISABLED"):
        registry.usable(key_id, Purpose.ENCRYPT)


def test_what_a_forked_child_writes_outlives_its_parent(run, path):
    """The parent closes the keystore and ends; the child writes on, and is killed."""
    said = run("""
registry = Registry(SqliteStore(PATH))
registry.create(NEW, make)
(to_child, from_parent), (to_parent, from_child) = (os.pipe()[::-1] for _ in range(2))
child = os.fork()
if child == 0:
    say(registry.create(NEW, make).key_id)
    os.write(to_parent, b".")
    os.read(from_parent, 1)
    say(registry.create(NEW, make).key_id)
    os.kill(os.getpid(), signal.SIGKILL)
os.read(from_child, 1)
registry.close()
os.write(to_child, b".")
os.waitpid(child, 0)
""")
    registry = Registry(SqliteStore(path))
    assert registry.count() == 3
    for key_id in said:
        assert registry.version(key_id, 1).material
    registry.close()


def test_a_fork_waits_for_the_writes_of_other_threads(run):
    """Threads write while their process forks; every child goes on from a whole state."""
    said = run("""
import time
registry = Registry(SqliteStore(PATH))
key_id = registry.create(NEW, make).key_id
stop = threading.Event()
made = [0, 0, 0]

def work(number):
    while not stop.is_set():
        registry.create(NEW, make)
        registry.usable(key_id, Purpose.ENCRYPT)
        made[number] += 1

threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
children = 0
for _ in range(10):
    child = os.fork()
    if child == 0:
        registry.create(NEW, make)
        registry.usable(key_id, Purpose.ENCRYPT)
        sys.exit()
    children += os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
say(children, registry.count() - sum(made) - 1)
""")
    assert said == ["10", "10"]


def test_a_fork_within_a_write_is_refused_in_the_child(run):
    """Half a transaction is the parent's, who finishes it; the child is told what to do."""
    said = run("""
registry = Registry(SqliteStore(PATH))
key_id = registry.create(NEW, make).key_id

def forking(record, number):
    child = os.fork()
    if child == 0:
        for use in (registry.find, registry.enable, lambda key_id: SqliteStore(PATH)):
            try:
                use(key_id)
            except InternalError as error:
                say("refused" if "start a new process" in str(error) else error)
        sys.exit()
    os.waitpid(child, 0)
    return make(record, number)

say(registry.rotate(key_id, forking).version)
say(registry.usable(key_id, Purpose.ENCRYPT).version)
""")
    assert said == ["refused", "refused", "refused", "2", "2"]


def test_a_fork_does_not_wait_for_ever(run):
    """A thread that holds the file while another one forks: the parent goes on all the same."""
    said = run("""
from kmscore.registry import sqlite_file
sqlite_file.BUSY_SECONDS = 0.01
registry = Registry(SqliteStore(PATH))
key_id = registry.create(NEW, make).key_id
inside, leave = threading.Event(), threading.Event()

def slow(record, number):
    inside.set()
    leave.wait()
    return make(record, number)

thread = threading.Thread(target=registry.rotate, args=(key_id, slow))
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    try:
        registry.find(key_id)
    except InternalError:
        say("refused")
    sys.exit()
os.waitpid(child, 0)
leave.set()
thread.join()
say(registry.find(key_id).version)
""")
    assert said == ["refused", "2"]


def test_a_fork_in_the_middle_of_reading_is_refused_in_the_child(run):
    """As from a signal's handler, which may run at any moment; the parent goes on."""
    said = run("""
from kmscore.registry import sqlite_file
sqlite_file.BUSY_SECONDS = 0.01
store = SqliteStore(PATH)
registry = Registry(store)
key_id = registry.create(NEW, make).key_id
registry.usable(key_id, Purpose.ENCRYPT)
store._file._reading.acquire()
child = os.fork()
if child == 0:
    try:
        registry.usable(key_id, Purpose.ENCRYPT)
    except InternalError:
        say("refused")
    sys.exit()
os.waitpid(child, 0)
store._file._reading.release()
registry.rotate(key_id, make)
say(registry.usable(key_id, Purpose.ENCRYPT).version)
""")
    assert said == ["refused", "2"]


def test_a_fork_that_was_not_announced_is_refused_in_the_child(run):
    """A C program that forks tells Python afterwards only."""
    said = run("""
from kmscore.registry import sqlite_connections
registry = Registry(SqliteStore(PATH))
key_id = registry.create(NEW, make).key_id
sqlite_connections._after_fork_in_child()
try:
    registry.find(key_id)
except InternalError:
    say("refused")
""")
    assert said == ["refused"]


def test_a_store_stays_with_its_file(run):
    """A process that changes its folder and forks goes on with the file that it opened."""
    said = run("""
os.chdir(PATH.parent)
registry = Registry(SqliteStore(Path(PATH.name)))
key_id = registry.create(NEW, make).key_id
os.chdir("/")
if os.fork() == 0:
    say(registry.rotate(key_id, make).version)
    sys.exit()
os.wait()
say(registry.find(key_id).version)
""")
    assert said == ["2", "2"]
