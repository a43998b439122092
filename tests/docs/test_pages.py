"""The project as text: what is shown as code is code, and nothing of a workplace leaks."""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tracked() -> list[Path]:
    """Every file of the project that is text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]


def test_examples_of_configuration_are_toml(pages, blocks):
    """Every block that says so."""
    shown = [block for page in pages for block in blocks(page) if block.language == "toml"]
    assert [tomllib.loads(block.text) for block in shown]


def test_python_examples_compile(pages, blocks):
    """On every page, also where they need more than an empty folder to run."""
    shown = [block for page in pages for block in blocks(page) if block.language == "python"]
    assert [compile(block.text, "example", "exec") for block in shown]


def test_no_file_names_a_package_registry_or_a_place_on_somebodys_machine():
    """Where packages come from, and where somebody works, is nobody else's business."""
    hosts = [("pypi", "org"), ("files", "pythonhosted", "org"), ("registry", "npmjs", "org")]
    hosts += [("deb", "debian", "org"), ("proxy", "golang", "org"), ("index", "crates", "io")]
    words = [re.escape(".".join(host)) for host in hosts]
    words += [rf"(?<![\w.~-])/{folder}/" for folder in ("root", "home", "work", "Users")]
    pattern = re.compile("|".join(words))
    found = []
    for file in tracked():
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []
