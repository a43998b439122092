"""Commands that a distribution brings: there when it is installed, imported when they are named."""

import sys

import pytest

from kmscore.discovery import installed_commands, load_command
from kmscore.errors import PluginError

GREET = """
import click


@click.command()
def greet():
    "Greet somebody."
    click.echo("hello")
"""


def test_a_command_is_there_as_soon_as_its_distribution_is_installed(install):
    """Its name is known from the metadata; its module is imported when it is named."""
    module = install("acme-kms", "greet", GREET, group="kmscore.commands")
    assert "greet" in installed_commands()
    assert module not in sys.modules
    command = load_command("greet")
    assert command is not None
    assert command.help == "Greet somebody."


def test_a_command_that_nobody_brings():
    """Is none, and no error: a configured plugin may still add it."""
    assert load_command("no-such-command") is None


def test_two_distributions_with_the_same_command(install):
    """Neither of them wins."""
    install("acme-one", "greet", GREET, module="one_module", group="kmscore.commands")
    install("acme-two", "greet", GREET, module="two_module", group="kmscore.commands")
    with pytest.raises(PluginError, match=r"'greet' is claimed by acme-one 1\.0 and acme-two 1\.0"):
        load_command("greet")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import no_such_library", "no_such_library is missing"),
        ("greet = print", "has no command 'greet'"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_command_that_cannot_be_loaded(install, code, text):
    """Is an error that names the distribution."""
    install("acme-kms", "greet", code, group="kmscore.commands")
    with pytest.raises(PluginError, match=text) as refused:
        load_command("greet")
    assert "acme-kms 1.0" in str(refused.value)
