"""The exit codes of the command line, and which error has which."""

from __future__ import annotations

from typing import Final

from kmscore.errors import (
    AuthenticationFailed,
    ConfigError,
    KmsError,
    PluginError,
    Throttled,
    Timeout,
    Unavailable,
)

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
CONFIGURATION: Final = 3
WRONG: Final = 4
"""A signature, a log or a token's keys are wrong: it was checked, and that is the answer."""
UNAVAILABLE: Final = 5
INTERRUPTED: Final = 130


def exit_code(error: KmsError) -> int:
    """The exit code for an error of kmscore."""
    if isinstance(error, ConfigError | PluginError | AuthenticationFailed):
        return CONFIGURATION
    if isinstance(error, Unavailable | Timeout | Throttled):
        return UNAVAILABLE
    return FAILED
