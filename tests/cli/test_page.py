"""The page on the command line: each command has a section, with its options and an example."""

import re
from pathlib import Path

import click
import pytest

from kmscore.cli.app import COMMANDS, app
from kmscore.discovery import installed
from kmscore.plugin import COMMAND_GROUP

PAGE = (Path(__file__).parents[2] / "docs/cli.md").read_text()
COMMON = {"--config", "--provider", "--json", "--debug", "--input", "--output"}


def commands(path, command):
    """All commands below one, by their full names."""
    if not isinstance(command, click.Group):
        return {path: command}
    found: dict[str, click.Command] = {path: command} if command.invoke_without_command else {}
    for name, sub in command.commands.items():
        found |= commands(f"{path} {name}".strip(), sub)
    return found


ALL: dict[str, click.Command] = {}
OURS = [found.name for found in installed(group=COMMAND_GROUP) if found.distribution == "kmscore"]
for each in (*COMMANDS, *OURS):
    loaded = app.get_command(click.Context(app), each)
    assert loaded is not None
    ALL |= commands(each, loaded)


def section(path):
    """What stands under the heading that names a command."""
    found = re.split(r"^##+ (.*)$", PAGE, flags=re.MULTILINE)
    for heading, text in zip(found[1::2], found[2::2], strict=True):
        if path in heading.split(", "):
            return text
    raise AssertionError(f"no section for {path}")


@pytest.mark.parametrize("path", sorted(ALL))
def test_a_command_has_a_section_with_all_its_options(path):
    """By their long names."""
    options = {
        max(option.opts, key=len) for option in ALL[path].params if isinstance(option, click.Option)
    }
    text = section(path)
    assert {option for option in options - COMMON if f"`{option}" not in text} == set()
    assert f"kmscore {path}" in text


def test_the_common_options_are_explained_once():
    """At the top of the page."""
    text = PAGE.split("**Keys**")[0] + PAGE.split("**Data**")[1].split("**Secrets**")[0]
    assert {option for option in COMMON if f"`{option}" not in text} == set()


def test_the_page_names_no_command_and_no_option_that_is_not_there():
    """Nothing is promised."""
    headings = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    named = {path for heading in headings for path in heading.split(", ")}
    assert named == set(ALL)
    known = {option for command in ALL.values() for each in command.params for option in each.opts}
    shown = set(re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", PAGE))
    assert shown - known - {"--help", "--version"} == set()


def test_the_exit_codes_are_those_of_the_command():
    """Each of them, and no other."""
    table = PAGE.split("**Exit codes**")[1].split("## ")[0]
    codes = re.findall(r"^\| (\d+) \|", table, re.MULTILINE)
    assert app.epilog is not None
    assert codes == re.findall(r"\b(\d+) \w", app.epilog)
