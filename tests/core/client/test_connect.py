"""Opening a provider: by name, by URI, from a file, from a mapping; and what can go wrong."""

import pytest

import kmscore
from kmscore.capabilities import Capabilities
from kmscore.config import Config
from kmscore.errors import ConfigError, InternalError, KeyNotFound, PluginError, Unsupported
from kmscore.plugin import ProviderType
from kmscore.spi import Provider


@pytest.fixture
def content(tmp_path):
    """A configuration with two providers."""
    return {
        "default": "one",
        "providers": {
            name: {
                "type": "software",
                "path": str(tmp_path / f"{name}.db"),
                "root_key": lambda: b"r" * 32,
            }
            for name in ("one", "two")
        },
    }


@pytest.mark.parametrize("name", [None, "one", "kms://one"])
def test_a_provider_is_opened_by_name_or_uri(content, name):
    """Or it is the default."""
    with kmscore.connect(name, config=content) as kms:
        assert kms.name == "one"
        assert repr(kms) == "<Kms 'one'>"


def test_a_provider_is_opened_from_a_file(tmp_path, monkeypatch):
    """By path, as text or as a Path, or as a Config."""
    monkeypatch.setenv("ROOT", "ab" * 32)
    file = tmp_path / "kms.toml"
    file.write_text(
        '[providers.dev]\ntype = "software"\npath = "keystore.db"\nroot_key = { env = "ROOT" }\n'
    )
    for config in (file, str(file), Config.load(file)):
        with kmscore.connect(config=config) as kms:
            assert kms.name == "dev"
    assert (tmp_path / "keystore.db").exists()


def test_the_same_code_serves_any_provider(content):
    """Which one is a word of configuration."""
    for name in ("one", "two"):
        with kmscore.connect(name, config=content) as kms:
            key = kms.create_key("AES_256", alias="orders")
            assert key.provider_name == name
            assert kms.key("orders").decrypt(key.encrypt(b"x")) == b"x"
            assert len(kms.generate_random(16)) == 16


def test_keys_of_one_provider_are_not_in_the_other(content):
    """Each has its own store."""
    with kmscore.connect("one", config=content) as kms:
        key = kms.create_key("AES_256")
    with kmscore.connect("two", config=content) as kms, pytest.raises(KeyNotFound):
        kms.key(key.key_id)


def test_an_audit_log_is_kept_when_configured(content, tmp_path):
    """One record for each operation, readable by the verifier."""
    from kmscore.audit import verify_log

    content["audit"] = {"path": str(tmp_path / "audit.jsonl"), "key": lambda: b"k" * 32}
    with kmscore.connect("one", config=content) as kms:
        kms.create_key("AES_256")
    settings = Config.from_mapping(content).audit
    assert settings is not None
    report = verify_log(tmp_path / "audit.jsonl", key=settings.key)
    assert report.ok
    assert report.records == 2


def test_an_unknown_provider_is_answered_with_the_nearest(content):
    """Typing errors are the commonest."""
    with pytest.raises(ConfigError) as caught:
        kmscore.connect("onee", config=content)
    assert "'one'" in caught.value.hint


@pytest.mark.parametrize(
    ("failure", "error", "text"),
    [
        (ModuleNotFoundError("no", name="vendor_sdk"), PluginError, "vendor_sdk"),
        (RuntimeError("password=hunter2"), PluginError, "RuntimeError"),
        (Unsupported("no SM2 here"), Unsupported, "no SM2 here"),
    ],
)
def test_a_provider_that_does_not_open_says_why(content, monkeypatch, failure, error, text):
    """A missing package with the extra that brings it; a foreign error without its text."""

    def refuse(setting):
        raise failure

    broken = ProviderType("software", "broken", refuse, options=())
    monkeypatch.setattr("kmscore.discovery.Plugins.provider_type", lambda *_: broken)
    content["providers"]["one"] = {"type": "software"}
    with pytest.raises(error, match=text) as caught:
        kmscore.connect("one", config=content)
    assert "hunter2" not in str(caught.value)
    assert caught.value.provider == "one"


class Careless(Provider):
    """A provider that was written without a type checker."""

    closed = False

    def capabilities(self):
        return {}

    def health(self):
        raise RuntimeError("password=hunter2")

    def close(self):
        self.closed = True


@pytest.mark.parametrize("opened", [None, Careless()])
def test_what_opens_and_is_no_provider_is_named(content, monkeypatch, opened):
    """Neither `connect` nor `kmscore doctor` falls over it, and it is given back."""
    broken = ProviderType("software", "broken", lambda setting: opened, options=())
    monkeypatch.setattr("kmscore.discovery.Plugins.provider_type", lambda *_: broken)
    content["providers"]["one"] = {"type": "software"}
    with pytest.raises(PluginError, match="'software'") as caught:
        kmscore.connect("one", config=content)
    assert caught.value.provider == "one"
    assert opened is None or opened.closed


class Failing(Careless):
    """A provider that opens, and fails afterwards."""

    def capabilities(self):
        return Capabilities(keys=())

    def close(self):
        raise RuntimeError("password=hunter2")


def test_a_provider_that_fails_is_told_of_without_its_words(content, monkeypatch):
    """At its health, which is asked of several, and when it is closed."""
    broken = ProviderType("software", "broken", lambda setting: Failing(), options=())
    monkeypatch.setattr("kmscore.discovery.Plugins.provider_type", lambda *_: broken)
    content["providers"]["one"] = {"type": "software"}
    kms = kmscore.connect("one", config=content)
    health = kms.health()
    assert not health.ok
    assert health.message == "the provider failed with RuntimeError"
    with pytest.raises(InternalError, match=r"one close: .* RuntimeError") as caught:
        kms.close()
    assert "hunter2" not in str(caught.value)


def test_a_health_that_is_none_is_no_good_health(content, monkeypatch):
    """Of a provider that returns something else."""
    kms = kmscore.connect("one", config=content)
    monkeypatch.setattr(kms.provider, "health", lambda: None)
    assert not kms.health().ok
    kms.close()


def test_names_that_the_package_lacks_are_attribute_errors():
    """As for any module."""
    with pytest.raises(AttributeError, match="nonsense"):
        _ = kmscore.nonsense
    assert "connect" in dir(kmscore)
    assert set(dir(kmscore)) == set(kmscore.__all__)
    for name in kmscore.__all__:
        assert getattr(kmscore, name) is not None
