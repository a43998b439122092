"""Distributions on disk, as an installer leaves them: a module, and metadata with entry points."""

import sys
import textwrap

import pytest

from kmscore.discovery import Plugins

PROVIDER = """
from kmscore.capabilities import Capabilities
from kmscore.hookspecs import hookimpl
from kmscore.plugin import ProviderType
from kmscore.spi import Health, Provider


class Empty(Provider):
    def capabilities(self):
        return Capabilities(keys=())

    def health(self):
        return Health(ok=True, message="fine")

    def close(self):
        pass


@hookimpl
def kmscore_provider_types():
    return [ProviderType(NAME, "Holds nothing", lambda setting: Empty())]
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder for distributions, first on the path; what was imported from it is forgotten."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def install(site):
    """Installs a distribution: ``install("acme-kms", "acme", "import sys")``."""

    def add(
        distribution, plugin, code, *, module=None, version="1.0", folder=site, group="kmscore"
    ):
        module = module or f"{plugin.replace('-', '_')}_module"
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n\nName: no\n"
        )
        target = module if group == "kmscore" else f"{module}:{plugin}"
        (info / "entry_points.txt").write_text(f"[{group}]\n{plugin} = {target}\n")
        return module

    return add


@pytest.fixture
def install_provider(install):
    """Installs a provider that works."""

    def add(distribution, plugin, **named):
        return install(distribution, plugin, f"NAME = {plugin!r}\n{PROVIDER}", **named)

    return add


@pytest.fixture
def problem(install):
    """Installs a plugin, and tells what is wrong with it."""

    def find(code):
        install("acme-broken", "acme", code)
        (described,) = (each for each in Plugins().describe() if each.plugin.name == "acme")
        return described.problem

    return find
