"""Plugins: what is installed, found without importing it, and loaded when the configuration asks.

Providers are found by the entry-point group ``kmscore``, in-tree ones as anybody else's. The
metadata is read by hand: `importlib.metadata` alone would double the time that a command takes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kmscore.errors import PluginError
from kmscore.plugin import COMMAND_GROUP, ENTRY_POINT_GROUP, ProviderType
from kmscore.spi import SPI_VERSION

if TYPE_CHECKING:
    from types import ModuleType

    import click
    import pluggy

_SUFFIXES: Final = (".dist-info", ".egg-info")
_EXTRAS: Final = frozenset({"conformance", "pkcs11", "tencent"})
"""Extras of kmscore that are named like the plugins that need them."""


class Installed(NamedTuple):
    """An entry point.

    Attributes:
        name: Its name; for a provider, the type in the configuration.
        module: The module that holds its hooks, or its command.
        attribute: What of the module is meant; empty for all of it.
        distribution: The distribution that brought it.
        version: That distribution's version.
    """

    name: str
    module: str
    attribute: str
    distribution: str
    version: str


class Description(NamedTuple):
    """What `Plugins.describe` says of a plugin.

    Attributes:
        plugin: The entry point.
        types: The provider type that it brings, if it does.
        problem: Why it cannot be used, or empty.
    """

    plugin: Installed
    types: tuple[ProviderType, ...]
    problem: str


def installed(
    path: Iterable[str] | None = None, group: str = ENTRY_POINT_GROUP
) -> tuple[Installed, ...]:
    """Every entry point of the group, in the order of ``sys.path``; nothing is imported.

    A distribution that is found twice, as an editable one beside its metadata, counts once.
    """
    found: list[Installed] = []
    seen: set[str] = set()
    for folder in sys.path if path is None else path:
        for info in _metadata_folders(folder or "."):
            text = _read(os.path.join(info, "entry_points.txt"))  # noqa: PTH118 - pathlib is slow
            if f"[{group}]" not in text:
                continue
            distribution, version = _identity(info)
            if distribution in seen:
                continue
            seen.add(distribution)
            found += [
                Installed(name, module, attribute, distribution, version)
                for name, module, attribute in _entry_points(text, group)
            ]
    return tuple(found)


def installed_commands() -> tuple[str, ...]:
    """Names of the commands that installed distributions bring; nothing is imported."""
    return tuple(sorted({found.name for found in installed(group=COMMAND_GROUP)}))


def load_command(name: str) -> click.Command | None:
    """A command that an installed distribution brings, or None.

    Raises:
        PluginError: Two distributions claim the name, or it cannot be imported.
    """
    import click

    claims = [found for found in installed(group=COMMAND_GROUP) if found.name == name]
    if not claims:
        return None
    plugin = _only(claims, f"the command {name!r}")
    found = getattr(_imported(plugin), plugin.attribute, None)
    if not isinstance(found, click.Command):
        raise PluginError(
            f"plugin {_shown(plugin)} has no command {plugin.attribute!r}",
            hint="Its entry point must name a click command: module:command",
        )
    return found


class Plugins:
    """The plugins of one process: each is imported when it is first asked for."""

    def __init__(self) -> None:
        self._installed = installed()
        self._modules: dict[str, ModuleType] = {}
        self._types: dict[str, ProviderType] = {}
        self._manager: pluggy.PluginManager | None = None

    @property
    def hook(self) -> Any:
        """The relay to the hooks of the plugins that are loaded."""
        return self._plugin_manager().hook

    @property
    def has_audit_subscribers(self) -> bool:
        """Whether a loaded plugin listens for audit events."""
        return bool(self.hook.kmscore_audit_event.get_hookimpls())

    def provider_type(self, name: str) -> ProviderType:
        """The provider type of that name; its plugin is imported now.

        Raises:
            PluginError: It is not installed, broken, written for another SPI, or brings no such
                type; the text names the distribution and what to do.
        """
        if name not in self._types:
            plugin = self._find(name)
            for kind in self._types_of(plugin):
                self._types[name] = kind
            if name not in self._types:
                raise PluginError(
                    f"plugin {_shown(plugin)} brings no provider type {name!r}",
                    hint="Its hook kmscore_provider_types must return one of the plugin's name",
                )
        return self._types[name]

    def load(self, name: str) -> None:
        """Import a plugin and register its hooks.

        Raises:
            PluginError: It is not installed, or broken.
        """
        self._register(self._find(name))

    def describe(self) -> tuple[Description, ...]:
        """Every installed plugin, imported; a broken one is described, and hides no other."""
        described: list[Description] = []
        for plugin in self._installed:
            try:
                self._find(plugin.name)
                described.append(Description(plugin, self._types_of(plugin), ""))
            except PluginError as error:
                described.append(Description(plugin, (), str(error)))
        return tuple(described)

    def _find(self, name: str) -> Installed:
        claims = [plugin for plugin in self._installed if plugin.name == name]
        if claims:
            return _only(claims, f"the plugin name {name!r}")
        import difflib

        names = sorted({plugin.name for plugin in self._installed})
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Installed: {', '.join(names)}"
        raise PluginError(f"there is no plugin {name!r}", hint=hint)

    def _types_of(self, plugin: Installed) -> tuple[ProviderType, ...]:
        module = self._register(plugin)
        hook = getattr(module, "kmscore_provider_types", None)
        if hook is None:
            return ()
        try:
            types: Any = list(hook())
        except Exception as error:
            raise PluginError(
                f"plugin {_shown(plugin)} failed with {type(error).__name__}",
                hint="This is a defect of the plugin: please report it there",
            ) from error
        for kind in types:
            if not isinstance(kind, ProviderType):
                raise PluginError(
                    f"plugin {_shown(plugin)} returned a {type(kind).__name__}",
                    hint="kmscore_provider_types must return ProviderType objects",
                )
            if kind.spi_version != SPI_VERSION:
                raise PluginError(
                    f"plugin {_shown(plugin)} was written for version {kind.spi_version} of the "
                    f"provider interface, and this kmscore has version {SPI_VERSION}",
                    hint="Install versions of the two that belong together",
                )
        # A type of another name belongs to the plugin that is called so.
        return tuple(kind for kind in types if kind.name == plugin.name)

    def _register(self, plugin: Installed) -> ModuleType:
        if plugin.name in self._modules:
            return self._modules[plugin.name]
        module = _imported(plugin)
        manager = self._plugin_manager()
        try:
            self._refuse_unknown_hooks(module, plugin)
            manager.register(module, plugin.name)
            manager.check_pending()
        except ValueError as error:
            raise PluginError(f"plugin {_shown(plugin)} cannot be registered") from error
        except Exception as error:
            if manager.has_plugin(plugin.name):
                manager.unregister(name=plugin.name)
            if isinstance(error, PluginError):
                raise
            raise PluginError(
                f"plugin {_shown(plugin)} does not implement its hooks as specified: {error}",
                hint="Compare it with kmscore.hookspecs",
            ) from error
        self._modules[plugin.name] = module
        return module

    def _plugin_manager(self) -> pluggy.PluginManager:
        if self._manager is None:
            import pluggy

            from kmscore import hookspecs

            self._manager = pluggy.PluginManager(hookspecs.PROJECT)
            self._manager.add_hookspecs(hookspecs)
        return self._manager

    def _refuse_unknown_hooks(self, module: ModuleType, plugin: Installed) -> None:
        # pluggy looks at functions that carry its mark alone: a hook whose mark was forgotten
        # would never be called.
        from kmscore import hookspecs

        for name, value in vars(module).items():
            if not name.startswith("kmscore_") or not callable(value):
                continue
            if not hasattr(hookspecs, name):
                raise PluginError(
                    f"plugin {_shown(plugin)} has a hook {name!r}, which does not exist",
                    hint="Compare it with kmscore.hookspecs",
                )
            if not hasattr(value, f"{hookspecs.PROJECT}_impl"):
                raise PluginError(
                    f"plugin {_shown(plugin)} has a hook {name!r} without its mark",
                    hint="Decorate it with kmscore.hookimpl",
                )


def missing_package(name: str) -> str:
    """What to do where a plugin lacks a package."""
    if name in _EXTRAS:
        return f"Install it with: pip install 'kmscore[{name}]'"
    return "Install what the plugin needs"


def _only(claims: list[Installed], what: str) -> Installed:
    if len(claims) > 1:
        who = " and ".join(f"{claim.distribution} {claim.version}" for claim in claims)
        raise PluginError(f"{what} is claimed by {who}", hint="Uninstall one of them")
    return claims[0]


def _imported(plugin: Installed) -> ModuleType:
    try:
        return import_module(plugin.module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        reason = f"{error.name} is missing" if missing else str(error)
        raise PluginError(
            f"plugin {_shown(plugin)} cannot be imported: {reason}",
            hint=missing_package(plugin.name),
        ) from error
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"plugin {_shown(plugin)} cannot be imported: {type(error).__name__}",
            hint="This is a defect of the plugin: please report it there",
        ) from error


def _shown(plugin: Installed) -> str:
    return f"{plugin.name!r} of {plugin.distribution} {plugin.version}"


def _metadata_folders(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(_SUFFIXES)]
    except OSError:
        # Entries of sys.path may be archives, or not exist.
        return
    for name in sorted(names):
        yield os.path.join(folder, name)  # noqa: PTH118


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


def _identity(info: str) -> tuple[str, str]:
    name = version = ""
    for metadata in ("METADATA", "PKG-INFO"):
        for line in _read(os.path.join(info, metadata)).splitlines():  # noqa: PTH118
            if not line:
                break
            field, _, value = line.partition(": ")
            if field == "Name":
                name = value
            elif field == "Version":
                version = value
        if name:
            break
    return name or os.path.basename(info), version  # noqa: PTH119


def _entry_points(text: str, group: str) -> Iterator[tuple[str, str, str]]:
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            section = line.strip("[]").strip()
        elif section == group and "=" in line:
            name, _, target = line.partition("=")
            # A target may name an attribute and extras: module:object [extra].
            module, _, attribute = target.split("[")[0].partition(":")
            yield name.strip(), module.strip(), attribute.strip()
