"""`examples/kmscore-aws`: a distribution of its own, installed from its wheel, found and used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "kmscore-aws"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The wheels of kmscore and of the example, installed in a folder of their own."""
    folder = tmp_path_factory.mktemp("site")
    wheels = tmp_path_factory.mktemp("wheels")
    for source in (ROOT, EXAMPLE):
        run(["-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, source])
    run(["-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", folder,
         *wheels.glob("*.whl")])  # fmt: skip
    return folder


def run(arguments, **environment):
    """Run Python without what steers the tests' own; returns what it printed."""
    steering = ("PYTHON", "COVERAGE", "COV_", "KMSCORE", "PYTEST")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=clean | environment,
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_found_by_its_entry_point(site):
    """And told apart from what comes with kmscore."""
    out = run(["-m", "kmscore", "--json", "providers"], PYTHONPATH=str(site))
    (found,) = (each for each in json.loads(out)["installed"] if each["name"] == "aws")
    assert found["distribution"] == "kmscore-aws"
    assert found["loadable"]


def test_its_own_tests_pass(site):
    """Against a KMS that nobody here wrote."""
    out = run(["-m", "pytest", "-q", "-p", "no:cacheprovider"], PYTHONPATH=str(site))
    assert " passed" in out
    assert "failed" not in out


def test_nothing_in_the_core_knows_it():
    """Neither by name nor by import."""
    for folder in ("kmscore", "providers"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "kmscore_aws" not in path.read_text(), path
