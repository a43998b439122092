"""The command ``csr``."""

from __future__ import annotations

import click

from kmscore.cli.session import Session, common_options, pass_session
from kmscore.cli.streams import deliver, output_option


@click.command()
@click.argument("key")
@click.option(
    "--subject", required=True, metavar="DN", help="Such as CN=www.example.com,O=Example,C=CN."
)
@click.option(
    "--san",
    "names",
    metavar="NAME",
    multiple=True,
    help="Alternative name: DNS:…, IP:…, email:… or URI:…; may be repeated.",
)
@click.option("--algorithm", metavar="A", help="The scheme; by default the usual one of the key.")
@click.option(
    "--format", "form", type=click.Choice(["pem", "der"]), default="pem", show_default=True
)
@output_option("The request.")
@common_options
@pass_session
def csr(
    session: Session,
    key: str,
    subject: str,
    names: tuple[str, ...],
    algorithm: str | None,
    form: str,
    target: str | None,
) -> None:
    """A certificate signing request for KEY, which stays where it is."""
    from kmscore.encodings import pem_encode
    from kmscore.x509 import certificate_request

    request = certificate_request(session.key(key), subject, names, algorithm=algorithm)
    pem = pem_encode(request, "CERTIFICATE REQUEST")
    deliver(session, pem.encode() if form == "pem" else request, target, lambda: {"pem": pem})
