"""What is installed is found by its metadata alone."""

import sys
from importlib.metadata import entry_points

import pytest

from kmscore.discovery import Installed, Plugins, installed
from kmscore.errors import PluginError


def test_plugins_are_found_without_importing_them(install):
    """Neither listing nor using another plugin runs their code."""
    module = install("acme-kms", "acme", "raise SystemExit('imported')")
    assert Installed("acme", module, "", "acme-kms", "1.0") in installed()
    Plugins().provider_type("software")
    assert module not in sys.modules


def test_what_is_found_is_what_the_standard_library_finds(install_provider):
    """The metadata is read by hand, for speed: here against importlib.metadata."""
    install_provider("acme-kms", "acme")
    theirs = {
        Installed(each.name, each.module, each.attr or "", each.dist.name, each.dist.version)
        for each in entry_points(group="kmscore")
        if each.dist is not None
    }
    assert set(installed()) == theirs


def test_only_what_is_used_is_imported(install_provider):
    """Of two plugins the one whose type is named."""
    one, two = (install_provider(f"acme-{name}", name) for name in ("one", "two"))
    plugins = Plugins()
    assert plugins.provider_type("one").summary == "Holds nothing"
    assert one in sys.modules
    assert two not in sys.modules
    assert plugins.provider_type("one") is plugins.provider_type("one")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("[console_scripts]\nx = y\n", []),
        ("[kmscore]\n", []),
        ("[kmscore]\na = m\n", [("a", "m")]),
        ("[kmscore]\n# c = d\n; e = f\n\n  a  =  m.n  \nno entry\n", [("a", "m.n")]),
        ("[kmscore]\na = m:attribute\n", [("a", "m")]),
        ("[kmscore]\na = m [extra]\n", [("a", "m")]),
        ("[x]\na = m\n[kmscore]\nb = n\n[y]\nc = o\n", [("b", "n")]),
        ("[x]\na = [kmscore]\n", []),
    ],
)
def test_metadata_as_others_write_it(tmp_path, text, names):
    """Comments, spaces, attributes, extras, other groups."""
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(text)
    assert [(each.name, each.module) for each in installed([str(tmp_path)])] == names


def test_metadata_that_is_incomplete(tmp_path):
    """Old eggs have PKG-INFO; without any the folder's name serves; binary does no harm."""
    for folder, file, content in (
        ("egg.egg-info", "PKG-INFO", b"Name: egg\nVersion: 2\n"),
        ("none-1.dist-info", "RECORD", b""),
        ("odd.dist-info", "METADATA", b"Name: odd\xff\n"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_bytes(content)
        (tmp_path / folder / "entry_points.txt").write_text("[kmscore]\na = m\n")
    (tmp_path / "bare.dist-info").mkdir()
    (tmp_path / "file.dist-info").write_text("")
    assert [(each.distribution, each.version) for each in installed([str(tmp_path)])] == [
        ("egg", "2"),
        ("none-1.dist-info", ""),
        ("odd\ufffd", ""),
    ]


def test_a_path_may_hold_anything(tmp_path, monkeypatch, install_provider, site):
    """Archives, folders that are not there, the empty string for the working directory."""
    (tmp_path / "archive.zip").write_bytes(b"PK")
    install_provider("acme-kms", "acme")
    monkeypatch.chdir(site)
    path = [str(tmp_path / "archive.zip"), str(tmp_path / "missing"), ""]
    assert [each.name for each in installed(path)] == ["acme"]


def test_a_distribution_that_is_found_twice_counts_once(install_provider, tmp_path, site):
    """The first on the path is the one that Python would import."""
    (tmp_path / "second").mkdir()
    install_provider("acme-kms", "acme", version="1.0")
    install_provider("acme-kms", "acme", version="2.0", folder=tmp_path / "second")
    found = installed([str(site), str(tmp_path / "second")])
    assert [each.version for each in found] == ["1.0"]


def test_a_name_that_two_distributions_claim_is_refused(install_provider):
    """Both are named; neither is imported; others still work."""
    modules = [
        install_provider(f"{who}-kms", "shared", module=f"{who}_module", version=version)
        for who, version in (("acme", "1.0"), ("evil", "6.6"))
    ]
    plugins = Plugins()
    with pytest.raises(PluginError, match=r"claimed by acme-kms 1\.0 and evil-kms 6\.6"):
        plugins.provider_type("shared")
    problems = [each.problem for each in plugins.describe() if each.plugin.name == "shared"]
    assert all("claimed" in problem for problem in problems)
    assert len(problems) == 2
    assert not set(modules) & set(sys.modules)
    assert plugins.provider_type("software").name == "software"


def test_nobody_can_take_the_place_of_a_provider_that_is_there(install_provider):
    """A second plugin named software is a conflict, not a replacement."""
    install_provider("evil-kms", "software")
    with pytest.raises(PluginError, match=r"claimed by evil-kms 1\.0 and kmscore"):
        Plugins().provider_type("software")


def test_an_unknown_plugin_is_answered_with_the_nearest(install_provider):
    """Or with all that there are."""
    install_provider("acme-kms", "acme")
    with pytest.raises(PluginError, match="there is no plugin 'softwear'") as caught:
        Plugins().provider_type("softwear")
    assert caught.value.hint == "Did you mean 'software'?"
    with pytest.raises(PluginError) as caught:
        Plugins().load("zzz")
    assert "acme" in caught.value.hint
    assert "software" in caught.value.hint
