"""The pages name every option of the command, and everything that its files may say."""

from pathlib import Path

import click
import pytest
from kmscore_server.access_log import Entry
from kmscore_server.command import new, serve
from kmscore_server.credentials import CREDENTIAL, FILE, RULE
from kmscore_server.faults import FaultKind

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("command", [serve, new], ids=["serve", "new"])
def test_every_option_is_explained(command):
    """On the page of the command line."""
    text = (DOCS / "cli.md").read_text()
    options = [each for each in command.params if isinstance(each, click.Option)]
    shown = {max(option.opts, key=len) for option in options}
    assert {option for option in shown if f"`{option}" not in text} == set()


def test_every_key_of_the_file_of_credentials_is_explained():
    """Tables, keys and lists."""
    text = (DOCS / "server.md").read_text()
    names = {option.name for option in (*CREDENTIAL, *RULE, *FILE)}
    assert {name for name in names if name not in text} == set()
    assert {option.name for option in CREDENTIAL if f"| `{option.name}` |" not in text} == set()


def test_every_fault_and_every_field_of_the_access_log_is_explained():
    """With the words that a user types and reads."""
    text = (DOCS / "server.md").read_text()
    kinds = {kind.value for kind in FaultKind} - {"error"}
    assert {kind for kind in kinds if f"`{kind}" not in text} == set()
    assert {name for name in Entry._fields if f"`{name}`" not in text} == set()
