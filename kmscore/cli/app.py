"""The root of the command line: commands loaded when named, errors turned into exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from kmscore.cli.exit_codes import FAILED, INTERRUPTED, OK, UNAVAILABLE, USAGE, exit_code
from kmscore.cli.session import DISK_FULL, Session, common_options, session_of
from kmscore.errors import ConfigError, KmsError

if TYPE_CHECKING:
    from kmscore.discovery import Plugins

COMMANDS: Final = {
    "audit": "auditing:audit",
    "config": "configuration:config",
    "csr": "certificates:csr",
    "data-key": "symmetric:data_key",
    "decrypt": "symmetric:decrypt",
    "demo": "demonstration:demo",
    "doctor": "overview:doctor",
    "encrypt": "symmetric:encrypt",
    "envelope": "envelopes:envelope",
    "keys": "keys:keys",
    "providers": "overview:providers",
    "public-key": "signatures:public_key",
    "random": "symmetric:random",
    "re-encrypt": "symmetric:re_encrypt",
    "sign": "signatures:sign",
    "verify": "signatures:verify",
}


class LazyGroup(click.Group):
    """Loads the module of a command when the command is named, and plugins when it is unknown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands of kmscore, those installed beside it, and those of configured plugins."""
        from kmscore.discovery import installed_commands

        self._add_plugin_commands(ctx)
        return sorted({*COMMANDS, *installed_commands(), *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by name."""
        place = COMMANDS.get(cmd_name)
        if place is not None:
            from importlib import import_module

            module, _, attribute = place.partition(":")
            command: click.Command = getattr(import_module(f"kmscore.cli.{module}"), attribute)
            return command
        try:
            from kmscore.discovery import load_command

            found = load_command(cmd_name)
        except KmsError as error:
            return _broken(cmd_name, error)
        if found is not None:
            return found
        self._add_plugin_commands(ctx)
        return self.commands.get(cmd_name)

    def _add_plugin_commands(self, ctx: click.Context) -> None:
        """Let plugins add commands; their trouble must not take the others' help away."""
        if ctx.meta.get("kmscore.plugins"):
            return
        ctx.meta["kmscore.plugins"] = True
        try:
            plugins = _configured_plugins(session_of(ctx))
            plugins.hook.kmscore_register_commands(group=self)
        except ConfigError:
            return
        except KmsError as error:
            click.echo(f"warning: {error}", err=True)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises
            text = f"a plugin could not add its commands: {type(error).__name__}"
            click.echo(f"warning: {text}", err=True)


def _broken(name: str, error: KmsError) -> click.Command:
    """Stands for a command that cannot be loaded: the help stays whole, and its use says why."""

    def refuse() -> None:
        raise error

    anything = click.Argument(["words"], nargs=-1, expose_value=False, type=click.UNPROCESSED)
    return click.Command(
        name,
        context_settings={"ignore_unknown_options": True},
        callback=refuse,
        params=[anything],
        help=f"Not available: {error.message}.",
    )


def _configured_plugins(session: Session) -> Plugins:
    from kmscore.discovery import Plugins

    plugins = Plugins()
    config = session.config()
    for name in config.plugins:
        plugins.load(name)
    for entry in config.providers.values():
        plugins.provider_type(entry.type)
    return plugins


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration or credentials, "
    "4 signature, log or token wrong, 5 provider unavailable, 130 interrupted.",
)
@common_options
@click.version_option(package_name="kmscore", message="kmscore %(version)s")
def app() -> None:
    """One crypto API over any key store.

    Keys are named by id, by alias, or as kms://provider/key.
    """


def run(arguments: list[str]) -> int:
    """Run a command line; returns the exit code, and writes errors to stderr."""
    session = Session()
    try:
        result = app.main(arguments, "kmscore", standalone_mode=False, obj=session)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.UsageError as error:
        # An option that click does not know kept it from looking at the others.
        session.json = session.json or "--json" in arguments
        return _usage(error, session)
    except click.ClickException as error:
        return _report(error.message, "", session, FAILED)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - above this there is nobody
        if session.debug:
            import traceback

            traceback.print_exception(error)
        if isinstance(error, KmsError):
            return _kms_error(error, session)
        if isinstance(error, OSError):
            return _os_error(error, session)
        text = f"unexpected {type(error).__name__}"
        return _report(text, "This is a defect: run again with --debug", session, FAILED)
    return result if isinstance(result, int) else OK


def _usage(error: click.UsageError, session: Session) -> int:
    hint = ""
    if error.ctx is not None:
        hint = f"Try: {error.ctx.command_path} --help"
    return _report(error.format_message(), hint, session, USAGE)


def _kms_error(error: KmsError, session: Session) -> int:
    if session.json:
        _json(type(error).__name__, error)
    else:
        hint, error.hint = error.hint, ""
        click.echo(f"error: {error}", err=True)
        if hint:
            click.echo(f"hint: {hint}", err=True)
    return exit_code(error)


def _os_error(error: OSError, session: Session) -> int:
    """Trouble with a file, or with standard output, which has no name."""
    text = f"{error.filename or 'standard output'}: {error.strerror}"
    return _report(text, "", session, UNAVAILABLE if error.errno in DISK_FULL else FAILED)


def _report(message: str, hint: str, session: Session, code: int) -> int:
    if session.json:
        _json("Usage" if code == USAGE else "Error", KmsError(message, hint=hint))
    else:
        click.echo(f"error: {message}", err=True)
        if hint:
            click.echo(f"hint: {hint}", err=True)
    return code


def _json(kind: str, error: KmsError) -> None:
    import json

    names = ("message", "hint", "provider", "operation", "key", "code", "request_id")
    fields = {name: getattr(error, name) for name in names}
    click.echo(json.dumps({"error": {"type": kind, **fields}}), err=True)
