"""The page on conformance lists every law, as it is, and what it shows runs."""

import re
from pathlib import Path

import click
from kmscore_conformance.command import run
from kmscore_conformance.law import Layer, all_laws
from kmscore_conformance.outcome import Outcome
from kmscore_conformance.profile import PROFILES
from kmscore_conformance.waivers import LISTS

PAGE = (Path(__file__).parents[2] / "docs/conformance.md").read_text()


def rows(head: str) -> list[list[str]]:
    """Cells of all tables that begin with that head."""
    found = re.findall(rf"^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    lines = "".join(found).splitlines()
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def test_every_law_is_listed_with_its_sentence_and_its_requirement():
    """Layer by layer, in the suite's order."""
    assert [tuple(row) for row in rows("law")] == [
        (law.id, law.title, law.scope.requirement.replace("nothing", "")) for law in all_laws()
    ]
    headings = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
    assert headings == [layer.value.capitalize() for layer in Layer]


def test_profiles_and_outcomes_are_explained():
    """With the numbers that hold."""
    assert {
        (name, int(most or 0), examples.split(" ")[0])
        for name, _, examples, _, most in rows("profile")
    } == {(each.name, each.max_calls or 0, f"{each.examples},") for each in PROFILES.values()}
    assert {row[0] for row in rows("outcome")} == {outcome.value for outcome in Outcome}
    for name in LISTS:
        assert f"`{name}`" in PAGE


def test_every_option_is_explained():
    """On the command line and in pytest."""
    listed = {row[0] for row in rows("command line")} | {row[1] for row in rows("command line")}
    options = {max(o.opts, key=len) for o in run.params if isinstance(o, click.Option)}
    assert options - {"--debug", "--json", "--provider"} <= listed
    plugin = Path(__file__).parents[2] / "conformance/kmscore_conformance/pytest_plugin.py"
    assert set(re.findall(r'add\("(--kms-[\w-]+)"', plugin.read_text())) <= listed


def test_the_page_runs(follow):
    """Its configuration, its commands and its code."""
    assert follow("docs/conformance.md", configured=True) == 3
