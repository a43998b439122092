"""Several processes on one keystore: what one does holds in all, and a kill loses nothing."""

import shutil
import signal
from contextlib import suppress

import pytest

from kmscore import Message
from kmscore.errors import ConfigError, IntegrityError, KeyStateError

SERVER = """
kms = connect()
key = kms.key("k")
say("ready")
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    try:
        if word == "encrypt":
            say(key.encrypt(b"x").hex())
        elif word == "decrypt":
            say(kms.decrypt(bytes.fromhex(rest)).decode())
        else:
            getattr(key, word)()
            say("done")
    except KmsError as error:
        say(type(error).__name__)
"""


@pytest.fixture
def ask(start):
    """Another process, which answers one word for each that it is asked."""
    process = start(SERVER)

    def ask(*words):
        process.stdin.write(" ".join(words) + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    assert process.stdout.readline() == "ready\n"
    return ask


@pytest.fixture
def key(kms):
    """A key that both processes know."""
    return kms.create_key("AES_256", alias="k")


def test_a_key_disabled_in_one_process_is_refused_in_the_other(key, ask):
    """At the very next call, in both directions, again and again."""
    sealed = ask("encrypt")
    for _ in range(20):
        key.disable()
        assert ask("encrypt") == "KeyStateError"
        assert ask("decrypt", sealed) == "KeyStateError"
        key.enable()
        assert ask("decrypt", sealed) == "x"
        assert ask("disable") == "done"
        with pytest.raises(KeyStateError):
            key.encrypt(b"x")
        assert ask("enable") == "done"
        assert key.decrypt(bytes.fromhex(sealed)) == b"x"


def test_a_rotation_is_seen_by_the_other_process(kms, key, ask):
    """Which opens what the new version encrypted, and encrypts with it."""
    for version in range(2, 6):
        key.rotate()
        assert ask("decrypt", key.encrypt(b"x").hex()) == "x"
        sealed = bytes.fromhex(ask("encrypt"))
        assert int.from_bytes(sealed[43:47], "big") == version
        assert kms.decrypt(sealed) == b"x"


def test_two_processes_make_the_keystore_at_once(start, connect):
    """One master key is made, and both use it: the keys of each open in the other."""
    program = """
say("ready")
sys.stdin.readline()
kms = connect()
for number in range(20):
    key = kms.create_key("AES_256", alias=f"{sys.argv[2]}-{number}")
    say(key.encrypt(b"x").hex())
"""
    processes = [start(program, name) for name in ("a", "b", "c")]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    sealed = []
    for process in processes:
        said, complaints = process.communicate(timeout=60)
        assert complaints == ""
        sealed += said.split()
    kms = connect()
    assert [kms.decrypt(bytes.fromhex(each)) for each in sealed] == [b"x"] * 60
    assert len(list(kms.keys())) == 60


def test_threads_of_two_processes_make_keys_at_once(start, kms):
    """Four in each: every key that was answered is there, and opens what it encrypted."""
    program = """
kms = connect()
failures, lines = [], []
def work(name):
    try:
        for number in range(8):
            key = kms.create_key("AES_256", alias=f"{sys.argv[2]}-{name}-{number}")
            lines.append(key.encrypt(key.key_id.encode()).hex())
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
say(*lines)
kms.close()
"""
    processes = [start(program, name) for name in ("a", "b")]
    sealed = []
    for process in processes:
        said, complaints = process.communicate(timeout=60)
        assert complaints == ""
        sealed += said.split()
    opened = {kms.decrypt(bytes.fromhex(each)).decode() for each in sealed}
    assert len(opened) == 64
    there = list(kms.keys())
    assert opened == {info.key_id for info in there}


@pytest.mark.parametrize("acknowledged", [1, 3, 10, 40])
def test_a_kill_loses_no_key_that_was_acknowledged(start, connect, acknowledged):
    """SIGKILL amid creations and rotations: what was answered opens, and the rest is whole."""
    program = """
kms = connect()
while True:
    key = kms.create_key("AES_256")
    say(key.encrypt(b"first").hex())
    key.rotate()
    say(key.encrypt(b"second").hex())
"""
    process = start(program)
    sealed = [process.stdout.readline() for _ in range(acknowledged)]
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0]
    sealed += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL

    kms = connect()
    opened = [kms.decrypt(bytes.fromhex(each.strip())) for each in sealed]
    assert opened == [(b"first", b"second")[place % 2] for place in range(len(sealed))]
    for info in list(kms.keys()):
        key = kms.key(info.key_id)
        assert key.decrypt(key.encrypt(b"x")) == b"x"


def test_a_kill_while_the_root_key_changes(start, connect):
    """The keystore opens with the old root key or the new one, and its keys are there."""
    program = """
from kmscore.plugin import Secret
kms = connect()
say(kms.create_key("AES_256").encrypt(b"x").hex())
roots = [b"n" * 32, b"r" * 32]
while True:
    for root in roots:
        kms.provider.rewrap_root(Secret("new", lambda: root), passphrase=False)
        say("done")
"""
    process = start(program)
    sealed = bytes.fromhex(process.stdout.readline())
    for _ in range(25):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    opened = []
    for root in (b"n" * 32, b"r" * 32):
        with suppress(IntegrityError):
            opened.append(connect(root_key=root))
    assert [kms.decrypt(sealed) for kms in opened] == [b"x"]


def test_a_forked_process_goes_on_with_all_keys(run):
    """Parent and child encrypt, sign, create and see each other's changes; keys in memory too."""
    said = run("""
kms = connect()
cipher, pair = kms.create_key("AES_256", alias="k"), kms.create_key("EC_P256")
sealed = cipher.encrypt(b"x")
signature = pair.sign(kmscore.Message(b"m"))
read, write = os.pipe()
child = os.fork()
if not child:
    try:
        assert cipher.decrypt(sealed) == b"x"
        assert pair.verify(kmscore.Message(b"m"), signature)
        os.write(write, cipher.encrypt(b"from the child"))
        kms.create_key("AES_256", alias="child")
        cipher.disable()
        os._exit(0)
    except BaseException as error:
        print(error, file=sys.stderr, flush=True)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
try:
    cipher.encrypt(b"x")
except KeyStateError:
    say("refused")
cipher.enable()
say(cipher.decrypt(os.read(read, 1000)).decode().replace(" ", "-"))
say(kms.key("child").spec)
kms.close()
""")
    assert said == ["refused", "from-the-child", "AES_256"]


def test_forked_processes_draw_different_nonces_and_keys(run):
    """Nothing random was drawn before the fork and used on both sides."""
    said = run("""
kms = connect()
key = kms.create_key("AES_256")
key.encrypt(b"x")
pipes = []
for _ in range(4):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with key.generate_data_key() as data_key:
            os.write(write, key.encrypt(b"x")[47:59] + bytes(data_key.plaintext))
        os._exit(0)
    os.waitpid(child, 0)
    pipes.append(os.read(read, 100))
say(len({each[:12] for each in pipes}), len({each[12:] for each in pipes}))
kms.close()
""")
    assert said == ["4", "4"]


def test_a_file_that_may_not_grow(run):
    """A disk that is full: one clear error, nothing half-made, and keys that go on working."""
    said = run("""
import resource
kms = connect()
key = kms.create_key("AES_256", alias="k")
sealed = key.encrypt(b"x")
limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
size = os.stat(sys.argv[1] + "-wal").st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40_000, most))
made = [key]
try:
    while len(made) < 1000:
        made.append(kms.create_key("AES_256"))
except Unavailable as error:
    say(error.retryable, "room" in error.hint)
say(key.decrypt(sealed).decode(), len(list(kms.keys())) == len(made))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
key.rotate()
say(key.describe().version)
kms.close()
""")
    assert said == ["True", "True", "x", "True", "2"]


def test_a_disk_that_is_full_from_the_start(run):
    """No keystore is made; with room there is one, in the same place, with the same root key."""
    said = run("""
import resource
limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, most))
try:
    connect()
except Unavailable:
    say("full")
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
with connect() as kms:
    say(kms.create_key("AES_256").spec)
""")
    assert said == ["full", "AES_256"]


def test_two_open_keystores_in_one_process(kms, connect, key):
    """Are as good as two processes."""
    other = connect()
    sealed = other.key("k").encrypt(b"x")
    signer = other.create_key("ED25519")
    signature = signer.sign(Message(b"m"))
    assert kms.decrypt(sealed) == b"x"
    assert kms.key(signer.key_id).verify(Message(b"m"), signature)
    other.close()
    assert kms.decrypt(sealed) == b"x"


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_keystore_that_lost_its_name_is_used_no_more(
    connect, kms, key, path, monkeypatch, is_replaced
):
    """Nothing is acknowledged that would be lost, and no key used that others have disabled."""
    monkeypatch.setattr("kmscore.registry.sqlite_connections.LOOK_SECONDS", 0.0)
    key.encrypt(b"x")
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    copy.chmod(0o600)
    if is_replaced:
        copy.replace(path)
        connect().key("k").disable()
    else:
        path.unlink()
    calls = (lambda: kms.create_key("AES_256"), key.rotate, key.describe, lambda: key.encrypt(b"x"))
    for change in calls:
        with pytest.raises(ConfigError, match="was removed or replaced"):
            change()
