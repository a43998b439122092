"""The command ``kmscore serve``."""

from __future__ import annotations

import json
import math
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from kmscore.cli.session import Session, common_options, pass_session
from kmscore.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from kmscore_server.settings import Settings

_FILE: Final = click.Path(path_type=Path)
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z0-9]{1,16}){1,3}", re.ASCII)
_DECADES: Final = 1e9
"""Seconds, about 32 years: further away there are no times for some parts of a key store."""


class _Finite(click.FloatRange):
    """A range of numbers; ``nan`` is in none, though no comparison keeps it out."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


@click.group(invoke_without_command=True, subcommand_metavar="[COMMAND]")
@click.option("--credentials", type=_FILE, metavar="FILE", help="Who may send requests.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8200,
    show_default=True,
    help="Port; 0 for a free one.",
)
@click.option("--ready-file", type=_FILE, metavar="FILE", help="Written when it listens, as JSON.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that serve.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    help="Threads of each process for what takes long.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 100_000),
    default=500,
    show_default=True,
    help="Connections of each process at most.",
)
@click.option("--allow-remote", is_flag=True, help="Listen on an address that others can reach.")
@click.option("--tls-cert", type=_FILE, metavar="FILE", help="Certificate chain, in PEM.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="Private key, in PEM, of mode 0600.")
@click.option(
    "--edition",
    type=click.Choice(["FIPS", "SM"]),
    default="FIPS",
    show_default=True,
    help="Symmetric keys are AES-256 or SM4.",
)
@click.option(
    "--region",
    "regions",
    multiple=True,
    default=("ap-guangzhou",),
    show_default=True,
    help="Regions that there are; the first is that of requests that name none.",
)
@click.option("--owner", type=click.IntRange(1, 2**63 - 1), help="Account of keys made by others.")
@click.option("--state", type=_FILE, metavar="FILE", help="What the API keeps besides the keys.")
@click.option("--seed", type=_FILE, metavar="FILE", help="Keys to make at the start.")
@click.option(
    "--rotation-interval",
    type=click.IntRange(min=0),
    default=86400,
    show_default=True,
    metavar="SECONDS",
    help="Least time between two rotations of a key.",
)
@click.option("--key-limit", type=click.IntRange(min=0), help="Keys of an account at most.")
@click.option(
    "--data-key-limit", type=click.IntRange(min=0), help="Hosted data keys of an account at most."
)
@click.option(
    "--rate-limit",
    "rates",
    multiple=True,
    metavar="LIMIT",
    help="Such as 'Encrypt: 300' or '*: 100', in requests per second; or 'documented'.",
)
@click.option(
    "--fault", "faults", multiple=True, metavar="FAULT", help="Such as 'Encrypt: throttle 30%'."
)
@click.option("--fault-seed", type=int, help="Makes the faults the same each time.")
@click.option(
    "--clock-offset",
    type=_Finite(-_DECADES, _DECADES),
    default=0.0,
    metavar="SECONDS",
    help="Run the clock ahead.",
)
@click.option("--access-log", metavar="FILE", help="A line of JSON per request; - for stdout.")
@click.option(
    "--grace",
    type=_Finite(0, 3600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="What requests have when it ends.",
)
@common_options
@pass_session
def serve(session: Session, **options: Any) -> None:
    """Serve the Tencent KMS API (2019-01-18) over a provider.

    Runs until SIGTERM or SIGINT, and finishes what has begun.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    ready_file: Path | None = options.pop("ready_file")
    settings = _settings(session, options)
    if ready_file is not None:
        _require_folder("ready file", ready_file)
    run(settings, lambda listening: _announce(session, settings, listening, ready_file))


@serve.group()
def credentials() -> None:
    """Who may send requests."""


@credentials.command("new")
@click.argument("file", type=_FILE)
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    default=("all",),
    show_default=True,
    help="A permission that the file has; may be repeated.",
)
@click.option("--uin", type=click.IntRange(1, 2**63 - 1), help="The account.")
@click.option(
    "--hours", type=_Finite(0.001, _DECADES / 3600), help="Make it temporary, with a token to send."
)
@click.option("--seal", "seal_with", metavar="KEY", help="Seal the secret key under this key.")
@common_options
@pass_session
def new(
    session: Session,
    file: Path,
    permissions: tuple[str, ...],
    uin: int | None,
    hours: float | None,
    seal_with: str | None,
) -> None:
    """Make a credential, and add it to FILE, which is made when it is not there.

    The client's secret key is written to a file beside it.
    """
    from datetime import timedelta

    from kmscore_server.issuing import issue

    issued = issue(
        file,
        permissions,
        uin=uin,
        lifetime=None if hours is None else timedelta(hours=hours),
        seal_with=seal_with,
        seal=lambda key, secret, context: session.key(key).encrypt(secret, context=context),
    )
    facts = {
        "secret_id": issued.secret_id,
        "secret_file": str(issued.secret_file),
        "token_file": str(issued.token_file) if issued.token_file else None,
        "expires": issued.expires.isoformat() if issued.expires else None,
    }
    lines = [f"secret id:   {issued.secret_id}", f"secret key:  in {issued.secret_file}"]
    if issued.token_file is not None:
        lines += [f"token:       in {issued.token_file}", f"expires:     {facts['expires']}"]
    session.show(facts, "\n".join(lines))


def run(settings: Settings, announce: Callable[[socket.socket], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: What to serve, and how.
        announce: Called with the listening socket when requests are answered.

    Raises:
        KmsError: Something cannot be opened, or workers die again and again.
    """
    from kmscore_server.actions import ACTIONS
    from kmscore_server.metrics import Metrics
    from kmscore_server.rates import RateLimiter
    from kmscore_server.supervisor import Place, Supervisor
    from kmscore_server.worker import work

    tls = settings.tls()
    metrics = Metrics(ACTIONS, settings.workers)
    limiter = RateLimiter(settings.rates, ACTIONS, time.monotonic) if settings.rates else None
    with settings.listen() as listening:
        if settings.workers == 1:
            work(settings, listening, tls, metrics, limiter, lambda: announce(listening), Place())
            return
        Supervisor(
            settings.workers,
            lambda place, ready: work(settings, listening, tls, metrics, limiter, ready, place),
            grace=settings.grace,
            ready=lambda: announce(listening),
            ending=listening.close,
        ).run()


def _settings(session: Session, options: dict[str, Any]) -> Settings:
    from kmscore_server.faults import FaultScript
    from kmscore_server.rates import parse_rates
    from kmscore_server.settings import Settings

    if options["credentials"] is None:
        raise ConfigError(
            "nobody could use the server without credentials",
            hint="Make some with: kmscore serve credentials new FILE; then give --credentials FILE",
        )
    for region in options["regions"]:
        if not _REGION.fullmatch(region):
            raise ConfigError(f"{region!r} is no region", hint="For example: ap-guangzhou")
    # Mistakes are told before anything starts.
    script = FaultScript(options["faults"])
    options["rates"] = parse_rates(options["rates"])
    _require_actions("--fault", script.actions)
    _require_actions("--rate-limit", options["rates"])
    if options["state"] is not None:
        _require_folder("state file", options["state"])
    if options["owner"] is None:
        del options["owner"]
    return Settings(
        config=Path(session.config_file) if session.config_file is not None else None,
        provider=session.provider,
        **options,
    )


def _require_actions(option: str, names: Iterable[str]) -> None:
    """Refuse names of actions that there are not: nothing would ever come of them."""
    from difflib import get_close_matches

    from kmscore_server.actions import ACTIONS

    for name in sorted(names):
        if name != "*" and name not in ACTIONS:
            close = get_close_matches(name, ACTIONS, n=1)
            raise ConfigError(
                f"{option}: there is no action {name!r}",
                hint=f"Did you mean {close[0]!r}?" if close else "See the page on what it does",
            )


def _require_folder(what: str, path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"the {what} {path} has no folder to be in", hint="Make the folder first")


def _announce(
    session: Session, settings: Settings, listening: socket.socket, ready_file: Path | None
) -> None:
    host, port = listening.getsockname()[:2]
    scheme = "http" if settings.tls_cert is None else "https"
    shown = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{shown}:{port}"
    facts = {"url": url, "host": host, "port": port, "pid": os.getpid()}
    if ready_file is not None:
        draft = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        try:
            draft.write_text(json.dumps(facts) + "\n", encoding="utf-8")
            draft.replace(ready_file)
        except OSError as error:
            raise ConfigError(
                f"the ready file {ready_file} cannot be written: {error.strerror}",
                hint="Check the path and its mode",
            ) from error
    session.show(facts, f"listening on {url}")
