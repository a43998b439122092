"""Many keys: what one operation costs does not depend on how many there are.

Costs are counted in steps of SQLite's virtual machine, so that nothing depends on the machine.
"""

import pytest

from kmscore.algorithms import KeySpec, KeyState, KeyUsage, Origin, WrappingAlgorithm
from kmscore.registry import Purpose, Registry, SqliteStore
from kmscore.registry.model import ImportJob, KeyRecord, VersionRecord

FEW, MANY = 100, 20_000


class Meter:
    """Counts the steps that a registry's connections take."""

    def __init__(self, registry):
        self.registry = registry
        self.steps = 0

    def of(self, work):
        """The steps of a piece of work."""
        store = self.registry._store
        connections = (store._file._writer, store._file._reader)
        for connection in connections:
            connection.set_progress_handler(self.count, 1)
        self.steps = 0
        work()
        for connection in connections:
            connection.set_progress_handler(None, 1)
        return self.steps

    def count(self):
        """One more step."""
        self.steps += 1


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Fills a registry with keys; gives it with the alias of one in the middle."""
    opened = []

    def fill(count):
        registry = Registry(SqliteStore(tmp_path_factory.mktemp("many") / "keys.db"))
        opened.append(registry)
        with registry._store.write() as writer:
            for number in range(count):
                key_id = f"00000000-0000-4000-8000-{number:012}"
                record = KeyRecord(
                    key_id,
                    KeySpec.AES_256,
                    KeyUsage.ENCRYPT_DECRYPT,
                    Origin.EXTERNAL,
                    KeyState.ENABLED,
                    1,
                    f"key-{number}",
                    version=1,
                    valid_to=2**33 + number,
                )
                writer.insert_key(record)
                writer.insert_version(VersionRecord(key_id, 1, 1, bytes(60)))
                wrapping = WrappingAlgorithm.RSAES_OAEP_SHA_256
                writer.put_job(ImportJob(key_id, wrapping, bytes(32), bytes(60), 2**33))
        return registry

    yield {count: fill(count) for count in (FEW, MANY)}
    for registry in opened:
        registry.close()


@pytest.fixture
def costs(crowded):
    """The steps that some work takes among few keys, and among many."""

    def costs(work):
        found = []
        for count, registry in crowded.items():
            key_id = registry.find(f"key-{count // 2}").key_id
            found.append(Meter(registry).of(lambda r=registry, k=key_id: work(r, k)))
        return found

    return costs


def rename(registry, key_id):
    """To another name and back."""
    alias = registry.find(key_id).alias
    registry.set_alias(key_id, "new-name")
    registry.set_alias(key_id, alias)


WORK = {
    "find by id": lambda registry, key_id: registry.find(key_id),
    "find by alias": lambda registry, key_id: registry.find("key-7"),
    "use": lambda registry, key_id: registry.usable(key_id, Purpose.ENCRYPT),
    "version": lambda registry, key_id: registry.version(key_id, 1),
    "page": lambda registry, key_id: registry.page(10, registry.page(10, None).cursor),
    "a late page": lambda registry, key_id: registry.page(10, "80"),
    "sweep": lambda registry, key_id: registry.sweep(),
    "disable": lambda registry, key_id: registry.disable(key_id),
    "enable": lambda registry, key_id: registry.enable(key_id),
    "rename": rename,
}


@pytest.mark.parametrize("work", WORK)
def test_an_operation_costs_the_same_among_many_keys(costs, work):
    """Two hundred times the keys, and no more work."""
    few, many = costs(WORK[work])
    assert few > 0
    assert many <= few * 1.5


def test_making_a_key_costs_the_same_among_many_keys(costs, keys):
    """Likewise."""
    few, many = costs(lambda registry, _: registry.create(keys.new(), keys.make))
    assert 0 < many <= few * 1.5
