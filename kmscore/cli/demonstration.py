"""The command ``demo``."""

from __future__ import annotations

import sys

import click

from kmscore.cli.session import Session, common_options, pass_session


@click.command()
@common_options
@pass_session
def demo(session: Session) -> int:
    """Do the jobs of a key service for real, and have others check them.

    Needs no configuration: it makes a keystore and throws it away. With --config or --provider it
    uses yours; the keys that it makes there are named demo-… and scheduled for deletion.
    """
    from kmscore.demo import run_demo

    if session.config_file is None and session.provider is None:
        return 0 if run_demo(sys.stdout) else 1
    return 0 if run_demo(sys.stdout, session.config(), session.provider) else 1
