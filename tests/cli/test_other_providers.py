"""Providers and plugins of others on the command line: unavailable, unhealthy, broken, helpful."""

import json
import sys

import pytest

SHAKY = """
import click

from kmscore import errors
from kmscore.capabilities import Capabilities, Feature
from kmscore.hookspecs import hookimpl
from kmscore.plugin import Option, ProviderType
from kmscore.spi import Health, Provider, RandomSource


class Shaky(Provider, RandomSource):
    def __init__(self, on_use):
        self.on_use = on_use

    def capabilities(self):
        return Capabilities(keys=(), features=frozenset({Feature.RANDOM}))

    def health(self):
        kind = getattr(errors, self.on_use or "", None)
        error = kind("it is hot") if kind else None
        return Health(not self.on_use, "the token is hot", {"slot": "3"}, error)

    def close(self):
        pass

    def generate_random(self, length):
        if self.on_use:
            raise getattr(errors, self.on_use)("the provider is not well")
        return bytes(length)


def _open(setting):
    if setting.options["on_open"]:
        raise getattr(errors, setting.options["on_open"])("the provider does not open")
    return Shaky(setting.options["on_use"])


@hookimpl
def kmscore_provider_types():
    return [ProviderType("shaky", "Fails", _open, (Option("on_open", "."), Option("on_use", ".")))]


@hookimpl
def kmscore_register_commands(group):
    @group.command()
    @click.argument("name")
    def greet(name):
        "Greet somebody."
        click.echo(f"hello {name}")

    @group.command()
    def encrypt():
        "Steal plaintexts."
"""


@pytest.fixture
def shaky(home, monkeypatch):
    """Configures a provider that fails as told; returns a function that says how."""
    site = home / "site"
    info = site / "shaky_kms-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: shaky-kms\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kmscore]\nshaky = shaky_module\n")
    (site / "shaky_module.py").write_text(SHAKY)
    monkeypatch.syspath_prepend(site)

    def write(**options):
        lines = [f'{name} = "{value}"\n' for name, value in options.items()]
        (home / "kms.toml").write_text(
            "[retry]\nmax_attempts = 1\n[providers.hsm]\ntype = 'shaky'\n" + "".join(lines)
        )
        return site

    yield write
    sys.modules.pop("shaky_module", None)


@pytest.mark.parametrize("when", ["on_open", "on_use"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("Unavailable", 5),
        ("Throttled", 5),
        ("Timeout", 5),
        ("AuthenticationFailed", 3),
        ("AccessDenied", 1),
        ("InternalError", 1),
    ],
)
def test_the_exit_code_tells_what_kind_of_trouble_it_is(cli, shaky, when, error, code):
    """Unavailable may be tried again, credentials not; and no output."""
    shaky(**{when: error})
    done = cli("random", "4")
    assert (done.code, done.out) == (code, b"")
    assert "hsm" in done.err
    assert json.loads(cli("random", "4", "--json").err)["error"]["type"] == error


def test_the_doctor_tells_of_a_provider_that_is_not_well(cli, shaky):
    """What the provider says, and its details."""
    shaky(on_use="Unavailable")
    done = cli("doctor")
    assert done.code == 5
    assert "FAIL  provider hsm: the token is hot" in done.text
    assert "slot: 3" in done.text
    shaky(on_open="Timeout")
    assert cli("doctor").code == 5
    shaky()
    assert cli("doctor").code == 0


@pytest.mark.parametrize(
    ("trouble", "code"), [("AuthenticationFailed", 3), ("AccessDenied", 1), ("heat", 5)]
)
def test_the_doctor_tells_kinds_of_trouble_apart(cli, shaky, trouble, code):
    """By its exit code: credentials that are refused; anything else that is an error; no error."""
    shaky(on_use=trouble)
    assert cli("doctor").code == code


def test_what_a_provider_cannot_do_is_refused(cli, shaky):
    """By name."""
    shaky()
    for arguments in (
        ["keys", "list"],
        ["keys", "create"],
        ["encrypt", "--key", "a"],
        ["decrypt"],
        ["keys", "rewrap-root", "--to", "env:ROOT_KEY"],
    ):
        done = cli(*arguments, stdin=b"x")
        assert (done.code, done.out) == (1, b""), arguments
        assert "hsm" in done.err
    assert cli("random", "4").out == bytes(4)


def test_providers_are_listed_with_what_is_wrong(cli, shaky, home):
    """A broken plugin stands beside those that work."""
    site = shaky()
    assert "hsm" in cli("providers").text
    (site / "shaky_module.py").write_text("1 / 0")
    sys.modules.pop("shaky_module", None)
    done = cli("providers")
    assert done.code == 0
    assert "broken" in done.text
    assert "ZeroDivisionError" in done.text
    assert "loadable" in done.text
    schema = cli("config", "schema")
    assert schema.code == 0
    assert "left out: plugin 'shaky'" in schema.err
    assert "software" in schema.text


def test_a_plugin_adds_commands_and_replaces_none(cli, shaky):
    """They are in the help of kmscore; encrypt stays kmscore's own."""
    shaky()
    assert "Greet somebody." in cli("--help").text
    assert cli("greet", "bob").text == "hello bob"
    assert "Steal" not in cli("--help").text
    assert "under a key itself" in cli("encrypt", "--help").text


@pytest.mark.parametrize(
    ("code", "warning"),
    [
        ("1 / 0", "warning: plugin 'shaky' of shaky-kms 1.0 cannot be imported"),
        (
            "import kmscore\n@kmscore.hookimpl\ndef kmscore_register_commands(group):\n    1 / 0\n",
            "warning: a plugin could not add its commands: ZeroDivisionError",
        ),
    ],
)
def test_a_broken_plugin_leaves_the_help_whole(cli, shaky, home, code, warning):
    """With a warning; and an unknown command is still a usage error."""
    (shaky() / "shaky_module.py").write_text(code)
    (home / "kms.toml").write_text('plugins = ["shaky"]\n')
    done = cli("--help")
    assert (done.code, "encrypt" in done.text) == (0, True)
    assert warning in done.err
    done = cli("nonsense")
    assert (done.code, warning in done.err) == (2, True)


def test_a_broken_configuration_leaves_the_help_whole(cli, home):
    """Whoever has to mend it needs the help most."""
    (home / "kms.toml").write_text("broken")
    done = cli("--help")
    assert (done.code, done.err) == (0, "")


COMMAND = """
import click


@click.command()
def greet():
    "Greet somebody."
    click.echo("hello")
"""


@pytest.fixture
def bring(home, monkeypatch):
    """Installs a distribution that brings the command ``greet``."""

    def add(code):
        site = home / "site"
        info = site / "acme_greet-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Name: acme-greet\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[kmscore.commands]\ngreet = acme_greet:greet\n")
        (site / "acme_greet.py").write_text(code)
        monkeypatch.syspath_prepend(site)

    yield add
    sys.modules.pop("acme_greet", None)


def test_a_command_of_an_installed_distribution(cli, bring):
    """Needs no configuration, and stands in the help."""
    bring(COMMAND)
    assert cli("greet").text == "hello"
    assert "Greet somebody" in cli("--help").text


def test_an_installed_command_that_is_broken(cli, bring):
    """Says so when it is named, and leaves the help whole."""
    bring("import no_such_library")
    done = cli("greet")
    assert done.code == 3
    assert "no_such_library is missing" in done.err
    assert "encrypt" in cli("--help").text
