"""The distribution as its users get it: built once, and installed without extras in a new place."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def clean_environment() -> dict[str, str]:
    """The environment without what steers Python, coverage or kmscore."""
    steering = ("PYTHON", "COVERAGE", "COV_", "KMSCORE", "PYTEST")
    return {name: value for name, value in os.environ.items() if not name.startswith(steering)}


class Installed:
    """A virtual environment that holds kmscore's wheel and what the wheel requires."""

    def __init__(self, folder: Path):
        self.python = folder / "bin" / "python"
        self.kmscore = folder / "bin" / "kmscore"

    def run(self, *command: str | Path, cwd: Path, data: bytes = b"", **environment: str):
        """Run a command; what it prints is bytes."""
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            input=data,
            capture_output=True,
            env=clean_environment() | environment,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="session")
def pyproject() -> dict[str, Any]:
    """What `pyproject.toml` says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the source distribution."""
    folder: Path = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(tmp_path_factory, wheel) -> Installed:
    """The wheel in a virtual environment of its own, without extras."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run(
        [*pip, "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True, capture_output=True
    )
    return Installed(folder)
