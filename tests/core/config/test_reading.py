"""``kms.toml``: where it is looked for, what it may say, and what is said of mistakes."""

from pathlib import Path
from typing import Any

import pytest

from kmscore import connect
from kmscore.config import AUDIT, Config
from kmscore.discovery import Plugins
from kmscore.errors import ConfigError
from kmscore.plugin import Option, OptionKind, ProviderType, Secret
from kmscore.retry import RetryPolicy

TYPE = ProviderType(
    "thing",
    "A thing",
    lambda setting: None,  # type: ignore[arg-type, return-value]
    (
        Option("text", "Some text."),
        Option("mode", "A choice.", choices=("fast", "slow"), default="fast"),
        Option("count", "A count.", (OptionKind.INTEGER,)),
        Option("share", "A share.", (OptionKind.NUMBER,)),
        Option("flag", "A flag.", (OptionKind.BOOLEAN,)),
        Option("place", "A place.", (OptionKind.PATH,)),
        Option("pin", "A PIN.", (OptionKind.SECRET,)),
        Option("names", "Names.", (OptionKind.STRINGS,)),
        Option("free", "Anything.", (OptionKind.TABLE,)),
        Option(
            "sub",
            "A table.",
            (OptionKind.TABLE,),
            options=(Option("inner", "Must be.", required=True),),
        ),
        Option("slot", "Label or number.", (OptionKind.STRING, OptionKind.INTEGER)),
    ),
)


def setting(tmp_path=None, **options):
    """The checked options of a provider of that type."""
    data = {"providers": {"p": {"type": "thing", **options}}}
    config = Config.from_mapping(data, base=tmp_path)
    return config.setting(config.entry(), TYPE).options


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory without any configuration in reach."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KMSCORE_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    return tmp_path


def test_the_order_in_which_it_is_looked_for(place, monkeypatch):
    """Named file, then $KMSCORE_CONFIG, then ./kms.toml, then the user's folder."""

    def write(path):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f'[providers.{path.parent.name}]\ntype = "software"\n')
        return path

    with pytest.raises(ConfigError) as caught:
        Config.load()
    for named in ("KMSCORE_CONFIG", str(place / "kms.toml"), str(place / "user")):
        assert named in caught.value.message
    write(place / "user" / "kmscore" / "kms.toml")
    assert list(Config.load().providers) == ["kmscore"]
    (place / "kms.toml").write_text('[providers.here]\ntype = "software"\n')
    assert list(Config.load().providers) == ["here"]
    monkeypatch.setenv("KMSCORE_CONFIG", str(write(place / "variable" / "any.toml")))
    assert list(Config.load().providers) == ["variable"]
    assert list(Config.load(write(place / "explicit" / "x.toml")).providers) == ["explicit"]
    monkeypatch.setenv("KMSCORE_CONFIG", "missing.toml")
    with pytest.raises(ConfigError, match=r"missing\.toml cannot be read"):
        Config.load()
    monkeypatch.setenv("KMSCORE_CONFIG", "")
    assert list(Config.load().providers) == ["here"]


def test_no_other_variable_is_read(place, monkeypatch):
    """Options come from the file alone."""
    monkeypatch.setenv("KMSCORE_DEFAULT", "other")
    monkeypatch.setenv("KMSCORE_PROVIDER", "other")
    (place / "kms.toml").write_text('[providers.here]\ntype = "software"\n')
    assert Config.load().entry().name == "here"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[providers", "is not TOML: Expected"),
        (b"\n[retry]\ndeadline = soon\n", "is not TOML: .*line 3"),
        (b"default = 'a'\ndefault = 'b'", "is not TOML: Cannot overwrite"),
        (b"default = '\xff'", "is not UTF-8"),
    ],
)
def test_a_file_that_is_no_toml(place, content, message):
    """The error names the file, and the line where there is one."""
    (place / "kms.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^configuration kms\.toml {message}"):
        Config.load()


def test_a_file_that_cannot_be_read(place):
    """A folder, nothing at all, or a link that leads nowhere; never is another one taken."""
    (place / "loop.toml").symlink_to("loop.toml")
    (place / "kms.toml").write_text("")
    for name, reason in (
        (".", "Is a directory"),
        ("no.toml", "No such file"),
        ("loop.toml", "Too many levels of symbolic links"),
    ):
        with pytest.raises(ConfigError, match=f"cannot be read: {reason}"):
            Config.load(name)


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        ({"defualt": "x"}, "configuration has an unknown key 'defualt'", "'default'"),
        ({"zzz": 1}, "unknown key 'zzz'", "Known: audit, default, plugins, providers, retry"),
        ({"default": 5}, "configuration default is a number", "a string"),
        ({"default": "dev"}, "default names provider 'dev'", "Known: none"),
        (
            {"default": "prd", "providers": {"prod": {"type": "x"}}},
            "default names provider 'prd'",
            "'prod'",
        ),
        ({"plugins": "one"}, "plugins is a string", "a list of strings"),
        ({"plugins": [1]}, "plugins is a list", "a list of strings"),
        ({"providers": []}, "providers is a list", "a table"),
        ({"providers": {"a b": {"type": "x"}}}, "'a b' cannot name a provider", "letters"),
        ({"providers": {"": {"type": "x"}}}, "'' cannot name a provider", "letters"),
        ({"providers": {"-a": {"type": "x"}}}, "'-a' cannot name a provider", "letters"),
        ({"providers": {"é": {"type": "x"}}}, "'é' cannot name a provider", "letters"),
        ({"providers": {"a": 5}}, r"\[providers.a\] is a number", "a table"),
        ({"providers": {"a": {}}}, r"\[providers.a\] lacks the key 'type'", "software"),
        ({"providers": {"a": {"type": ""}}}, "lacks the key 'type'", "software"),
        ({"providers": {"a": {"type": 1}}}, "lacks the key 'type'", "software"),
        ({"retry": {"max_atempts": 1}}, "retry has an unknown key", "'max_attempts'"),
        ({"retry": {"max_attempts": 1.5}}, "max_attempts is a number", "whole number"),
        ({"retry": {"max_attempts": True}}, "max_attempts is a boolean", "whole number"),
        ({"retry": {"deadline": "long"}}, "deadline is a string", "a number"),
        ({"retry": {"deadline": False}}, "deadline is a boolean", "a number"),
        ({"audit": {}}, "audit lacks the key 'path'", AUDIT[0].help),
        ({"audit": {"path": ""}}, "path is a string", "a path"),
        ({"audit": {"path": "x", "fail_closed": 1}}, "fail_closed is a number", "true or false"),
        ({"audit": {"path": "x", "key": "k"}}, "must refer to a secret", "env"),
    ],
)
def test_mistakes_are_named_with_what_would_be_right(data, message, hint):
    """Where, what, and the nearest good name."""
    with pytest.raises(ConfigError, match=message) as caught:
        Config.from_mapping(data)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"txt": "x"}, r"\[providers.p\] has an unknown key 'txt'", "'text'"),
        ({"text": 5}, "text is a number", "It must be a string"),
        ({"mode": "middling"}, "mode is 'middling'", "Use one of: fast, slow"),
        ({"count": "5"}, "count is a string", "a whole number"),
        ({"count": 5.0}, "count is a number", "a whole number"),
        ({"share": "half"}, "share is a string", "a number"),
        ({"flag": "yes"}, "flag is a string", "true or false"),
        ({"place": 5}, "place is a number", "a path"),
        ({"names": ["a", 1]}, "names is a list", "a list of strings"),
        ({"free": []}, "free is a list", "a table"),
        ({"sub": {}}, "sub lacks the key 'inner'", "Must be."),
        ({"sub": {"iner": "x"}}, r"sub has an unknown key 'iner'", "'inner'"),
        ({"sub": {"inner": {}}}, "sub inner is a table", "a string"),
        ({"slot": 1.5}, "slot is a number", "a string or a whole number"),
    ],
)
def test_options_of_a_provider_are_checked_against_its_type(options, message, hint):
    """A wrong one is named with table and key."""
    with pytest.raises(ConfigError, match=message) as caught:
        setting(**options)
    assert hint in caught.value.hint


def test_a_required_option_of_an_installed_provider():
    """What is missing is named with what it is for."""
    config = Config.from_mapping({"providers": {"dev": {"type": "software"}}})
    with pytest.raises(ConfigError, match=r"\[providers.dev\] lacks the key 'path'") as caught:
        config.setting(config.entry(), Plugins().provider_type("software"))
    assert "keystore" in caught.value.hint


def test_options_arrive_checked_and_complete(tmp_path):
    """Paths absolute, secrets as references, defaults filled in, the rest as written."""
    options = setting(
        tmp_path,
        text="t",
        count=5,
        share=1,
        flag=True,
        place="a/b",
        pin={"env": "PIN"},
        names=["a"],
        free={"any": {"thing": 1}},
        sub={"inner": "i"},
        slot=3,
    )
    assert options["place"] == tmp_path / "a/b"
    assert isinstance(options["pin"], Secret)
    assert options["mode"] == "fast"
    assert options["free"] == {"any": {"thing": 1}}
    assert options["sub"] == {"inner": "i"}
    assert (options["count"], options["share"], options["slot"]) == (5, 1, 3)
    assert setting(slot="label")["slot"] == "label"
    assert setting(tmp_path)["place"] is None


def test_paths_count_from_the_folder_of_the_file(place, monkeypatch):
    """Not from the working directory; ~ is the user's home, absolute ones stay."""
    (place / "etc").mkdir()
    (place / "etc/kms.toml").write_text('[audit]\npath = "log"\n')
    config = Config.load("etc/kms.toml")
    assert config.audit is not None
    assert config.audit.path == place / "etc/log"
    assert Config.from_mapping({}).base == place
    monkeypatch.setenv("HOME", "/somewhere")
    assert setting(place, place="~/k")["place"] == Path("/somewhere/k")
    assert setting(place, place="/abs")["place"] == Path("/abs")


def test_retry_and_audit_have_defaults():
    """Without a table, and for what a table leaves out."""
    empty = Config.from_mapping({})
    assert empty.retry == RetryPolicy()
    assert empty.audit is None
    some = Config.from_mapping({"retry": {"deadline": 5}, "audit": {"path": "/log"}})
    assert some.retry == RetryPolicy(deadline=5)
    assert some.audit is not None
    assert (some.audit.path, some.audit.key, some.audit.fail_closed) == (Path("/log"), None, False)
    assert Config.from_mapping({"retry": {}}).retry == RetryPolicy()


@pytest.mark.parametrize(
    "retry",
    [
        {"max_attempts": 0},
        {"initial_delay": -1},
        {"max_delay": -0.1},
        {"deadline": -5},
        {"deadline": float("nan")},
    ],
)
def test_a_retry_table_that_makes_no_sense(retry):
    """No negative times, and at least one attempt."""
    with pytest.raises(ConfigError, match=next(iter(retry))):
        Config.from_mapping({"retry": retry})


def test_which_provider_is_meant():
    """The named one, the default, or the only one."""
    two = {"one": {"type": "x"}, "two": {"type": "x"}}
    assert Config.from_mapping({"providers": two}).entry("two").name == "two"
    assert Config.from_mapping({"providers": two, "default": "one"}).entry().name == "one"
    assert Config.from_mapping({"providers": {"one": {"type": "x"}}}).entry().name == "one"
    with pytest.raises(ConfigError, match="has 2 providers, and no default") as caught:
        Config.from_mapping({"providers": two}).entry()
    assert "--provider" in caught.value.hint
    with pytest.raises(ConfigError, match="has no providers, and no default"):
        Config.from_mapping({}).entry()
    with pytest.raises(ConfigError, match="has no provider 'tow'") as caught:
        Config.from_mapping({"providers": two}).entry("tow")
    assert caught.value.hint == "Did you mean 'two'?"


def test_an_entry_is_shown_without_its_options():
    """They are not checked yet, and somebody may have written a secret there."""
    config = Config.from_mapping({"providers": {"p": {"type": "x", "pin": "hunter2"}}})
    assert repr(config.entry()) == "<ProviderEntry p of type x>"
    assert "hunter2" not in repr(config)


def test_a_provider_takes_its_time_from_the_clock_that_is_given():
    """The clock of the caller reaches the provider."""
    config = Config.from_mapping({"providers": {"p": {"type": "thing"}}})
    assert config.setting(config.entry(), TYPE, lambda: 5.0).clock() == 5.0


@pytest.mark.parametrize("given", [0, True, b"kms.toml", object(), ["kms.toml"]])
def test_what_is_no_configuration(given):
    """Said as what it is, by whoever is asked."""
    for read in (Config.load, Config.from_mapping, lambda given: connect(config=given)):
        with pytest.raises(ConfigError, match=f"a {type(given).__name__} is no configuration"):
            read(given)


@pytest.mark.parametrize("table", [{}, {"retry": {}}, {"audit": {}}, {"providers": {}}])
def test_names_that_are_no_strings(table):
    """TOML has none, but code may."""
    data: Any = {name: {1: 2} for name in table} or {1: 2}
    with pytest.raises(ConfigError, match=r"unknown key 1|1 cannot name a provider"):
        Config.from_mapping(data)
