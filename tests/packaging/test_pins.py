"""The pins: `constraints.txt` fixes every package that an installation with extras can pull in."""

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pins():
    """Versions by name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [re.fullmatch(r"([a-z0-9-]+)==([^ ;]+)( ; .+)?", line) for line in lines]
    assert all(found), "a line is not of the form name==version"
    return {match[1]: match[2] for match in found if match}


def test_pins_name_no_place():
    """Where packages come from is the installer's choice, not the project's."""
    assert "://" not in (ROOT / "constraints.txt").read_text()


def test_pins_satisfy_the_project(pins, pyproject):
    """Every direct dependency, of every extra, has a pin within its range."""
    project = pyproject["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (Requirement(text) for wanted in lists for text in wanted):
        if requirement.name != "kmscore":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_nothing_comes_in_without_a_pin(pins):
    """What the dependencies depend on is pinned too."""
    seen: set[tuple[str, str]] = set()
    todo = [("kmscore", "dev")]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for requirement in map(Requirement, distribution(name).requires or []):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            todo += [(requirement.name, extra) for extra in ("", *requirement.extras)]
    unpinned = {name for name, _ in seen if canonicalize_name(name) not in pins}
    assert unpinned == {"kmscore"}
