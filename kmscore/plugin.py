"""How a plugin presents a provider: its name, its options as data, and what opens it."""

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from kmscore.spi import SPI_VERSION, Provider


class OptionKind(StrEnum):
    """What the value of an option must be."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    PATH = "path"
    """A file name; relative ones count from the folder of the configuration file."""
    SECRET = "secret"
    """A reference: such as ``{ env = "NAME" }``: see `kmscore.secret`."""
    STRINGS = "strings"
    """A list of strings."""
    TABLE = "table"
    """A table with options of its own."""


class Option(NamedTuple):
    """One option of a provider, for checking, for documentation and for the JSON Schema.

    Attributes:
        name: The key in the configuration.
        help: One sentence.
        kinds: What the value may be; the first that fits is taken.
        required: Whether it must be there.
        default: What holds when it is not.
        choices: The strings that are allowed, where only some are.
        options: The options of a TABLE.
    """

    name: str
    help: str
    kinds: tuple[OptionKind, ...] = (OptionKind.STRING,)
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    options: "tuple[Option, ...]" = ()


class Secret:
    """A secret by reference: read when it is needed, never shown.

    Args:
        source: Where it comes from, for people, such as ``env KMSCORE_ROOT_KEY``.
        read: Fetches it; raises ConfigError with what to do when it cannot.
        keeper: Name of the provider that must decrypt it, or empty.
    """

    __slots__ = ("_read", "keeper", "source")

    def __init__(self, source: str, read: Callable[[], bytes], keeper: str = "") -> None:
        self.source = source
        self.keeper = keeper
        self._read = read

    def reveal(self) -> bytes:
        """The secret itself.

        Raises:
            ConfigError: It cannot be read.
        """
        return self._read()

    def __repr__(self) -> str:
        return f"<Secret from {self.source}>"


class Setting(NamedTuple):
    """What a provider is opened with.

    Attributes:
        name: The configured name of the provider.
        options: Checked values by option name, defaults filled in: paths are absolute
            `pathlib.Path`s, secrets are `Secret`s, tables are mappings.
        clock: Seconds since the epoch; providers take the time from nowhere else.
    """

    name: str
    options: Mapping[str, Any]
    clock: Callable[[], float] = time.time


class ProviderType(NamedTuple):
    """A kind of provider, as the hook `kmscore_provider_types` returns it.

    Attributes:
        name: The word after ``type =`` in the configuration.
        summary: One sentence.
        open: Makes a provider from its settings. Heavy libraries are imported in here.
        options: Every option that it understands; any other is refused.
        spi_version: The SPI that the provider was written for.
    """

    name: str
    summary: str
    open: Callable[[Setting], Provider]
    options: tuple[Option, ...] = ()
    spi_version: int = SPI_VERSION


ENTRY_POINT_GROUP: Final = "kmscore"
"""Entry points of plugins: modules that hold hooks."""

COMMAND_GROUP: Final = "kmscore.commands"
"""Entry points of commands that are there as soon as their distribution is installed."""
