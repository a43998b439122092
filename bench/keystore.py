"""The keystore: what durability costs, and whether size matters."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path

from bench.harness import Measure, Row, at_least, at_most, in_turns, median, ratio
from bench.store import open_store
from kmscore import Kms

BATCH = 100
SMALL, LARGE = 100, 100_000


def rows(folder: Path) -> Iterator[Row]:
    """Creating keys beside bare SQLite, and a small keystore beside a large one."""
    with open_store(folder, "small") as small, open_store(folder, "large") as large:
        taken = in_turns(
            {
                "key": _batch(lambda: small.create_key("AES_256")),
                "bare": _batch(_bare_insert(folder)),
            }
        )
        yield at_least(
            "Creating a key, by the rate of bare SQLite (WAL, FULL)",
            ratio(taken["bare"], taken["key"]),
            0.6,
            " x",
            f"{median(taken['key']) * 1e6:.0f} µs",
        )
        print(f"  making {LARGE:,} keys …", file=sys.stderr)
        for _ in range(LARGE):
            large.create_key("AES_256")
    with open_store(folder, "few") as few, open_store(folder, "large") as many:
        for _ in range(SMALL):
            few.create_key("AES_256")
        for operation in ("describe", "encrypt", "create"):
            taken = in_turns(
                {"few": _work(few, operation), "many": _work(many, operation)}, rounds=9
            )
            yield at_most(
                f"{operation.capitalize()} with {LARGE:,} keys, over {SMALL}",
                ratio(taken["many"], taken["few"]),
                1.5,
                " x",
                f"{median(taken['many']) * 1e6:.0f} µs",
            )


def _batch(function: Callable[[], object]) -> Measure:
    def measure() -> float:
        began = time.perf_counter()
        for _ in range(BATCH):
            function()
        return (time.perf_counter() - began) / BATCH

    return measure


def _work(kms: Kms, operation: str) -> Measure:
    """One operation on keys from all over the keystore."""
    if operation == "create":
        return _batch(lambda: kms.create_key("AES_256"))
    listing = kms.keys()
    ids = [info.key_id for info in listing]
    turns = cycle([kms.key(key_id) for key_id in ids[:: len(ids) // BATCH]])
    if operation == "describe":
        return _batch(lambda: next(turns).describe())
    return _batch(lambda: next(turns).encrypt(b"secret"))


def _bare_insert(folder: Path) -> Callable[[], object]:
    """The rows of a key and of its version, in one durable transaction."""
    database = sqlite3.connect(folder / "bare.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE keys (id TEXT PRIMARY KEY, alias TEXT, state TEXT, made REAL)")
    database.execute("CREATE TABLE versions (id TEXT PRIMARY KEY, material BLOB, mac BLOB)")
    numbers = count()

    def insert() -> None:
        name = f"{next(numbers):032x}"
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", (name, None, "ENABLED", 1.0))
        database.execute("INSERT INTO versions VALUES (?, ?, ?)", (name, os.urandom(60), bytes(32)))
        database.execute("COMMIT")

    return insert
