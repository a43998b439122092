"""Files that the configuration names: relative ones count from its folder, ``~`` is a home."""

from __future__ import annotations

from pathlib import Path

from kmscore.errors import ConfigError


def named_path(name: str | Path, *, where: str, base: Path) -> Path:
    """The path that a value of the configuration means.

    Args:
        name: What stands there.
        where: The option, for errors.
        base: The folder that relative paths count from.

    Raises:
        ConfigError: No file can have that name, or it begins with a home that is not known.
    """
    if "\0" in str(name):
        raise ConfigError(f"{where} holds a zero byte, which no path can")
    try:
        return base / Path(name).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{where}: there is no home directory for {str(name)!r}",
            hint="Name the folder without ~",
        ) from error
