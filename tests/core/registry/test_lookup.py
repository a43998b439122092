"""Finding keys: by id and alias, page by page, and again and again without asking the file."""

from datetime import UTC, datetime

import pytest

from kmscore.algorithms import KeyState, KeyUsage, Origin
from kmscore.errors import IntegrityError, InvalidRequest, KeyNotFound, KeyStateError
from kmscore.registry import Purpose, lookup

HOUR = 3600
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def reads(registry, monkeypatch):
    """A list that grows by every row of a key that is read from the store."""
    seen: list[tuple[object, ...]] = []

    def noting(read):
        def noted(*place):
            seen.append(place)
            return read(*place)

        return noted

    for name in ("key", "version"):
        monkeypatch.setattr(registry._store, name, noting(getattr(registry._store, name)))
    return seen


# --- By name ---------------------------------------------------------------------------------


def test_a_key_is_found_by_id_and_by_alias(registry, keys):
    """An id in upper case is the same id."""
    key_id = keys.create(alias="db")
    assert registry.find(key_id).key_id == key_id
    assert registry.find(key_id.upper()).key_id == key_id
    assert registry.find("db").key_id == key_id


@pytest.mark.parametrize("ref", ["", "DB", "d", "db ", UNKNOWN, "x" * 1000, "' OR 1=1 --"])
def test_what_is_no_key_is_not_found(registry, keys, ref):
    """Names are exact; the hint says how to see what there is."""
    keys.create(alias="db")
    with pytest.raises(KeyNotFound, match="kmscore keys list"):
        registry.find(ref)
    with pytest.raises(KeyNotFound):
        registry.usable(ref, Purpose.ENCRYPT)


@pytest.mark.parametrize("ref", [None, 7, b"db", "a\x00", "\ud800"])
def test_what_is_no_name_is_refused(registry, ref):
    """Something else than printable text never reaches the database."""
    with pytest.raises(InvalidRequest):
        registry.find(ref)


def test_a_key_is_used_by_its_id_alone(registry, keys):
    """Aliases can move: `usable` takes ids."""
    keys.create(alias="db")
    with pytest.raises(KeyNotFound):
        registry.usable("db", Purpose.ENCRYPT)


def test_what_users_see(registry, keys, clock):
    """The record's facts, with aware times in UTC."""
    key_id = keys.create(alias="db", description="the database's")
    registry.set_rotation(key_id, 30)
    clock.now += HOUR
    registry.rotate(key_id, keys.make)
    info = registry.info(registry.find(key_id))
    born = datetime.fromtimestamp(clock.now - HOUR, UTC)
    assert (info.key_id, info.alias, info.description) == (key_id, "db", "the database's")
    assert (info.usage, info.origin) == (KeyUsage.ENCRYPT_DECRYPT, Origin.GENERATED)
    assert (info.state, info.version, info.rotation_days) == (KeyState.ENABLED, 2, 30)
    assert info.created_at == born
    assert info.created_at.tzinfo is UTC
    assert info.rotated_at == datetime.fromtimestamp(clock.now, UTC)
    assert info.next_rotation_at == datetime.fromtimestamp(clock.now + 30 * 24 * HOUR, UTC)
    assert (info.deletion_at, info.valid_to) == (None, None)


def test_nothing_secret_is_shown(registry, keys):
    """Neither sealed material nor fingerprints, tokens and wrapping keys are in a repr."""
    key_id = keys.external()
    job = keys.ask(key_id)
    record = keys.send(key_id)
    version = registry.version(key_id, 1)
    shown = repr([job, record, version, keys.make(record, 1)])
    for secret in ("sealed ", "print'", "wrapping key", "token'"):
        assert secret not in shown


# --- Page by page ----------------------------------------------------------------------------


def listing(registry, limit):
    """All pages, as lists of key ids."""
    pages, cursor = [], None
    while True:
        page = registry.page(limit, cursor)
        pages.append([info.key_id for info in page.keys])
        cursor = page.cursor
        if cursor is None:
            return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 100])
def test_pages_hold_every_key_once_in_the_order_of_creation(registry, keys, limit):
    """Whatever their size; the last one has no cursor."""
    made = [keys.create() for _ in range(6)]
    pages = listing(registry, limit)
    assert [key_id for page in pages for key_id in page] == made
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert len(pages) == -(-6 // limit)


def test_an_empty_registry_has_one_empty_page(registry):
    """And no cursor."""
    assert registry.page(10, None) == ((), None)


def test_new_and_vanished_keys_do_not_disturb_a_listing(registry, keys, clock):
    """It goes on behind the last key seen, even when that one is destroyed meanwhile."""
    made = [keys.create() for _ in range(4)]
    page = registry.page(2, None)
    registry.disable(made[1])
    clock.now = registry.schedule_deletion(made[1], 7)
    registry.sweep()
    made.append(keys.create())
    rest = registry.page(10, page.cursor)
    assert [info.key_id for info in rest.keys] == made[2:]


def test_pages_show_states_as_of_now(registry, keys, clock):
    """Expired material is seen before anybody sweeps; so is the end of a key."""
    expired = keys.imported(valid_to=clock.now + HOUR)
    gone = keys.create()
    registry.disable(gone)
    clock.now = registry.schedule_deletion(gone, 7)
    page = registry.page(10, None)
    assert [(info.key_id, info.state) for info in page.keys] == [(expired, KeyState.PENDING_IMPORT)]


@pytest.mark.parametrize(
    ("limit", "cursor"),
    [(0, None), (-1, None), (1, ""), (1, "-1"), (1, "x"), (1, "٣"), (1, "9" * 30)],
)
def test_pages_that_are_refused(registry, limit, cursor):
    """Sizes below 1, and cursors that no page returned."""
    with pytest.raises(InvalidRequest):
        registry.page(limit, cursor)


# --- Again and again -------------------------------------------------------------------------


def test_a_key_in_use_is_read_once(registry, key_id, monkeypatch):
    """Nothing has changed, so nothing is read."""
    seen = reads(registry, monkeypatch)
    for _ in range(5):
        registry.usable(key_id, Purpose.ENCRYPT)
        registry.version(key_id, 1)
    assert seen == [(key_id,), (key_id, 1)]


def test_a_change_by_another_process_counts_at_the_next_call(registry, other, key_id):
    """A key that somebody disables is refused at once, and enabled again at once."""
    for _ in range(3):
        registry.usable(key_id, Purpose.ENCRYPT)
        other.disable(key_id)
        with pytest.raises(KeyStateError, match="DISABLED"):
            registry.usable(key_id, Purpose.ENCRYPT)
        other.enable(key_id)


def test_a_change_of_ones_own_counts_too(registry, keys, key_id):
    """The writer is another connection than the reader."""
    registry.usable(key_id, Purpose.ENCRYPT)
    registry.rotate(key_id, keys.make)
    assert registry.usable(key_id, Purpose.ENCRYPT).version == 2
    registry.disable(key_id)
    with pytest.raises(KeyStateError):
        registry.usable(key_id, Purpose.ENCRYPT)


def test_deleted_material_is_not_remembered(registry, other, keys):
    """A version that was read before is refused when another process has deleted it."""
    key_id = keys.imported()
    registry.version(key_id, 1)
    other.delete_material(key_id)
    with pytest.raises(KeyStateError, match="PENDING_IMPORT"):
        registry.version(key_id, 1)


def test_a_record_read_while_it_changes_is_not_kept(registry, other, key_id):
    """Who reads just before a change does not go on with what was read."""
    store = registry._store
    read = store.key

    def interrupted(key_id):
        record = read(key_id)
        other.disable(key_id)
        return record

    store.key = interrupted
    registry.usable(key_id, Purpose.ENCRYPT)
    store.key = read
    with pytest.raises(KeyStateError):
        registry.usable(key_id, Purpose.ENCRYPT)


def test_the_clock_counts_for_what_is_remembered(registry, keys, clock, monkeypatch):
    """Material ends, and a key is gone, at its second, without anybody writing anything."""
    expiring = keys.imported(valid_to=clock.now + HOUR)
    registry.usable(expiring, Purpose.ENCRYPT)
    dying = keys.create()
    registry.disable(dying)
    end = registry.schedule_deletion(dying, 7)
    seen = reads(registry, monkeypatch)
    registry.usable(expiring, Purpose.ENCRYPT)
    clock.now += HOUR
    with pytest.raises(KeyStateError, match="PENDING_IMPORT"):
        registry.usable(expiring, Purpose.ENCRYPT)
    with pytest.raises(KeyStateError, match="PENDING_DELETION"):
        registry.usable(dying, Purpose.DECRYPT)
    clock.now = end
    with pytest.raises(KeyNotFound):
        registry.usable(dying, Purpose.DECRYPT)
    assert seen == [(expiring,), (dying,)]


def test_memory_is_bounded(registry, keys, monkeypatch):
    """However many keys are used, few are kept; each is still found."""
    monkeypatch.setattr(lookup, "CACHED_KEYS", 3)
    monkeypatch.setattr(lookup, "CACHED_VERSIONS", 2)
    made = [keys.create() for _ in range(10)]
    for _ in range(2):
        for key_id in made:
            assert registry.usable(key_id, Purpose.ENCRYPT).key_id == key_id
            assert registry.version(key_id, 1).key_id == key_id
            assert len(registry._keys) <= 3
            assert len(registry._versions) <= 2


# --- Versions --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1, 2, 2**31, 2**63, 2**70])
def test_version_numbers_out_of_nowhere(registry, key_id, number):
    """A ciphertext may name any number; that is a plain no."""
    assert registry.has_version(key_id, 1)
    assert not registry.has_version(key_id, number)
    assert not registry.has_version(UNKNOWN, 1)


def test_a_version_of_no_key(registry):
    """KeyNotFound, as everywhere."""
    with pytest.raises(KeyNotFound):
        registry.version(UNKNOWN, 1)


def test_a_version_that_somebody_removed_is_noticed(registry, keys, key_id):
    """The key says that it has it."""
    with registry._store.write() as writer:
        writer.delete_versions(key_id)
    with pytest.raises(IntegrityError, match="version 1 of the key is missing"):
        registry.version(key_id, 1)
