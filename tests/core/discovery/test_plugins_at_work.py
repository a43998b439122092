"""Plugins that work: a provider, a listener for audit events, commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kmscore
from kmscore.discovery import Plugins
from kmscore.errors import CiphertextInvalid, PluginError

LISTENER = """
from kmscore.hookspecs import hookimpl

heard = []

@hookimpl
def kmscore_audit_event(event):
    heard.append((event.provider, event.operation, event.outcome, event.error))
    if event.operation == "generate_random":
        raise RuntimeError("the listener is broken")
"""

COMMANDS = """
import click
from kmscore.hookspecs import hookimpl

@hookimpl
def kmscore_register_commands(group):
    @group.command()
    @click.argument("name")
    def greet(name):
        "Greet somebody."
        click.echo(f"hello {name}")
"""


@pytest.fixture
def software(tmp_path):
    """A configuration with a software provider, whose plugins are given."""

    def content(*plugins):
        provider = {
            "type": "software",
            "path": str(tmp_path / "keystore.db"),
            "root_key": lambda: b"r" * 32,
        }
        return {"plugins": list(plugins), "providers": {"dev": provider}}

    return content


@pytest.fixture
def kmscore_command(site, tmp_path):
    """Runs kmscore in a process of its own, in a folder with a kms.toml that names plugins."""

    def run(*arguments, plugins, more=""):
        (tmp_path / "kms.toml").write_text(f"plugins = {json.dumps(plugins)}\n{more}")
        return subprocess.run(
            [Path(sys.executable).with_name("kmscore"), *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(site), "KMSCORE_CONFIG": ""},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_somebody_elses_provider_is_opened_by_configuration(install_provider):
    """As one of kmscore's own."""
    install_provider("acme-kms", "acme")
    config = {"providers": {"mine": {"type": "acme"}}}
    with kmscore.connect("mine", config=config) as kms:
        assert kms.health().message == "fine"


def test_a_provider_without_keys_is_listed(install_provider, kmscore_command):
    """It may have a generator alone."""
    install_provider("acme-kms", "acme")
    done = kmscore_command("providers", plugins=[], more='[providers.mine]\ntype = "acme"')
    assert done.returncode == 0
    assert "mine\n  no keys\n" in done.stdout


def test_a_listener_hears_of_operations(install, software, caplog):
    """Those that fail too; what it raises is logged, and reaches nobody else."""
    module = install("acme-ears", "ears", LISTENER)
    with kmscore.connect(config=software("ears")) as kms:
        key = kms.create_key("AES_256")
        key.decrypt(key.encrypt(b"x"))
        with pytest.raises(CiphertextInvalid):
            key.decrypt(b"nonsense")
        assert len(kms.generate_random(4)) == 4
    heard = sys.modules[module].heard
    assert [each for each in heard if each[1] != "describe_key"] == [
        ("dev", "create_key", "ok", ""),
        ("dev", "encrypt", "ok", ""),
        ("dev", "decrypt", "ok", ""),
        ("dev", "decrypt", "error", "CiphertextInvalid"),
        ("dev", "generate_random", "ok", ""),
    ]
    assert len(caplog.records) == 1


def test_a_listener_that_fails_shows_a_person_no_traceback(install, kmscore_command, tmp_path):
    """One line on standard error, and the command does its work; --debug shows more."""
    install("acme-ears", "ears", LISTENER)
    (tmp_path / "root.key").touch(0o600)
    (tmp_path / "root.key").write_text("07" * 32)
    provider = (
        '[providers.dev]\ntype = "software"\npath = "dev.db"\nroot_key = { file = "root.key" }'
    )
    done = kmscore_command("random", "4", "--hex", plugins=["ears"], more=provider)
    assert done.returncode == 0
    assert done.stderr == "a subscriber of audit events failed with RuntimeError\n"
    done = kmscore_command("random", "4", "--hex", "--debug", plugins=["ears"], more=provider)
    assert "Traceback" in done.stderr


def test_a_listener_that_is_not_named_is_not_loaded(install, software):
    """Installed is not enough: the configuration decides."""
    module = install("acme-ears", "ears", LISTENER)
    with kmscore.connect(config=software()) as kms:
        kms.create_key("AES_256")
    assert module not in sys.modules


def test_a_listener_that_is_not_there(software):
    """An audit trail that somebody relies on is not left out silently."""
    with pytest.raises(PluginError, match="there is no plugin 'ears'"):
        kmscore.connect(config=software("ears"))


def test_whether_anybody_listens_is_known(install):
    """With nobody there, no event is made."""
    install("acme-ears", "ears", LISTENER)
    plugins = Plugins()
    assert not plugins.has_audit_subscribers
    plugins.load("ears")
    assert plugins.has_audit_subscribers


def test_commands_of_a_plugin_are_listed_and_run(install, kmscore_command):
    """They stand in --help, and run as others do; other commands are not slowed by them."""
    install("acme-cli", "acme", COMMANDS)
    assert "Greet somebody." in kmscore_command("--help", plugins=["acme"]).stdout
    done = kmscore_command("greet", "bob", plugins=["acme"])
    assert (done.returncode, done.stdout) == (0, "hello bob\n")
    assert kmscore_command("greet", "bob", plugins=[]).returncode == 2


def test_a_broken_plugin_leaves_the_help_whole(install, kmscore_command):
    """With a warning."""
    install("acme-cli", "acme", "1 / 0")
    done = kmscore_command("--help", plugins=["acme"])
    assert done.returncode == 0
    assert "encrypt" in done.stdout
    assert "warning: plugin 'acme' of acme-cli 1.0 cannot be imported" in done.stderr
