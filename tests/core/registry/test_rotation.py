"""Rotation: new versions, by hand and when they are due."""

import pytest

from kmscore.algorithms import KeySpec, KeyUsage
from kmscore.errors import InvalidRequest, KeyStateError, Unsupported

DAY = 86400


def test_rotation_adds_a_version_and_keeps_the_old_ones(registry, keys, clock, key_id):
    """The new version encrypts; all of them can be read."""
    clock.now += 60
    record = registry.rotate(key_id, keys.make)
    assert record == registry.find(key_id)
    assert (record.version, record.rotated_at) == (2, clock.now)
    assert registry.rotate(key_id, keys.make).version == 3
    for number in (1, 2, 3):
        material = registry.version(key_id, number).material
        assert material == f"sealed {key_id} {number}".encode()
    assert registry.version(key_id, 2).created_at == clock.now


def test_a_rotation_that_fails_changes_nothing(registry, keys, key_id):
    """The provider's error comes through; the key stays as it was."""
    before = registry.find(key_id)
    with pytest.raises(AssertionError, match="material was made"):
        registry.rotate(key_id, keys.fail)
    assert registry.find(key_id) == before
    assert not registry.has_version(key_id, 2)


def test_key_pairs_and_external_keys_do_not_rotate(registry, keys):
    """Neither by hand nor by plan; the hint says what to do instead."""
    pair = keys.create(spec=KeySpec.EC_P256, usage=KeyUsage.SIGN_VERIFY)
    for key_id in (pair, keys.imported(), keys.external()):
        with pytest.raises(Unsupported, match="move the alias"):
            registry.rotate(key_id, keys.fail)
        with pytest.raises(Unsupported, match="move the alias"):
            registry.set_rotation(key_id, 30)


def test_a_refusal_says_which_operation_it_is_of(registry, keys, key_id):
    """By hand and by plan are told apart."""
    registry.disable(key_id)
    with pytest.raises(KeyStateError) as refused:
        registry.rotate(key_id, keys.fail)
    assert refused.value.operation == "rotate_key"
    with pytest.raises(KeyStateError) as refused:
        registry.set_rotation(key_id, 30)
    assert refused.value.operation == "set_rotation"


@pytest.mark.parametrize("days", [7, 365])
def test_automatic_rotation_is_due_after_its_period(registry, keys, clock, key_id, days):
    """Due at the second, counted from when it was set, and again from when it was rotated."""
    registry.set_rotation(key_id, days)
    record = registry.find(key_id)
    assert (record.rotation_days, record.next_rotation_at) == (days, clock.now + days * DAY)
    clock.now = record.next_rotation_at - 1
    assert not registry.rotation_due(record)
    clock.now += 1
    assert registry.rotation_due(record)
    rotated = registry.rotate(key_id, keys.make, only_if_due=True)
    assert rotated.version == 2
    assert rotated.next_rotation_at == clock.now + days * DAY
    assert not registry.rotation_due(rotated)


def test_only_one_of_two_processes_rotates_a_key_that_is_due(registry, other, keys, clock, key_id):
    """Who comes second leaves the new version alone, and gets to know it."""
    registry.set_rotation(key_id, 7)
    clock.now += 7 * DAY
    registry.rotate(key_id, keys.make, only_if_due=True)
    assert other.rotate(key_id, keys.fail, only_if_due=True).version == 2


def test_automatic_rotation_ends(registry, clock, key_id):
    """None takes the plan away."""
    registry.set_rotation(key_id, 7)
    registry.set_rotation(key_id, None)
    record = registry.find(key_id)
    assert (record.rotation_days, record.next_rotation_at) == (None, None)
    clock.now += 400 * DAY
    assert not registry.rotation_due(record)


@pytest.mark.parametrize("days", [6, 366, 0, 30.0, "30", True])
def test_periods_that_are_refused(registry, key_id, days):
    """7 to 365 whole days."""
    with pytest.raises(InvalidRequest, match=r"the rotation period is .* 7 to 365"):
        registry.set_rotation(key_id, days)
    assert registry.find(key_id).rotation_days is None
