"""The JSON Schema of ``kms.toml`` says what the reader says."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kmscore.config import CORE, Config
from kmscore.discovery import Plugins
from kmscore.errors import KmsError
from kmscore.plugin import Option, OptionKind, ProviderType
from kmscore.schema import config_schema

THING = ProviderType(
    "thing",
    "Has an option of every kind",
    lambda setting: None,  # type: ignore[arg-type, return-value]
    (
        *(Option(f"a_{kind}", "Help.", (kind,)) for kind in OptionKind),
        Option("choice", "Help.", choices=("fast", "slow"), default="fast"),
        Option("either", "Help.", (OptionKind.STRING, OptionKind.INTEGER)),
        Option(
            "sub",
            "Help.",
            (OptionKind.TABLE,),
            options=(Option("needed", "Help.", required=True), Option("spare", "Help.")),
        ),
    ),
)
TYPES = {"thing": THING, "software": Plugins().provider_type("software")}
SCHEMA = config_schema(TYPES.values())
VALIDATOR = Draft202012Validator(SCHEMA)

# A whole number with a point is an integer to JSON and none to TOML: they are left out.
NUMBERS = st.sampled_from([0.5, 2.25]) | st.integers(1, 99)
SECRETS = st.sampled_from(["env", "file", "prompt", "value"]).flatmap(
    lambda kind: st.fixed_dictionaries({kind: st.sampled_from(["NAME", "", 5])})
)
JUNK = st.sampled_from(["", "text", 7, 0.5, True, [], ["a"], [1], {}, {"env": "A", "file": "B"}])
SOUND: dict[OptionKind, st.SearchStrategy[Any]] = {
    OptionKind.STRING: st.sampled_from(["", "text"]),
    OptionKind.INTEGER: st.integers(1, 99),
    OptionKind.NUMBER: NUMBERS,
    OptionKind.BOOLEAN: st.booleans(),
    OptionKind.PATH: st.sampled_from(["a/b", "/c"]),
    OptionKind.SECRET: SECRETS,
    OptionKind.STRINGS: st.lists(st.just("x"), max_size=2),
    OptionKind.TABLE: st.just({"any": 1}),
}


def value(option: Option) -> st.SearchStrategy[Any]:
    """Mostly what the option wants."""
    if option.choices:
        sound: st.SearchStrategy[Any] = st.sampled_from([*option.choices, "other"])
    elif option.options:
        sound = table(option.options)
    else:
        sound = st.one_of([SOUND[kind] for kind in option.kinds])
    return st.one_of(sound, sound, sound, sound, JUNK)


def table(options: tuple[Option, ...], **fixed: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the options, now and then an unknown one."""
    optional = {option.name: value(option) for option in options}
    unknown = st.sampled_from([{}, {}, {}, {}, {"unknown": 1}])
    drawn = st.fixed_dictionaries(fixed, optional=optional)
    return st.builds(lambda known, more: known | more, drawn, unknown)


PROVIDER = st.one_of([table(kind.options, type=st.just(name)) for name, kind in TYPES.items()])
PROVIDERS = st.dictionaries(
    st.sampled_from(["dev", "h-s_m", "9", "-a", "a b", ""]), PROVIDER | JUNK, max_size=2
)
CONFIGURATION = st.builds(
    lambda core, providers: core | ({} if providers is None else {"providers": providers}),
    table(tuple(each for each in CORE if each.name not in ("default", "providers"))),
    st.none() | PROVIDERS,
)


def accepted(data) -> bool:
    """What the reader says."""
    try:
        config = Config.from_mapping(data)
        for entry in config.providers.values():
            config.setting(entry, TYPES[entry.type])
    except KmsError:
        return False
    return True


def test_it_is_a_schema():
    """Also where nothing is installed."""
    Draft202012Validator.check_schema(SCHEMA)
    nothing = config_schema([])
    Draft202012Validator.check_schema(nothing)
    assert not Draft202012Validator(nothing).is_valid({"providers": {"a": {"type": "software"}}})
    assert Draft202012Validator(nothing).is_valid({"retry": {"deadline": 5}})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONFIGURATION)
@example({"providers": {"dev": {"type": "software", "path": "k", "root_key": {"env": "A"}}}})
@example({"providers": {"dev": {"type": "software", "path": "k", "root_key": "inline"}}})
@example({"providers": {"dev": {"type": "software", "path": ""}}})
@example({"providers": {"dev": {"path": "k"}}})
@example({"audit": {"path": "log", "key": {"file": "k"}, "fail_closed": True}})
@example({"audit": {"fail_closed": True}})
def test_it_accepts_what_the_reader_accepts(data):
    """And nothing else, for any mixture of right and wrong."""
    assert VALIDATOR.is_valid(data) == accepted(data)


@pytest.mark.parametrize("name", ["software", "thing"])
def test_it_explains_every_option(name):
    """What an editor shows: help, defaults and choices."""
    tables = SCHEMA["properties"]["providers"]["additionalProperties"]["oneOf"]
    (shown,) = (each for each in tables if each["properties"]["type"]["const"] == name)
    assert shown["description"] == TYPES[name].summary
    for option in TYPES[name].options:
        described = shown["properties"][option.name]
        assert described["description"] == option.help
        assert described.get("default") == option.default
        assert tuple(described.get("enum", ())) == option.choices


def test_secrets_are_references_in_it():
    """An editor marks a secret that is written into the file."""
    wrong = {"providers": {"d": {"type": "thing", "a_secret": "hunter2"}}}
    assert not VALIDATOR.is_valid(wrong)
    assert VALIDATOR.is_valid({"providers": {"d": {"type": "thing", "a_secret": {"env": "A"}}}})
