"""The page on configuration: every key with its type and default, and examples that are right."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from kmscore.config import AUDIT, CORE, RETRY, Config
from kmscore.discovery import Plugins
from kmscore.plugin import Option, OptionKind

PAGE = (Path(__file__).parents[3] / "docs/configuration.md").read_text()
SHOWN = {
    OptionKind.STRING: "string",
    OptionKind.INTEGER: "whole number",
    OptionKind.NUMBER: "number",
    OptionKind.BOOLEAN: "boolean",
    OptionKind.PATH: "path",
    OptionKind.SECRET: "secret",
    OptionKind.STRINGS: "list of strings",
    OptionKind.TABLE: "table",
}
TYPE = Option("type", "What it is.", required=True)
SECTIONS = {
    "## Top level": tuple(option for option in CORE if OptionKind.TABLE not in option.kinds),
    "## retry": RETRY,
    "## audit": AUDIT,
} | {
    f"### {kind.name}": (TYPE, *kind.options)
    for described in Plugins().describe()
    for kind in described.types
}


def rows(heading):
    """The table of a section: cells by key."""
    section = PAGE.split(f"\n{heading}\n")[1].split("\n#")[0]
    found = (line.strip("|").split("|") for line in section.splitlines() if line[:3] == "| `")
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in found}


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_stands_there_with_its_type_and_default(heading):
    """And no other key does."""
    shown = {name: cells[:2] for name, cells in rows(heading).items() if name[0] != "["}
    assert shown == {
        option.name: [
            " or ".join(SHOWN[kind] for kind in option.kinds),
            "required"
            if option.required
            else "none"
            if option.default is None
            else f"`{json.dumps(option.default)}`",
        ]
        for option in SECTIONS[heading]
    }


def test_every_table_stands_there():
    """Those of the top level."""
    tables = {option.name for option in CORE if OptionKind.TABLE in option.kinds}
    assert {name.strip("[]") for name in rows("## Top level") if name[0] == "["} == tables


def test_the_choices_of_a_key_stand_there():
    """Each of them, as it is written."""
    for heading, options in SECTIONS.items():
        for option in options:
            for choice in option.choices:
                assert f'`"{choice}"`' in rows(heading)[option.name][2]


def test_the_examples_are_right():
    """As a whole, provider by provider."""
    examples = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    plugins = Plugins()
    assert len(examples) > 3
    for example in examples:
        config = Config.from_mapping(tomllib.loads(example))
        for entry in config.providers.values():
            config.setting(entry, plugins.provider_type(entry.type))


def test_every_key_is_in_an_example():
    """Somebody who copies finds the form of each."""
    examples = "\n".join(re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    for heading, options in SECTIONS.items():
        for option in options:
            assert re.search(rf"^{option.name} = ", examples, re.MULTILINE), (heading, option.name)
