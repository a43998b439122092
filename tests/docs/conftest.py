"""Runs what the pages show: Python here, commands in a shell, files as written."""

import io
import os
import re
import subprocess
import sys
import tomllib
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name in a first line such as ``# kms.toml``, for blocks that are a file."""
        named = re.match(r"# ([\w./-]+\.(?:toml|py))\n", self.text)
        return named[1] if named else None


def read_blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page that name a language."""
    text = page.read_text()
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in found]


class Reader:
    """Somebody who types what a page shows into an empty folder."""

    def __init__(self, folder: Path, page: Path):
        self.folder = folder
        self.page = page
        self.names: dict[str, object] = {"__name__": "__main__"}
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
        }

    def blocks(self) -> list[Block]:
        """All that the page shows, in its order."""
        return read_blocks(self.page)

    def follow(self) -> int:
        """Write the files that the page shows, then do the rest of it from top to bottom.

        Returns:
            How many blocks that was.
        """
        shown = self.blocks()
        files = [block for block in shown if block.file]
        for block in files:
            self.write(block)
        do = {"python": self.python, "console": self.console}
        steps = [block for block in shown if block.language in do and not block.file]
        for block in steps:
            do[block.language](block)
        return len(files) + len(steps)

    def write(self, block: Block):
        """Write a file, and install the plugins that a ``pyproject.toml`` describes."""
        (self.folder / str(block.file)).write_text(block.text)
        if block.file == "pyproject.toml":
            self._install(tomllib.loads(block.text)["project"])

    def python(self, block: Block):
        """Run code; its names stay for the next block."""
        code = compile("\n" * (block.line - 1) + block.text, str(self.page), "exec")
        with redirect_stdout(io.StringIO()):
            exec(code, self.names)  # noqa: S102 - it is our own page

    def console(self, block: Block):
        """Run each command after a ``$``, and compare what it prints with what is shown."""
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if command.startswith(("pip install", "make ")):
                continue  # the environment of the tests is the installation
            ran = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            where = f"{self.page.name}: $ {command}\n{ran.stdout}{ran.stderr}"
            assert ran.returncode == 0, where
            if shown:
                pattern = ".*".join(map(re.escape, shown.strip().split("…")))
                assert re.fullmatch(pattern, ran.stdout.strip(), re.DOTALL), where

    def _install(self, project):
        info = self.folder / f"{project['name']}-{project['version']}.dist-info"
        info.mkdir()
        name, version = project["name"], project["version"]
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        lines = [
            "\n".join([f"[{group}]", *(f"{point} = {target}" for point, target in points.items())])
            for group, points in project["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture(scope="session")
def pages() -> list[Path]:
    """Every Markdown page that the project is read by."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.fixture(scope="session")
def blocks():
    """Finds the fenced blocks of a page."""
    return read_blocks


@pytest.fixture
def follow(tmp_path, monkeypatch):
    """Follows a page in an empty folder that has a root key and, for most pages, a kms.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("KMSCORE_CONFIG", raising=False)

    def go(name: str, *, configured: bool) -> int:
        if configured:
            (tmp_path / "root.key").write_text("07" * 32)
            (tmp_path / "root.key").chmod(0o600)
            (tmp_path / "kms.toml").write_text(
                '[providers.dev]\ntype = "software"\npath = "keystore.db"\n'
                'root_key = { file = "root.key" }\n'
            )
        return Reader(tmp_path, ROOT / name).follow()

    yield go
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def read(tmp_path):
    """Opens a page in an empty folder, to be followed step by step."""
    return lambda name: Reader(tmp_path, ROOT / name)
