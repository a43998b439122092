"""What a command needs: the global options, the open provider, and keys by reference."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from kmscore.client import Kms
    from kmscore.config import Config
    from kmscore.key import Key

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of the operating system that mean: there is no room."""

Command = TypeVar("Command", bound=Callable[..., Any])


class Session:
    """The global options of one command line.

    Attributes:
        config_file: ``--config``, or None.
        provider: ``--provider``, or None.
        json: ``--json``: machines read the output.
        debug: ``--debug``: errors come with a traceback.
    """

    def __init__(self) -> None:
        self.config_file: str | None = None
        self.provider: str | None = None
        self.json = False
        self.debug = False
        self._opened: dict[str | None, Kms] = {}

    def config(self) -> Config:
        """The configuration."""
        from kmscore.config import Config

        return Config.load(self.config_file)

    def open(self, reference: str | None = None) -> Kms:
        """The provider that a key's reference names, or else the chosen or the default one.

        It is opened once, since its secret may be typed in, and closed when the command ends.
        """
        from kmscore.client import connect
        from kmscore.errors import InvalidRequest
        from kmscore.uri import parse_reference

        name = self.provider
        if reference is not None:
            named = parse_reference(reference).provider
            if named is not None and name not in (None, named):
                raise InvalidRequest(
                    f"{reference!r} names another provider than --provider {name}",
                    hint="Leave one of them out",
                )
            name = named or name
        kms = self._opened.get(name)
        if kms is None:
            opened = connect(name, config=self.config_file)
            kms = self._opened[name] = click.get_current_context().with_resource(opened)
            self._opened[kms.name] = kms
        return kms

    def key(self, reference: str) -> Key:
        """A key by id, alias or ``kms://provider/key``."""
        return self.open(reference).key(reference)

    def say(self, text: str) -> None:
        """A message for people; it never mixes with data."""
        if not self.json:
            click.echo(text, err=True)

    def show(self, value: Any, text: str) -> None:
        """The result: JSON for machines, text for people."""
        if self.json:
            import json

            text = json.dumps(value, ensure_ascii=False)
            # Names of files may be no text; escaped, machines still find them by it.
            click.echo(text if _can_be_written(text) else json.dumps(value))
        elif text:
            escaped = text.encode("ascii", "backslashreplace").decode()
            click.echo(text if _can_be_written(text) else escaped)


def _can_be_written(text: str) -> bool:
    """Whether standard output has all characters of a text, in the encoding of who reads it."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def session_of(context: click.Context) -> Session:
    """The session of a command."""
    return cast("Session", context.find_object(Session))


def pass_session(command: Command) -> Command:
    """Give a command its `Session` as first argument."""
    return cast("Command", click.make_pass_decorator(Session)(command))


def common_options(command: Command) -> Command:
    """The global options, which may stand before or after the command's name."""
    for option in (
        click.option(
            "--debug", is_flag=True, expose_value=False, callback=_store, help="Show tracebacks."
        ),
        click.option(
            "--json", is_flag=True, expose_value=False, callback=_store, help="Print JSON."
        ),
        click.option(
            "--provider",
            metavar="NAME",
            expose_value=False,
            callback=_store,
            help="Use this provider of the configuration.",
        ),
        click.option(
            "--config",
            "config_file",
            metavar="FILE",
            expose_value=False,
            callback=_store,
            help="Use this configuration file.",
        ),
    ):
        command = option(command)
    return command


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    # An empty name, as of a variable that is not set, is a mistake and not the default.
    if value not in (None, False) and parameter.name:
        setattr(session_of(context), parameter.name, value)
    if value is True and parameter.name == "debug":
        import logging

        logging.basicConfig()


def is_terminal(stream: Any) -> bool:
    """Whether a person looks at a stream; one that is closed is None."""
    return stream is not None and bool(stream.isatty())


def stdout_is_terminal() -> bool:
    """Whether a person looks at our output."""
    return is_terminal(sys.stdout)
