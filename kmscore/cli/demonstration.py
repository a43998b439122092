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

    Needs no configuration: it makes a keystore, or with --provider hsm a SoftHSM token, and throws
    it away. With --config, or a provider of the configuration that is found, it uses yours; keys
    that it makes there are named demo-… and scheduled for deletion.
    """
    from kmscore.config import find
    from kmscore.demo import MAKERS, run_demo

    nothing_named = session.config_file is None and session.provider is None
    nothing_found = session.config_file is None and find() is None
    if nothing_named or (nothing_found and session.provider in MAKERS):
        return 0 if run_demo(sys.stdout, provider=session.provider) else 1
    return 0 if run_demo(sys.stdout, session.config(), session.provider) else 1
