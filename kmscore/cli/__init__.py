"""The command line ``kmscore``; what can be answered at once is answered before all is loaded."""

from __future__ import annotations

import gc
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0 ok, 1 the operation failed, 2 usage, 3 configuration or credentials, 4 a signature, log or
    token is wrong, 5 the provider is unavailable, 130 interrupted.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--version"] and _tell_version():
        return 0
    # A process that lives for a moment has no garbage worth looking for, at its end least of all.
    gc.set_threshold(50_000)
    try:
        from kmscore.cli.app import run

        return run(given)
    except KeyboardInterrupt:
        return 130
    finally:
        gc.freeze()


def _tell_version() -> bool:
    """Whether it could be written; trouble with standard output is told where all is loaded."""
    from kmscore import __version__

    try:
        sys.stdout.write(f"kmscore {__version__}\n")
        sys.stdout.flush()
    except (OSError, AttributeError):  # it is full, or None where it was closed
        return False
    return True
