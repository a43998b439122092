"""Providers to try laws on: software keystores, and small ones that are wrong on purpose."""

import json

import pytest
from kmscore_conformance.runner import run_laws
from kmscore_conformance.session import Session
from kmscore_conformance.subject import Subject

from kmscore.config import Config


@pytest.fixture
def config(tmp_path) -> Config:
    """Two keystores."""
    data = {
        name: {
            "type": "software",
            "path": str(tmp_path / f"{name}.db"),
            "root_key": lambda name=name: name.encode().ljust(32, b"."),
        }
        for name in ("one", "two")
    }
    return Config.from_mapping({"default": "one", "providers": data})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a kms.toml of two keystores."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KMSCORE_CONFIG", raising=False)
    (tmp_path / "root.key").write_text("07" * 32)
    (tmp_path / "root.key").chmod(0o600)
    tables = [
        f'[providers.{name}]\ntype = "software"\npath = "{name}.db"\n'
        'root_key = { file = "root.key" }\n'
        for name in ("one", "two")
    ]
    (tmp_path / "kms.toml").write_text("\n".join(tables))
    return tmp_path


@pytest.fixture
def subject(config):
    """Makes a provider under test that is wrong in the way that a function makes it."""

    def make(spoil=lambda provider: provider, name="one"):
        sound = Subject.configured(config, name)
        sound.close()
        opener = sound._opener
        return Subject(name, lambda conditions: spoil(opener(conditions)), source=sound.source)

    return make


@pytest.fixture
def tried(subject):
    """Tries laws on a provider that is spoiled; gives the results by law."""

    def run(spoil, *ids, profile="quick", **options):
        with Session([subject(spoil)], profile=profile, seed=1, **options) as session:
            return run_laws(session, ids)

    return run


@pytest.fixture
def outcomes():
    """The different outcomes of results, as words."""
    return lambda results: {result.outcome.value for result in results}


@pytest.fixture
def report(folder):
    """Reads the report that a run has written."""
    return lambda: json.loads((folder / "out" / "report.json").read_text())
