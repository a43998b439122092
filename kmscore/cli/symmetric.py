"""Commands that encrypt and decrypt: encrypt, decrypt, re-encrypt, data-key, random."""

from __future__ import annotations

from pathlib import Path

import click

from kmscore.algorithms import KeySpec
from kmscore.cli.session import Session, common_options, pass_session
from kmscore.cli.streams import (
    context_option,
    deliver,
    input_option,
    output_option,
    parse_context,
    read_input,
    refuse_same_file,
    written,
)

MAX_CIPHERTEXT = 65536
"""More than any provider makes of 4096 bytes."""


@click.command()
@click.option("--key", required=True, metavar="KEY", help="The key that encrypts.")
@context_option
@input_option("The secret, 1 to 4096 bytes.")
@output_option("The ciphertext.")
@common_options
@pass_session
def encrypt(
    session: Session, key: str, pairs: tuple[str, ...], source: str | None, target: str | None
) -> None:
    """Encrypt a small secret under a key itself."""
    refuse_same_file(source, target)
    context = parse_context(pairs)
    opened = session.key(key)
    plaintext = read_input(source, opened.limits.plaintext, "; for more: kmscore envelope encrypt")
    ciphertext = opened.encrypt(plaintext, context=context)
    _deliver(session, ciphertext, target, "ciphertext")


@click.command()
@click.option("--key", metavar="KEY", help="The key; without it, the one the ciphertext names.")
@click.option("--algorithm", metavar="A", help="How it was encrypted, for asymmetric keys.")
@context_option
@input_option("The ciphertext.")
@output_option("The secret.")
@common_options
@pass_session
def decrypt(
    session: Session,
    key: str | None,
    algorithm: str | None,
    pairs: tuple[str, ...],
    source: str | None,
    target: str | None,
) -> None:
    """Decrypt what encrypt wrote, or what was encrypted for a public key."""
    refuse_same_file(source, target)
    context = parse_context(pairs)
    if key is None and algorithm is not None:
        raise click.UsageError("--algorithm needs --key")
    if key is None:
        kms = session.open()
        plaintext = kms.decrypt(read_input(source, MAX_CIPHERTEXT), context=context)
    else:
        opened = session.key(key)
        plaintext = opened.decrypt(
            read_input(source, MAX_CIPHERTEXT), context=context, algorithm=algorithm
        )
    _deliver(session, plaintext, target, "plaintext", secret=True)


@click.command("re-encrypt")
@click.option("--key", required=True, metavar="KEY", help="The key that shall protect it.")
@click.option(
    "--source-context",
    "source_pairs",
    metavar="K=V",
    multiple=True,
    help="The context that it has; may be repeated.",
)
@context_option
@input_option("The ciphertext.")
@output_option("The new ciphertext.")
@common_options
@pass_session
def re_encrypt(
    session: Session,
    key: str,
    source_pairs: tuple[str, ...],
    pairs: tuple[str, ...],
    source: str | None,
    target: str | None,
) -> None:
    """Bring a ciphertext under another key, the key's newest version, or another context."""
    refuse_same_file(source, target)
    kms = session.open(key)
    ciphertext = kms.re_encrypt(
        read_input(source, MAX_CIPHERTEXT),
        kms.key(key),
        source_context=parse_context(source_pairs),
        context=parse_context(pairs),
    )
    _deliver(session, ciphertext, target, "ciphertext")


@click.command("data-key")
@click.option("--key", required=True, metavar="KEY", help="The key that encrypts the data key.")
@click.option("--spec", metavar="SPEC", help="AES_256, AES_128 or SM4. [AES_256]")
@click.option("--length", type=int, metavar="BYTES", help="1 to 1024 bytes instead of a spec.")
@context_option
@click.option("-o", "--output", "target", metavar="FILE", help="The data key in clear [stdout]")
@click.option("--wrapped", required=True, metavar="FILE", help="The encrypted data key.")
@common_options
@pass_session
def data_key(
    session: Session,
    key: str,
    spec: str | None,
    length: int | None,
    pairs: tuple[str, ...],
    target: str | None,
    wrapped: str,
) -> None:
    """Make a key for data, in clear and encrypted under a key."""
    refuse_same_file(wrapped, target)
    if wrapped == "-":
        raise click.UsageError("--wrapped needs a file: standard output is for the data key")
    if None not in (spec, length):
        raise click.UsageError("give either --spec or --length")
    opened = session.key(key)
    context = parse_context(pairs)
    # Half of a data key is of no use to anybody, and one that was there before is still needed.
    with (
        opened.generate_data_key(spec or KeySpec.AES_256, length=length, context=context) as made,
        written(Path(wrapped), made.ciphertext),
    ):
        _deliver(session, bytes(made.plaintext), target, "plaintext", secret=True)


@click.command()
@click.argument("count", type=int)
@click.option("--hex", "as_hex", is_flag=True, help="Print hexadecimal digits.")
@output_option("The bytes.")
@common_options
@pass_session
def random(session: Session, count: int, as_hex: bool, target: str | None) -> None:
    """COUNT random bytes from the provider's own generator."""
    data = session.open().generate_random(count)
    _deliver(session, f"{data.hex()}\n".encode() if as_hex else data, target, "random", secret=True)


def _deliver(
    session: Session, data: bytes, target: str | None, name: str, *, secret: bool = False
) -> None:
    def shown() -> dict[str, str]:
        from base64 import b64encode

        return {name: b64encode(data).decode()}

    deliver(session, data, target, shown, secret=secret)
