"""Tokens made from nothing, and providers opened on them.

SoftHSM, NSS softokn and SoftHSM behind a socket are there in every run. opencryptoki has one token
for the whole machine, so its tests run in namespaces of their own (test_opencryptoki.py), in a
process in which it is the only kind.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import kmscore
from tests.pkcs11 import tokens
from tests.pkcs11.expectations import EXPECTED, Expected
from tests.pkcs11.inside import Clock
from tests.pkcs11.tokens import Token, Unpluggable

ONLY = os.environ.get("KMSCORE_TEST_TOKEN", "")
"""The one kind of token to test; else those that need nothing but packages."""

KINDS = [ONLY] if ONLY else ["softhsm", "nss", "p11kit"]
WITH_AES = [kind for kind in KINDS if EXPECTED[kind].symmetric]
"""Those with symmetric keys."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With one kind of token, the tests of every token and its own; else none of opencryptoki's."""

    def is_run(item: pytest.Item) -> bool:
        names = set(getattr(item, "fixturenames", ()))
        if not ONLY:
            return "opencryptoki" not in names
        if names & {"softhsm", "nss", "unpluggable"} or item.get_closest_marker("skip"):
            return False  # a test of other tokens, or of what this one cannot do
        return bool(names & {"token", ONLY})

    chosen = [item for item in items if is_run(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Token:
    """A SoftHSM token; the processes of this session find it."""
    token = tokens.make_softhsm(tmp_path_factory.mktemp("softhsm"))
    os.environ.update(token.environment)
    return token


@pytest.fixture(scope="session")
def nss(tmp_path_factory: pytest.TempPathFactory) -> Token:
    """An NSS key database."""
    return tokens.make_nss(tmp_path_factory.mktemp("nss") / "db")


@pytest.fixture(scope="session")
def unpluggable(tmp_path_factory: pytest.TempPathFactory, softhsm: Token) -> Iterator[Unpluggable]:
    """SoftHSM behind a socket, on a token of its own; the connection can be cut."""
    behind = tokens.make_softhsm(tmp_path_factory.mktemp("behind"))
    made = Unpluggable(tmp_path_factory.mktemp("p11kit"), behind)
    os.environ.update(made.token.environment)
    yield made
    made.unplug()


@pytest.fixture(scope="session")
def opencryptoki(tmp_path_factory: pytest.TempPathFactory) -> Token:
    """The opencryptoki token of the namespaces that this process was started in."""
    return tokens.opencryptoki(tmp_path_factory.mktemp("opencryptoki"))


@pytest.fixture(scope="session", params=KINDS)
def token(request: pytest.FixtureRequest) -> Token:
    """Each token in turn."""
    made = request.getfixturevalue("unpluggable" if request.param == "p11kit" else request.param)
    return made.token if isinstance(made, Unpluggable) else made


@pytest.fixture
def expected(token: Token) -> Expected:
    """What the token is expected to be able to do."""
    return EXPECTED[token.kind]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the registry of keys is."""
    return tmp_path / "keys.db"


@pytest.fixture(scope="session")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Token], Path]:
    """A registry without keys of a token that was tried already, which takes a second or two."""
    registries: dict[tuple[Path, str], Path] = {}

    def registry(token: Token) -> Path:
        name = (token.folder, token.label)
        if name not in registries:
            path = tmp_path_factory.mktemp("tried") / "keys.db"
            kmscore.connect("hsm", config=token.config(path)).close()
            registries[name] = path
        return registries[name]

    return registry


@pytest.fixture
def connect(path: Path, tried: Callable[[Token], Path]) -> Iterator[Callable[..., Any]]:
    """Opens a provider on a token, with options; closed after the test."""
    with ExitStack() as stack:

        def open_provider(token: Token, /, **options: Any) -> Any:
            registry = options.pop("path", path)
            if not registry.exists():
                shutil.copy2(tried(token), registry)
            clock = options.pop("clock", time.time)
            data = {**token.options(registry), **options}
            left = {name: value for name, value in data.items() if value is not None}
            config = {"providers": {"hsm": left}}
            return stack.enter_context(kmscore.connect("hsm", config=config, clock=clock))

        yield open_provider


@pytest.fixture
def kms(connect: Callable[..., Any], token: Token) -> Any:
    """A provider on each token in turn."""
    return connect(token)


@pytest.fixture
def clocked(connect: Callable[..., Any], token: Token) -> tuple[Any, Clock]:
    """A provider on each token in turn, and the clock that it sees."""
    clock = Clock()
    return connect(token, clock=clock), clock
