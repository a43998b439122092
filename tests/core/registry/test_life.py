"""The life of a key: what each state allows, and what the waiting time before deletion does."""

import pytest

from kmscore.algorithms import KeySpec, KeyState, KeyUsage, Origin
from kmscore.errors import (
    AlreadyExists,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    LimitExceeded,
    Unsupported,
)
from kmscore.registry import Purpose

DAY = 86400

CHANGES = {
    "enable": lambda keys, key_id: keys.registry.enable(key_id),
    "disable": lambda keys, key_id: keys.registry.disable(key_id),
    "archive": lambda keys, key_id: keys.registry.archive(key_id),
    "restore": lambda keys, key_id: keys.registry.restore(key_id),
    "schedule": lambda keys, key_id: keys.registry.schedule_deletion(key_id, 7),
    "cancel": lambda keys, key_id: keys.registry.cancel_deletion(key_id),
    "rename": lambda keys, key_id: keys.registry.set_alias(key_id, "name"),
    "describe": lambda keys, key_id: keys.registry.set_description(key_id, "text"),
    "rotate": lambda keys, key_id: keys.registry.rotate(key_id, keys.make),
    "set rotation": lambda keys, key_id: keys.registry.set_rotation(key_id, 30),
}

OPERATIONS = {
    "enable": "enable_key",
    "disable": "disable_key",
    "archive": "archive_key",
    "restore": "restore_key",
    "schedule": "schedule_key_deletion",
    "cancel": "cancel_key_deletion",
    "rename": "set_alias",
    "describe": "set_description",
    "rotate": "rotate_key",
    "set rotation": "set_rotation",
}

E, D, A, P = KeyState.ENABLED, KeyState.DISABLED, KeyState.ARCHIVED, KeyState.PENDING_DELETION
ALLOWED = {
    "enable": {E: E, D: E},
    "disable": {E: D, D: D},
    "archive": {E: A, D: A},
    "restore": {A: E},
    "schedule": {D: P},
    "cancel": {P: D},
    "rename": {E: E, D: D, A: A},
    "describe": {E: E, D: D, A: A},
    "rotate": {E: E},
    "set rotation": {E: E},
}


@pytest.fixture
def key_in(registry, keys):
    """Makes a key in a state."""

    def key_in(state):
        key_id = keys.create()
        if state is not E:
            registry.disable(key_id)
        if state is A:
            registry.archive(key_id)
        elif state is P:
            registry.schedule_deletion(key_id, 7)
        assert registry.find(key_id).state is state
        return key_id

    return key_in


@pytest.mark.parametrize("state", [E, D, A, P])
@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_allowed_in_its_states_only(registry, keys, key_in, change, state):
    """Every change in every state: it leads where it should, or is refused and changes nothing."""
    key_id = key_in(state)
    goal = ALLOWED[change].get(state)
    if goal is not None:
        CHANGES[change](keys, key_id)
        assert registry.find(key_id).state is goal
        return
    before = registry.find(key_id)
    with pytest.raises(KeyStateError) as refused:
        CHANGES[change](keys, key_id)
    assert refused.value.state == state
    assert refused.value.key == key_id
    assert refused.value.operation == OPERATIONS[change]
    assert registry.find(key_id) == before


@pytest.mark.parametrize("key_id", ["00000000-0000-4000-8000-000000000000", "db", "\ud800"])
@pytest.mark.parametrize("change", CHANGES)
def test_no_change_without_a_key(keys, change, key_id):
    """An unknown key id is KeyNotFound for every change, and so is what cannot be one."""
    with pytest.raises(KeyNotFound, match="keys list") as refused:
        CHANGES[change](keys, key_id)
    assert refused.value.key == key_id


@pytest.mark.parametrize("state", [E, D, A, P])
@pytest.mark.parametrize("purpose", Purpose)
def test_use_needs_an_enabled_key_or_to_decrypt_an_archived_one(registry, key_in, purpose, state):
    """Every purpose in every state."""
    key_id = key_in(state)
    if state is E or (state is A and purpose is Purpose.DECRYPT):
        assert registry.usable(key_id, purpose).key_id == key_id
        return
    with pytest.raises(KeyStateError) as refused:
        registry.usable(key_id, purpose)
    assert refused.value.state == state
    assert refused.value.operation == purpose.verb


def test_a_waiting_key_is_neither_used_nor_switched(registry, keys):
    """Before its material arrives, an external key can only get it, or another name."""
    key_id = keys.external()
    for purpose in Purpose:
        with pytest.raises(KeyStateError, match="PENDING_IMPORT"):
            registry.usable(key_id, purpose)
    for change in ("enable", "disable", "archive", "restore", "schedule", "cancel"):
        with pytest.raises(KeyStateError, match="PENDING_IMPORT"):
            CHANGES[change](keys, key_id)
    registry.set_alias(key_id, "waiting")
    assert registry.find("waiting").state is KeyState.PENDING_IMPORT


@pytest.mark.parametrize(
    ("state", "change", "advice"),
    [
        (E, "schedule", "Disable it first"),
        (D, "rotate", "Enable it first"),
        (P, "disable", "Cancel the deletion first"),
        (P, "rotate", "Cancel the deletion first, and enable it"),
        (A, "disable", "Restore it from the archive first"),
        (A, "schedule", "Restore it from the archive first, and disable it"),
        (E, "cancel", ""),
        (D, "restore", ""),
    ],
)
def test_a_refusal_says_how_to_get_there(keys, key_in, state, change, advice):
    """The hint leads to a state that allows the change, or is not given."""
    with pytest.raises(KeyStateError) as refused:
        CHANGES[change](keys, key_in(state))
    assert refused.value.hint == advice


def test_a_refusal_says_the_state_and_those_that_are_needed(registry, key_id):
    """In the order in which a key lives."""
    registry.archive(key_id)
    needed = "the key is ARCHIVED, and ENABLED or DISABLED is needed"
    with pytest.raises(KeyStateError, match=needed):
        registry.disable(key_id)


# --- Birth -----------------------------------------------------------------------------------


def test_a_generated_key_is_born_enabled_with_its_first_version(registry, keys, clock):
    """State, version, times and material are there at once."""
    record = registry.create(keys.new(alias="db", description="the database's"), keys.make)
    assert record == registry.find("db")
    assert (record.state, record.version, record.created_at) == (E, 1, clock.now)
    assert record.description == "the database's"
    version = registry.version(record.key_id, 1)
    assert version.material == f"sealed {record.key_id} 1".encode()
    assert (version.public_key, version.created_at) == (b"public", clock.now)


def test_key_ids_are_random_uuids(keys):
    """Nobody can guess one from another (RFC 9562, version 4)."""
    ids = {keys.create() for _ in range(50)}
    assert len(ids) == 50
    assert {(key_id[14], key_id[19] in "89ab") for key_id in ids} == {("4", True)}


def test_an_external_key_is_born_without_material(registry, keys):
    """It waits for its import; nothing is made for it."""
    record = registry.find(keys.external())
    assert (record.state, record.version) == (KeyState.PENDING_IMPORT, 0)
    assert not registry.has_version(record.key_id, 1)


def test_key_pairs_cannot_be_imported(registry, keys):
    """An external key is symmetric."""
    new = keys.new(spec=KeySpec.RSA_2048, usage=KeyUsage.SIGN_VERIFY, origin=Origin.EXTERNAL)
    with pytest.raises(Unsupported, match="RSA_2048"):
        registry.create(new, keys.fail)
    assert registry.count() == 0


def test_a_key_whose_material_cannot_be_made_is_not_there(registry, keys):
    """The provider's error comes through, and nothing was written."""
    with pytest.raises(AssertionError, match="material was made"):
        registry.create(keys.new(alias="db"), keys.fail)
    assert registry.count() == 0


# --- Names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ["a", "7", "A-b_9", "x" * 60])
def test_good_aliases(registry, keys, alias):
    """1 to 60 letters, digits, - and _."""
    record = registry.create(keys.new(alias=alias), keys.make)
    assert registry.find(alias) == record


@pytest.mark.parametrize(
    "alias",
    [
        *(
            "",
            "-a",
            "_a",
            "a b",
            "a.b",
            "a/b",
            "schlüssel",
            "٣",
            "a\n",
            "a\x00",
            "\ud800",
            "x" * 61,
        ),
        *("6f1ed002-ab57-4e07-9cbd-2c8e24c9e3ef", "6F1ED002-AB57-4E07-9CBD-2C8E24C9E3EF"),
        *(None, 7),
    ],
)
def test_bad_aliases(registry, keys, key_id, alias):
    """Anything else, and what looks like a key id, is refused."""
    with pytest.raises(InvalidRequest):
        registry.set_alias(key_id, alias)
    if alias is not None:
        with pytest.raises(InvalidRequest):
            registry.create(keys.new(alias=alias), keys.fail)
    assert registry.find(key_id).alias is None


def test_an_alias_names_one_key(registry, keys, key_id):
    """A taken one is refused, before the provider makes material for the key."""
    registry.set_alias(key_id, "db")
    registry.set_alias(key_id, "db")
    second = keys.create()
    with pytest.raises(AlreadyExists, match="'db'"):
        registry.set_alias(second, "db")
    with pytest.raises(AlreadyExists, match="'db'"):
        registry.create(keys.new(alias="db"), keys.fail)
    assert registry.find("db").key_id == key_id
    registry.set_alias(key_id, "other")
    registry.set_alias(second, "db")
    assert registry.find("db").key_id == second


def test_an_alias_taken_in_the_meantime_is_refused_too(registry, keys, other):
    """Another process takes it while the material is made."""

    def slow(record, number):
        other.create(keys.new(alias="db"), keys.make)
        return keys.make(record, number)

    with pytest.raises(AlreadyExists, match="'db'"):
        registry.create(keys.new(alias="db"), slow)
    assert registry.count() == 1


def test_descriptions(registry, key_id):
    """Printable text of up to 1024 bytes in UTF-8."""
    registry.set_description(key_id, "x" * 1024)
    registry.set_description(key_id, "钥" * 341)
    assert registry.find(key_id).description == "钥" * 341
    with pytest.raises(LimitExceeded, match="1026 bytes"):
        registry.set_description(key_id, "钥" * 342)
    for bad in ("a\nb", "\x1b[2J", "\ud800", None):
        with pytest.raises(InvalidRequest):
            registry.set_description(key_id, bad)
    assert registry.find(key_id).description == "钥" * 341


# --- Deletion --------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [7, 30])
def test_a_scheduled_key_is_gone_at_its_second(registry, clock, key_id, days):
    """Until then it can be cancelled; from then on nobody finds it, swept or not."""
    noon = clock.now
    registry.disable(key_id)
    at = registry.schedule_deletion(key_id, days)
    assert at == noon + days * DAY
    assert registry.find(key_id).deletion_at == at
    with pytest.raises(KeyStateError):
        registry.usable(key_id, Purpose.DECRYPT)

    clock.now = at - 0.001
    registry.cancel_deletion(key_id)
    record = registry.find(key_id)
    assert (record.state, record.deletion_at) == (D, None)

    clock.now = noon
    registry.schedule_deletion(key_id, days)
    clock.now = at
    for use in (
        lambda: registry.find(key_id),
        lambda: registry.usable(key_id, Purpose.DECRYPT),
        lambda: registry.cancel_deletion(key_id),
    ):
        with pytest.raises(KeyNotFound):
            use()
    assert registry.page(10, None).keys == ()


@pytest.mark.parametrize("days", [6, 31, 0, -7, 7.0, "7", True, None])
def test_waiting_times_that_are_refused(registry, key_id, days):
    """7 to 30 whole days."""
    registry.disable(key_id)
    with pytest.raises(InvalidRequest, match=r"the waiting time is .* 7 to 30"):
        registry.schedule_deletion(key_id, days)
    assert registry.find(key_id).state is D


def test_the_sweep_destroys_what_is_gone(registry, keys, clock, key_id):
    """Key and versions are removed at the second, and not before."""
    registry.rotate(key_id, keys.make)
    registry.disable(key_id)
    clock.now = registry.schedule_deletion(key_id, 7) - 1
    registry.sweep()
    assert registry.count() == 1
    clock.now += 1
    registry.sweep()
    assert registry.count() == 0
    assert not registry.has_version(key_id, 1)


def test_the_name_of_a_key_is_free_when_the_key_is_gone(registry, keys, clock):
    """Nobody has to sweep first."""
    key_id = keys.create(alias="db")
    registry.disable(key_id)
    clock.now = registry.schedule_deletion(key_id, 7)
    with pytest.raises(KeyNotFound):
        registry.find("db")
    assert keys.create(alias="db") != key_id
