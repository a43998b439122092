"""The command ``demo``."""

from __future__ import annotations

import io
import sys

import click

from kmscore.cli.exit_codes import FAILED, OK
from kmscore.cli.session import Session, common_options, pass_session


@click.command()
@common_options
@pass_session
def demo(session: Session) -> int:
    """Do the jobs of a key service for real, and have others check them.

    Needs no configuration: it makes a keystore, with --provider hsm a SoftHSM token, or with
    --provider cloud-local a server of the Tencent KMS API, and throws it away. With --config, or a
    provider of the configuration that is found, it uses yours; keys that it makes there are named
    demo-… and scheduled for deletion.
    """
    from kmscore.config import find
    from kmscore.demo import MAKERS, run_demo

    out = io.StringIO() if session.json else sys.stdout
    nothing_named = session.config_file is None and session.provider is None
    nothing_found = session.config_file is None and find() is None
    if nothing_named or (nothing_found and session.provider in MAKERS):
        checks = run_demo(out, provider=session.provider)
    else:
        checks = run_demo(out, session.config(), session.provider)
    ok = all(check.ok for check in checks)
    session.show({"ok": ok, "checks": [check._asdict() for check in checks]}, "")
    return OK if ok else FAILED
