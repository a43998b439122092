"""The reference pages name every configuration key, every command and every option."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from kmscore import config
from kmscore.cli.app import COMMANDS, app
from kmscore.discovery import Plugins

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("table_name", ["core", "retry", "audit", "pkcs11", "software", "tencent"])
def test_every_configuration_key_is_explained(table_name):
    """Each key of each table stands on the page as code."""
    tables = {"core": config.CORE, "retry": config.RETRY, "audit": config.AUDIT}
    options = tables.get(table_name) or Plugins().provider_type(table_name).options
    options += tuple(part for option in options for part in option.options)
    text = (ROOT / "docs/configuration.md").read_text()
    shown = set(re.findall(r"`\[?(\w+)\]?`", text))
    assert {option.name for option in options} - shown == set()


def walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """All commands below one, by their full names."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, sub in command.commands.items():
        yield from walk(f"{path} {name}", sub)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_explained(name):
    """The page on the command line names them all."""
    command = app.get_command(click.Context(app), name)
    assert command is not None
    text = (ROOT / "docs/cli.md").read_text()
    for path, found in walk(name, command):
        assert path in text
        options = [o for o in found.params if isinstance(o, click.Option)]
        shown = {max(option.opts, key=len) for option in options}
        assert {option for option in shown if option not in text} == set()
