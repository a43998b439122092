"""The cache of data keys: its bounds, and that it forgets."""

import os
import threading
from typing import Any

import pytest

from kmscore import connect, envelope
from kmscore.envelope import DataKeyCache
from kmscore.envelope.whole import message_header
from kmscore.errors import (
    CiphertextInvalid,
    ConfigError,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KmsError,
    Unavailable,
)


class Counting:
    """Counts the calls that reach a key's provider."""

    def __init__(self, key, monkeypatch):
        self.made = self.opened = 0
        make, opened = type(key).generate_data_key, type(key).decrypt

        def count_made(this, *arguments, **named):
            self.made += 1
            return make(this, *arguments, **named)

        def count_opened(this, *arguments, **named):
            self.opened += 1
            return opened(this, *arguments, **named)

        monkeypatch.setattr(type(key), "generate_data_key", count_made)
        monkeypatch.setattr(type(key), "decrypt", count_opened)


@pytest.fixture
def calls(key, monkeypatch):
    """How often the provider was asked."""
    return Counting(key, monkeypatch)


@pytest.fixture
def now():
    """A clock that stands still."""
    return [0.0]


def test_many_messages_cost_one_call(key, calls):
    """And every one is different, and has its own message key."""
    cache = DataKeyCache()
    messages = [envelope.encrypt(b"x", key, cache=cache) for _ in range(10)]
    assert calls.made == 1
    assert len({envelope.inspect(message)["message_id"] for message in messages}) == 10
    assert {envelope.decrypt(message, key, cache=cache) for message in messages} == {b"x"}
    assert calls.opened == 1


def test_rewrapping_remembers_what_opens_and_never_what_it_writes(tmp_path, key, other, calls):
    """Every new message has a data key of its own, so that who is dropped has nothing to go on."""
    cache = DataKeyCache()
    path = tmp_path / "message"
    path.write_bytes(envelope.encrypt(b"x", key, cache=cache))
    out = [envelope.rewrap(path.read_bytes(), [key], [other], cache=cache) for _ in range(2)]
    for name in ("one", "two"):
        envelope.rewrap_file(path, tmp_path / name, [key], [other], cache=cache)
        out.append((tmp_path / name).read_bytes())
        with path.open("rb") as old, (tmp_path / f"{name}.stream").open("wb") as new:
            envelope.rewrap_stream(old, new, [key], [other], cache=cache)
        out.append((tmp_path / f"{name}.stream").read_bytes())
    assert (calls.made, calls.opened) == (7, 1)
    assert len({message_header(each).recipients for each in out}) == len(out)
    assert {envelope.decrypt(each, other) for each in out} == {b"x"}


def test_contexts_suites_and_recipients_are_kept_apart(cloud, key, calls):
    """A data key serves one kind of message only."""
    cache = DataKeyCache()
    second = cloud.create_key("AES_256")
    for _ in range(2):
        envelope.encrypt(b"x", key, cache=cache)
        envelope.encrypt(b"x", key, cache=cache, context={"a": "b"})
        envelope.encrypt(b"x", key, cache=cache, suite="SM4_GCM")
        envelope.encrypt(b"x", second, cache=cache)
    assert calls.made == 4


@pytest.mark.parametrize(
    ("bounds", "sizes", "made"),
    [
        ({"max_messages": 2}, [1, 1, 1, 1, 1], 3),
        ({"max_bytes": 10}, [6, 4], 1),
        ({"max_bytes": 10}, [10, 0], 1),
        ({"max_bytes": 10}, [6, 4, 1], 2),
        ({"max_bytes": 10}, [6, 5], 2),
        ({"max_bytes": 10}, [11, 11], 2),
    ],
)
def test_a_data_key_wears_out(key, calls, bounds, sizes, made):
    """By messages, or by bytes."""
    cache = DataKeyCache(**bounds)
    for size in sizes:
        envelope.encrypt(bytes(size), key, cache=cache)
    assert calls.made == made


def test_a_data_key_grows_old(key, calls, now):
    """For writing and for reading."""
    cache = DataKeyCache(max_age=60, monotonic=lambda: now[0])
    message = envelope.encrypt(b"x", key, cache=cache)
    envelope.decrypt(message, key, cache=cache)
    now[0] = 59.9
    envelope.encrypt(b"x", key, cache=cache)
    envelope.decrypt(message, key, cache=cache)
    assert (calls.made, calls.opened) == (1, 1)
    now[0] = 60.0
    envelope.encrypt(b"x", key, cache=cache)
    envelope.decrypt(message, key, cache=cache)
    assert (calls.made, calls.opened) == (2, 2)


def test_a_data_key_serves_for_five_minutes_unless_said_otherwise(key, calls, now):
    """So long can a key be used that the provider has disabled."""
    cache = DataKeyCache(monotonic=lambda: now[0])
    for at, made in ((0.0, 1), (299.9, 1), (300.0, 2)):
        now[0] = at
        envelope.encrypt(b"x", key, cache=cache)
        assert calls.made == made


@pytest.mark.parametrize("max_bytes", [1, 100])
def test_the_context_is_bound_with_a_cache_as_without(key, max_bytes):
    """To data keys that are remembered, and to those that are made for one large message."""
    cache = DataKeyCache(max_bytes=max_bytes)
    message = envelope.encrypt(b"12", key, cache=cache, context={"a": "1"})
    sealed = message_header(message).recipients[0].ciphertext
    assert len(key.decrypt(sealed, context={"a": "1"})) == 32
    for context in (None, {"a": "2"}):
        with pytest.raises(CiphertextInvalid):
            key.decrypt(sealed, context=context)
    reading = DataKeyCache()
    for opener in (cache, reading, reading):
        assert envelope.decrypt(message, key, cache=opener, context={"a": "1"}) == b"12"
        with pytest.raises(CiphertextInvalid):
            envelope.decrypt(message, key, cache=opener, context={"a": "2"})


def test_a_key_that_is_looked_up_anew_is_the_same_opener(cloud, key, calls):
    """Who asks for the key before each message pays for one call all the same."""
    cache = DataKeyCache()
    message = envelope.encrypt(b"x", key)
    for _ in range(3):
        assert envelope.decrypt(message, cloud.key(key.key_id), cache=cache) == b"x"
    assert calls.opened == 1


def test_threads_wait_for_one_fetch(key, calls):
    """Eight at once ask the provider once."""
    cache = DataKeyCache()
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        envelope.encrypt(b"x", key, cache=cache)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls.made == 1


def test_threads_wait_for_one_fetch_of_many_at_once(key, calls):
    """A worn data key is followed by one fetch, too."""
    cache = DataKeyCache(max_messages=10)
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        for _ in range(50):
            envelope.encrypt(b"x", key, cache=cache)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls.made == 40


def test_waiting_threads_try_again_when_a_fetch_fails(key, monkeypatch):
    """One failure is the failure of one."""
    cache = DataKeyCache()
    make, failed = type(key).generate_data_key, threading.Event()
    barrier = threading.Barrier(4)
    results: list[object] = []

    def first_fails(this, *arguments, **named):
        if not failed.is_set():
            failed.set()
            raise KeyStateError("not now", state="DISABLED")
        return make(this, *arguments, **named)

    def work():
        barrier.wait()
        try:
            results.append(envelope.encrypt(b"x", key, cache=cache))
        except KeyStateError as error:
            results.append(error)

    monkeypatch.setattr(type(key), "generate_data_key", first_fails)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(result).__name__ for result in results) == ["KeyStateError", *["bytes"] * 3]


def test_threads_that_wait_for_a_provider_out_of_reach_fail_together(key, monkeypatch):
    """Each would wait as long as the first one otherwise, one after the other."""
    cache = DataKeyCache()
    failures: list[Unavailable] = []
    asked = []

    def out_of_reach(this, *arguments, **named):
        asked.append(this)
        (fetch,) = cache._fetches.values()
        done: Any = fetch.done
        while len(asked) == 1 and len(done._cond._waiters) < 7:
            os.sched_yield()
        raise Unavailable("no answer")

    def work():
        with pytest.raises(Unavailable, match="no answer") as caught:
            envelope.encrypt(b"x", key, cache=cache)
        failures.append(caught.value)

    with monkeypatch.context() as patch:
        patch.setattr(type(key), "generate_data_key", out_of_reach)
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(asked), len(failures), len(set(map(id, failures)))) == (1, 8, 8)
    assert envelope.decrypt(envelope.encrypt(b"x", key, cache=cache), key) == b"x"


def test_a_data_key_on_its_way_is_not_remembered_after_clearing(key, monkeypatch):
    """Whoever asked for it uses it, and that is all."""
    real, asked, go_on = type(key).generate_data_key, threading.Event(), threading.Event()

    def slow(this, *arguments, **named):
        asked.set()
        assert go_on.wait(30)
        return real(this, *arguments, **named)

    monkeypatch.setattr(type(key), "generate_data_key", slow)
    messages: list[bytes] = []
    with DataKeyCache() as cache:
        cache.clear()  # not the first time
        thread = threading.Thread(
            target=lambda: messages.append(envelope.encrypt(b"x", key, cache=cache))
        )
        thread.start()
        assert asked.wait(30)
    go_on.set()
    thread.join()
    assert len(cache) == 0
    assert envelope.decrypt(messages[0], key) == b"x"


def test_messages_of_unknown_size_have_data_keys_of_their_own(key, calls):
    """Their bytes could not be counted beforehand; a size that is said is."""
    cache = DataKeyCache(max_bytes=100)
    for _ in range(2):
        envelope.EnvelopeEncryptor(key, cache=cache)
    assert (calls.made, len(cache)) == (2, 0)
    for size in (60, 40, 1):
        envelope.EnvelopeEncryptor(key, size=size, cache=cache)
    assert (calls.made, len(cache)) == (4, 1)


def test_reading_wears_nothing_out(key, calls):
    """Whoever sends messages has no say in how often the provider is asked."""
    cache = DataKeyCache(max_messages=1, max_bytes=10)
    message = envelope.encrypt(bytes(100), key)
    for _ in range(3):
        envelope.decrypt(message, key, cache=cache)
    assert calls.opened == 1


def test_the_openers_of_a_data_key_are_part_of_its_place(cloud, hsm, key, other, calls):
    """Who may not open a message gets no data key that somebody else opened."""
    cache = DataKeyCache()
    message = envelope.encrypt(b"x", key)
    assert envelope.decrypt(message, cloud, cache=cache) == b"x"
    with pytest.raises(KeyNotFound):
        envelope.decrypt(message, hsm, cache=cache)
    with pytest.raises(KeyNotFound):
        envelope.decrypt(message, other, cache=cache)
    assert envelope.decrypt(message, key, cache=cache) == b"x"
    assert calls.opened == 2


def test_a_provider_opened_by_somebody_else_has_data_keys_of_its_own(tmp_path):
    """It may have the same name and the same key, and yet not the right to use it."""
    config = {
        "providers": {
            "shared": {
                "type": "software",
                "path": str(tmp_path / "s"),
                "root_key": lambda: b"r" * 32,
            }
        }
    }
    cache = DataKeyCache()
    with connect("shared", config=config) as mine, connect("shared", config=config) as theirs:
        key = mine.create_key("AES_256", alias="key")
        message = envelope.encrypt(b"x", key, cache=cache)
        envelope.decrypt(message, key, cache=cache)
        theirs_key = theirs.key("key")
        theirs.close()  # whatever they ask for now is refused
        with pytest.raises(KmsError):
            envelope.decrypt(message, theirs_key, cache=cache)
        with pytest.raises(KmsError):
            envelope.encrypt(b"x", theirs_key, cache=cache)


def test_old_data_keys_are_overwritten_when_another_is_fetched(key, now):
    """They do not wait until somebody asks for them."""
    cache = DataKeyCache(max_age=60, monotonic=lambda: now[0])
    envelope.encrypt(b"x", key, cache=cache)
    old = _remembered(cache)
    now[0] = 60.0
    envelope.encrypt(b"x", key, cache=cache, context={"a": "b"})
    assert not any(old)
    assert len(cache) == 1


def test_leaving_a_cache_overwrites_its_data_keys(key):
    """As a context manager."""
    with DataKeyCache() as cache:
        envelope.encrypt(b"x", key, cache=cache)
        data_key = _remembered(cache)
        assert any(data_key)
    assert not any(data_key)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # from Python 3.12 on
def test_a_fork_starts_with_an_empty_cache(key):
    """The child neither counts on with its parent's data key nor waits for its parent's threads."""
    cache = DataKeyCache()
    envelope.encrypt(b"x", key, cache=cache)
    held = threading.Event()
    done = threading.Event()

    def hold():
        with cache._lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:
        # Reached with the lock held by a thread that is not here.
        os._exit(len(cache) or (0 if cache._lock.acquire(timeout=5) else 1))
    done.set()
    thread.join()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(cache) == 1


def test_failures_are_not_remembered(cloud):
    """The next message asks again."""
    cache = DataKeyCache()
    key = cloud.create_key("AES_256")
    key.disable()
    with pytest.raises(KeyStateError):
        envelope.encrypt(b"x", key, cache=cache)
    key.enable()
    assert envelope.decrypt(envelope.encrypt(b"x", key, cache=cache), key) == b"x"


def test_evicted_and_cleared_data_keys_are_wiped(key):
    """What is forgotten is overwritten first."""
    cache = DataKeyCache(capacity=1)
    envelope.encrypt(b"x", key, cache=cache)
    first = _remembered(cache)
    assert any(first)
    envelope.encrypt(b"x", key, cache=cache, context={"a": "b"})
    assert not any(first)
    second = _remembered(cache)
    assert len(cache) == 1
    cache.clear()
    assert not any(second)
    assert repr(cache) == "<DataKeyCache with 0 data keys>"


def test_a_data_key_that_no_header_can_name_is_wiped_and_not_remembered(key, monkeypatch):
    """Its context is refused when the header is written, and would be the next time."""
    made = []
    generate = type(key).generate_data_key

    def noted(*arguments, **named):
        made.append(generate(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(type(key), "generate_data_key", noted)
    cache = DataKeyCache()
    with pytest.raises(InvalidRequest, match="reserved"):
        envelope.encrypt(b"x", key, context={"aws-crypto-a": "b"}, cache=cache)
    assert len(cache) == 0
    assert [bytes(each.plaintext) for each in made] == [bytes(32)]


def _remembered(cache):
    (entry,) = cache._entries.values()
    return entry.materials.data_key


@pytest.mark.parametrize(
    "bounds",
    [
        {"max_age": 0},
        {"max_age": float("nan")},
        {"max_age": float("inf")},
        {"capacity": 0},
        {"max_messages": 0},
        {"max_messages": 1 << 21},
        {"max_bytes": 0},
    ],
)
def test_senseless_bounds_are_refused(bounds):
    """A bound of zero is a mistake."""
    with pytest.raises(ConfigError):
        DataKeyCache(**bounds)


def test_the_smallest_bounds_are_bounds(key, calls):
    """One message of one byte, for less than a second."""
    cache = DataKeyCache(max_age=0.5, max_messages=1, max_bytes=1, capacity=1)
    for _ in range(2):
        envelope.encrypt(b"x", key, cache=cache)
    assert (calls.made, len(cache)) == (2, 1)
