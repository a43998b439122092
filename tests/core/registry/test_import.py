"""Bring your own key: import parameters, material, its expiry and its return."""

from contextlib import contextmanager

import pytest

from kmscore.algorithms import KeyState, WrappingAlgorithm
from kmscore.errors import (
    ImportTokenExpired,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    MaterialMismatch,
)
from kmscore.registry import Purpose

HOUR = 3600
DAY = 24 * HOUR


def state_of(registry, key_id):
    """State and version of a key."""
    record = registry.find(key_id)
    return record.state, record.version


WAITS = (KeyState.PENDING_IMPORT, 0)
WORKS = (KeyState.ENABLED, 1)


# --- Parameters ------------------------------------------------------------------------------


def test_import_parameters_are_kept_until_they_come_back(registry, keys, clock):
    """The job that belongs to a token is found by it; of the token only a hash is kept."""
    key_id = keys.external()
    job = keys.ask(key_id, b"a token")
    assert registry.check_import(key_id, b"a token") == job
    assert job.wrapping is WrappingAlgorithm.RSAES_OAEP_SHA_256
    assert job.private_key == b"wrapping key"
    assert job.expires_at == clock.now + DAY
    assert b"a token" not in job


def test_a_wrong_token_is_refused(registry, keys):
    """So is one of another key, and any token before parameters were issued."""
    key_id, second, never = keys.external(), keys.external(), keys.external()
    keys.ask(key_id, b"first")
    keys.ask(second, b"second")
    for refused, token in ((key_id, b"second"), (key_id, b"firs"), (never, b"first")):
        with pytest.raises(ImportTokenExpired, match="Fetch new import parameters") as told:
            registry.check_import(refused, token)
        assert told.value.key == refused
        with pytest.raises(ImportTokenExpired) as told:
            keys.send(refused, token=token)
        assert told.value.key == refused
        assert state_of(registry, refused) == WAITS


def test_newer_parameters_make_older_ones_invalid(registry, keys):
    """Only the latest token is good."""
    key_id = keys.external()
    keys.ask(key_id, b"old")
    keys.ask(key_id, b"new")
    with pytest.raises(ImportTokenExpired):
        keys.send(key_id, token=b"old")
    keys.send(key_id, token=b"new")
    assert state_of(registry, key_id) == WORKS


def test_a_token_is_good_for_24_hours_and_as_often_as_needed(registry, keys, clock):
    """It may be used again within them, and ends with their last second."""
    key_id = keys.external()
    issued = clock.now
    keys.ask(key_id)
    for at in (issued, issued + HOUR, issued + DAY - 1):
        clock.now = at
        keys.send(key_id)
        assert state_of(registry, key_id) == WORKS
        registry.delete_material(key_id)
    clock.now = issued + DAY
    with pytest.raises(ImportTokenExpired):
        registry.check_import(key_id, b"token")
    with pytest.raises(ImportTokenExpired):
        keys.send(key_id)


@pytest.mark.parametrize("token", [b"", "token", None])
def test_what_is_no_token_is_refused(registry, keys, token):
    """An empty token, or something else than bytes."""
    key_id = keys.external()
    with pytest.raises(InvalidRequest, match="token"):
        keys.ask(key_id, token)
    keys.ask(key_id)
    with pytest.raises(InvalidRequest, match="token"):
        registry.check_import(key_id, token)


def test_generated_keys_take_no_material(registry, keys, key_id):
    """Every step is refused, and says what kind of key is needed."""
    for step in (
        lambda: registry.importable(key_id),
        lambda: keys.ask(key_id),
        lambda: registry.check_import(key_id, b"token"),
        lambda: keys.send(key_id),
        lambda: registry.delete_material(key_id),
    ):
        with pytest.raises(InvalidRequest, match="origin EXTERNAL"):
            step()


def test_a_key_takes_material_while_it_waits_or_works(registry, keys):
    """A disabled, archived or dying key does not; the way there is said."""
    key_id = keys.imported()
    assert registry.importable(key_id).state is KeyState.ENABLED
    for change in (registry.disable, registry.archive):
        change(key_id)
        for step in (
            lambda: registry.importable(key_id),
            lambda: keys.ask(key_id),
            lambda: registry.check_import(key_id, b"token"),
            lambda: keys.send(key_id),
        ):
            with pytest.raises(KeyStateError, match="first") as refused:
                step()
            assert refused.value.operation == "import_key_material"
    registry.restore(key_id)
    registry.disable(key_id)
    registry.schedule_deletion(key_id, 7)
    with pytest.raises(KeyStateError, match="Cancel the deletion"):
        keys.send(key_id)


# --- Material --------------------------------------------------------------------------------


def test_material_enables_the_key(registry, keys):
    """The key has version 1, and what the provider sealed."""
    key_id = keys.external()
    keys.ask(key_id)
    record = keys.send(key_id)
    assert record == registry.find(key_id)
    assert state_of(registry, key_id) == WORKS
    assert registry.version(key_id, 1).material == f"sealed {key_id} 1".encode()
    assert registry.usable(key_id, Purpose.ENCRYPT) == record


def test_only_the_same_material_returns(registry, keys):
    """Other material is refused while the key works, after deletion, and for ever."""
    key_id = keys.imported()
    with pytest.raises(MaterialMismatch, match="identical material"):
        keys.send(key_id, fingerprint=b"other")
    registry.delete_material(key_id)
    keys.ask(key_id)
    with pytest.raises(MaterialMismatch):
        keys.send(key_id, fingerprint=b"other")
    assert state_of(registry, key_id) == WAITS
    keys.send(key_id)
    assert state_of(registry, key_id) == WORKS


def test_the_same_material_again_changes_its_expiry_alone(registry, keys, clock):
    """What the key holds is not sealed anew."""
    key_id = keys.imported(valid_to=clock.now + HOUR)
    record = registry.finish_import(key_id, b"token", b"print", clock.now + DAY, keys.fail)
    assert record.valid_to == clock.now + DAY
    assert registry.finish_import(key_id, b"token", b"print", None, keys.fail).valid_to is None


def test_an_empty_fingerprint_is_refused(registry, keys):
    """It would let any other material in later."""
    key_id = keys.external()
    keys.ask(key_id)
    with pytest.raises(InvalidRequest, match="fingerprint"):
        keys.send(key_id, fingerprint=b"")
    assert state_of(registry, key_id) == WAITS


def test_material_that_cannot_be_sealed_is_not_there(registry, keys):
    """The provider's error comes through; the key waits as before."""
    key_id = keys.external()
    keys.ask(key_id)
    with pytest.raises(AssertionError, match="material was made"):
        registry.finish_import(key_id, b"token", b"print", None, keys.fail)
    assert state_of(registry, key_id) == WAITS
    assert registry.find(key_id).fingerprint == b""


@pytest.mark.parametrize("state", ["works", "disabled", "waits"])
def test_deleted_material_leaves_a_key_that_waits(registry, keys, state):
    """The version is gone, and the key waits for the same material."""
    key_id = keys.external() if state == "waits" else keys.imported()
    if state == "disabled":
        registry.disable(key_id)
    registry.delete_material(key_id)
    assert state_of(registry, key_id) == WAITS
    assert not registry.has_version(key_id, 1)
    with pytest.raises(KeyStateError, match="Import its material first"):
        registry.usable(key_id, Purpose.DECRYPT)


def test_material_of_archived_and_dying_keys_is_not_deleted(registry, keys):
    """Their state says what will become of them."""
    key_id = keys.imported()
    registry.disable(key_id)
    registry.schedule_deletion(key_id, 7)
    with pytest.raises(KeyStateError) as refused:
        registry.delete_material(key_id)
    assert refused.value.operation == "delete_key_material"
    registry.cancel_deletion(key_id)
    registry.archive(key_id)
    with pytest.raises(KeyStateError):
        registry.delete_material(key_id)
    assert registry.has_version(key_id, 1)


# --- Expiry ----------------------------------------------------------------------------------


def test_material_ends_at_its_second(registry, keys, clock):
    """Nobody has to sweep: the next use is refused; the same material opens the key again."""
    end = clock.now + HOUR
    key_id = keys.imported(valid_to=end)
    clock.now = end - 0.001
    assert registry.usable(key_id, Purpose.ENCRYPT).valid_to == end
    clock.now = end
    with pytest.raises(KeyStateError) as refused:
        registry.usable(key_id, Purpose.ENCRYPT)
    assert refused.value.state == KeyState.PENDING_IMPORT
    record = registry.find(key_id)
    assert (record.state, record.version, record.valid_to) == (KeyState.PENDING_IMPORT, 0, None)
    with pytest.raises(MaterialMismatch):
        keys.send(key_id, fingerprint=b"other")
    keys.send(key_id)
    assert state_of(registry, key_id) == WORKS


@pytest.mark.parametrize("after", [0, -1, -DAY])
def test_an_expiry_that_is_over_is_refused(registry, keys, clock, after):
    """It must be in the future."""
    key_id = keys.external()
    keys.ask(key_id)
    with pytest.raises(InvalidRequest, match="in the future"):
        keys.send(key_id, valid_to=clock.now + after)
    assert state_of(registry, key_id) == WAITS


def test_the_last_expiry_that_a_calendar_shows(registry, keys):
    """The end of the year 9999 can be given and shown; a second later cannot."""
    key_id = keys.external()
    keys.ask(key_id)
    for beyond in (253402300800, 2**63):
        with pytest.raises(InvalidRequest, match="9999"):
            keys.send(key_id, valid_to=beyond)
    keys.send(key_id, valid_to=253402300799)
    shown = registry.info(registry.find(key_id)).valid_to
    assert shown.isoformat() == "9999-12-31T23:59:59+00:00"


@pytest.mark.parametrize("state", ["disabled", "archived"])
def test_material_ends_in_other_states_too(registry, keys, clock, state):
    """A disabled or archived key waits for material then, and is enabled by it."""
    key_id = keys.imported(valid_to=clock.now + HOUR)
    registry.disable(key_id)
    if state == "archived":
        registry.archive(key_id)
    clock.now += HOUR
    assert state_of(registry, key_id) == WAITS
    with pytest.raises(KeyStateError):
        registry.enable(key_id)
    keys.send(key_id)
    assert state_of(registry, key_id) == WORKS


@pytest.mark.parametrize("swept", [True, False])
def test_a_dying_key_whose_material_ends_stays_dying(registry, keys, clock, swept):
    """Cancelled, it waits for material: it has none that could be enabled."""
    key_id = keys.imported(valid_to=clock.now + HOUR)
    registry.disable(key_id)
    end = registry.schedule_deletion(key_id, 7)
    clock.now += HOUR
    assert state_of(registry, key_id) == (KeyState.PENDING_DELETION, 0)
    if swept:
        registry.sweep()
    assert state_of(registry, key_id) == (KeyState.PENDING_DELETION, 0)
    registry.cancel_deletion(key_id)
    assert state_of(registry, key_id) == WAITS
    clock.now = end
    assert state_of(registry, key_id) == WAITS


def test_the_sweep_destroys_expired_material(registry, keys, clock):
    """At its second, and not before; the key and its fingerprint stay."""
    key_id = keys.imported(valid_to=clock.now + HOUR)
    registry.sweep()
    assert registry.has_version(key_id, 1)
    clock.now += HOUR
    registry.sweep()
    assert not registry.has_version(key_id, 1)
    assert registry.find(key_id).fingerprint == b"print"


def test_the_sweep_removes_import_parameters_that_are_too_old(registry, keys, path, clock):
    """The wrapping key is no more in the store."""
    key_id = keys.external()
    keys.ask(key_id)
    clock.now += DAY - 1
    registry.sweep()
    assert registry.check_import(key_id, b"token").private_key == b"wrapping key"
    clock.now += 1
    registry.sweep()
    with pytest.raises(ImportTokenExpired):
        registry.check_import(key_id, b"token")
    assert not list(registry._store.jobs())


def test_import_parameters_go_with_their_key(registry, keys, clock):
    """A key that is destroyed leaves no wrapping key behind."""
    key_id = keys.imported()
    registry.disable(key_id)
    end = registry.schedule_deletion(key_id, 7)
    clock.now = end - HOUR
    registry.cancel_deletion(key_id)
    registry.enable(key_id)
    keys.ask(key_id)
    registry.disable(key_id)
    clock.now = registry.schedule_deletion(key_id, 7)
    registry.sweep()
    with pytest.raises(KeyNotFound):
        registry.check_import(key_id, b"token")
    assert not list(registry._store.jobs())


# --- Material that lives elsewhere -----------------------------------------------------------


def test_the_provider_is_told_what_to_destroy(registry, keys, clock, destroyed):
    """Deleted material, expired material, and every version of a key at its end."""
    deleted = keys.imported()
    registry.delete_material(deleted)
    assert destroyed == [(deleted, 1)]
    expired = keys.imported(valid_to=clock.now + HOUR)
    clock.now += HOUR
    registry.sweep()
    assert destroyed[1:] == [(expired, 1)]
    gone = keys.create()
    registry.rotate(gone, keys.make)
    registry.disable(gone)
    clock.now = registry.schedule_deletion(gone, 7)
    registry.sweep()
    registry.sweep()
    assert destroyed[2:] == [(gone, 1), (gone, 2)]


def test_the_provider_is_told_of_material_that_was_made_in_vain(registry, keys, other, destroyed):
    """When the version does not get into the store, nobody would find it again."""
    made = []

    def slow(record, number):
        made.append((record.key_id, number))
        if record.alias:
            other.create(keys.new(alias=record.alias), keys.make)
        return keys.make(record, number)

    with pytest.raises(Exception, match="taken"):
        registry.create(keys.new(alias="db"), slow)
    assert destroyed == made
    assert len(made) == 1


def test_an_interruption_destroys_nothing(registry, keys, destroyed, monkeypatch):
    """After Ctrl-C nobody knows whether the version got into the store: here it did."""
    write = registry._store.write

    @contextmanager
    def interrupted():
        with write() as writer:
            yield writer
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry._store, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            keys.create(alias="db")
    assert destroyed == []
    assert registry.usable(registry.find("db").key_id, Purpose.ENCRYPT).version == 1


def test_what_cannot_be_destroyed_stays(registry, keys):
    """The provider's error comes through, and the key still has its material."""
    key_id = keys.imported()

    def refuse(record, versions):
        raise OSError("the token is not there")

    registry._destroy = refuse
    with pytest.raises(OSError, match="token"):
        registry.delete_material(key_id)
    assert registry.usable(key_id, Purpose.ENCRYPT).version == 1
