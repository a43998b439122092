"""A plugin that is wrong is told apart from kmscore, by name, and harms no other."""

import pytest

import kmscore
from kmscore.discovery import Plugins
from kmscore.errors import PluginError

BROKEN = {
    "fails": ("1 / 0", "cannot be imported: ZeroDivisionError", "defect of the plugin"),
    "ends": ("raise SystemExit(0)", "cannot be imported: SystemExit", "defect of the plugin"),
    "syntax": ("def", "cannot be imported: SyntaxError", "defect of the plugin"),
    "dependency": (
        "import nothing_of_that_name",
        "cannot be imported: nothing_of_that_name is missing",
        "Install what the plugin needs",
    ),
    "name": (
        "from kmscore.plugin import NothingOfThatName",
        "cannot be imported: cannot import name 'NothingOfThatName'",
        "Install what the plugin needs",
    ),
    "misspelt hook": (
        """
        from kmscore.hookspecs import hookimpl
        @hookimpl
        def kmscore_provider_type():
            return []
        """,
        "has a hook 'kmscore_provider_type', which does not exist",
        "hookspecs",
    ),
    "hook without its mark": (
        """
        def kmscore_provider_types():
            return []
        """,
        "has a hook 'kmscore_provider_types' without its mark",
        "kmscore.hookimpl",
    ),
    "hook of another name": (
        """
        from kmscore.hookspecs import hookimpl
        @hookimpl
        def provider_types():
            return []
        """,
        "does not implement its hooks as specified",
        "hookspecs",
    ),
    "unknown argument": (
        """
        from kmscore.hookspecs import hookimpl
        @hookimpl
        def kmscore_audit_event(event, secret):
            pass
        """,
        "does not implement its hooks as specified",
        "hookspecs",
    ),
    "other interface": (
        """
        from kmscore.hookspecs import hookimpl
        from kmscore.plugin import ProviderType
        @hookimpl
        def kmscore_provider_types():
            return [ProviderType("acme", "Old", lambda setting: None, (), 99)]
        """,
        "written for version 99 of the provider interface, and this kmscore has version",
        "belong together",
    ),
    "wrong type": (
        """
        from kmscore.hookspecs import hookimpl
        @hookimpl
        def kmscore_provider_types():
            return ["acme"]
        """,
        "returned a str",
        "ProviderType objects",
    ),
    "nothing": (
        """
        from kmscore.hookspecs import hookimpl
        @hookimpl
        def kmscore_provider_types():
            pass
        """,
        "failed with TypeError",
        "defect of the plugin",
    ),
    "hook fails": (
        """
        from kmscore.hookspecs import hookimpl
        @hookimpl
        def kmscore_provider_types():
            raise RuntimeError("hunter2")
        """,
        "failed with RuntimeError",
        "defect of the plugin",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_described(problem, name):
    """With its distribution, and what to do; the text of a foreign error is not shown."""
    code, message, hint = BROKEN[name]
    found = problem(code)
    assert "plugin 'acme' of acme-broken 1.0 " in found
    assert message in found
    assert hint in found
    assert "hunter2" not in found


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_hides_no_other(install, install_provider, name):
    """Those beside it are described and used; it fails alike whenever it is asked for."""
    install("acme-broken", "acme", BROKEN[name][0])
    install_provider("other-kms", "other")
    plugins = Plugins()
    described = {each.plugin.name: each for each in plugins.describe()}
    assert described["acme"].problem
    assert described["other"].problem == described["software"].problem == ""
    assert plugins.provider_type("other").name == "other"
    for _ in range(2):
        with pytest.raises(PluginError, match="acme-broken"):
            plugins.provider_type("acme")


def test_a_plugin_takes_no_type_from_another(install):
    """Whatever it returns: the type that a configuration names is that of the plugin so called."""
    install(
        "acme-kms",
        "acme",
        """
        from kmscore.hookspecs import hookimpl
        from kmscore.plugin import ProviderType
        @hookimpl
        def kmscore_provider_types():
            names = ("acme", "software")
            return [ProviderType(name, "Mine", lambda setting: None) for name in names]
        """,
    )
    plugins = Plugins()
    assert plugins.provider_type("acme").summary == "Mine"
    assert plugins.provider_type("software").summary != "Mine"
    (acme,) = (each for each in plugins.describe() if each.plugin.name == "acme")
    assert [kind.name for kind in acme.types] == ["acme"]


def test_a_package_that_a_plugin_of_others_lacks_is_no_extra_of_ours(install):
    """Where it is missed only when the provider opens, too."""
    install(
        "acme-kms",
        "acme",
        """
        from kmscore.hookspecs import hookimpl
        from kmscore.plugin import ProviderType
        def open(setting):
            import nothing_of_that_name
        @hookimpl
        def kmscore_provider_types():
            return [ProviderType("acme", "Mine", open)]
        """,
    )
    with pytest.raises(PluginError, match="nothing_of_that_name") as caught:
        kmscore.connect(config={"providers": {"one": {"type": "acme"}}})
    assert caught.value.hint == "Install what the plugin needs"


def test_the_first_cause_is_kept(install):
    """For whoever debugs the plugin."""
    install("acme-broken", "acme", "1 / 0")
    with pytest.raises(PluginError) as caught:
        Plugins().load("acme")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_missing_extra_is_named(install):
    """For a plugin of kmscore whose library is an extra; this one no distribution brings yet."""
    install("fake-kms", "conformance", "import nothing_of_that_name")
    with pytest.raises(PluginError) as caught:
        Plugins().load("conformance")
    assert caught.value.hint == "Install it with: pip install 'kmscore[conformance]'"


def test_a_plugin_that_brings_another_type_than_its_name(install):
    """What it brings is described; what was asked for is not there."""
    install(
        "acme-kms",
        "acme",
        """
        from kmscore.hookspecs import hookimpl
        from kmscore.plugin import ProviderType
        @hookimpl
        def kmscore_provider_types():
            return [ProviderType("acne", "Misnamed", lambda setting: None)]
        """,
    )
    plugins = Plugins()
    with pytest.raises(PluginError, match="brings no provider type 'acme'"):
        plugins.provider_type("acme")


def test_one_module_under_two_names_is_registered_once(install, site):
    """Pluggy refuses the second; the error says which plugin that is."""
    module = install("acme-kms", "acme", "")
    info = site / "acme_kms-1.0.dist-info"
    (info / "entry_points.txt").write_text(f"[kmscore]\nacme = {module}\nagain = {module}\n")
    plugins = Plugins()
    plugins.load("acme")
    plugins.load("acme")
    with pytest.raises(PluginError, match=r"'again' of acme-kms .* cannot be registered"):
        plugins.load("again")
