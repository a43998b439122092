"""Commands of key pairs: public-key, sign, verify."""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kmscore.algorithms import TRAITS, DigestAlgorithm, KeySpec, SigningAlgorithm, parse
from kmscore.cli.exit_codes import WRONG
from kmscore.cli.session import Session, common_options, pass_session
from kmscore.cli.streams import (
    MAX_INPUT,
    deliver,
    input_option,
    output_option,
    read_input,
    refuse_same_file,
)
from kmscore.errors import InvalidRequest, KeyUsageMismatch
from kmscore.signing import DEFAULT_SM2_USER_ID, Digest, Message

if TYPE_CHECKING:
    from kmscore.signing import Signable

STREAMED = 1 << 20
"""Larger files are hashed as they are read, where the scheme permits."""

MAX_SIGNATURE = 4096


@click.command("public-key")
@click.argument("key")
@click.option(
    "--format", "form", type=click.Choice(["pem", "der", "jwk"]), default="pem", show_default=True
)
@output_option("The public key.")
@common_options
@pass_session
def public_key(session: Session, key: str, form: str, target: str | None) -> None:
    """The public half of KEY."""
    public = session.key(key).public_key()
    if form == "der":
        data = public.der
    elif form == "jwk":
        import json

        data = (json.dumps(public.jwk()) + "\n").encode()
    else:
        data = public.pem().encode()
    deliver(session, data, target, lambda: {"spec": public.spec.value, "pem": public.pem()})


@click.command()
@click.option("--key", required=True, metavar="KEY", help="The key that signs.")
@click.option("--algorithm", metavar="A", help="The scheme; by default the key's recommended one.")
@click.option("--digest", is_flag=True, help="The input is a digest, not a message.")
@click.option("--sm2-user-id", metavar="ID", help="The signer's id for SM2 [1234567812345678]")
@input_option("The message or digest.")
@output_option("The signature.")
@common_options
@pass_session
def sign(
    session: Session,
    key: str,
    algorithm: str | None,
    digest: bool,
    sm2_user_id: str | None,
    source: str | None,
    target: str | None,
) -> None:
    """Sign a message or a digest."""
    refuse_same_file(source, target)
    opened = session.key(key)
    scheme = _scheme(opened.spec, algorithm)
    data = _signable(source, scheme, sm2_user_id, is_digest=digest)
    signature = opened.sign(data, algorithm=scheme)

    def shown() -> dict[str, str]:
        return {"algorithm": scheme.value, "signature": b64encode(signature).decode()}

    deliver(session, signature, target, shown)


@click.command()
@click.option("--key", metavar="KEY", help="Have the provider check with this key.")
@click.option("--public-key", "public", metavar="FILE", help="Check here, with a PEM or DER file.")
@click.option("--algorithm", metavar="A", help="The scheme; by default the key's recommended one.")
@click.option("--signature", required=True, metavar="FILE", help="The signature.")
@click.option("--digest", is_flag=True, help="The input is a digest, not a message.")
@click.option("--sm2-user-id", metavar="ID", help="The signer's id for SM2 [1234567812345678]")
@input_option("The message or digest.")
@common_options
@pass_session
def verify(
    session: Session,
    key: str | None,
    public: str | None,
    algorithm: str | None,
    signature: str,
    digest: bool,
    sm2_user_id: str | None,
    source: str | None,
) -> int:
    """Check a signature; exit code 4 when it is wrong."""
    if (key is None) == (public is None):
        raise click.UsageError("give either --key or --public-key")
    if signature == "-" and source in (None, "-"):
        raise click.UsageError("the message and the signature cannot both come from stdin")
    claimed = read_input(signature, MAX_SIGNATURE)
    if public is not None:
        from kmscore.public_key import PublicKey

        loaded = PublicKey.load(read_input(public, STREAMED))
        scheme = _scheme(loaded.spec, algorithm)
        data = _signable(source, scheme, sm2_user_id, is_digest=digest)
        right = loaded.verify(data, claimed, scheme)
    else:
        opened = session.key(str(key))
        scheme = _scheme(opened.spec, algorithm)
        data = _signable(source, scheme, sm2_user_id, is_digest=digest)
        right = opened.verify(data, claimed, algorithm=scheme)
    session.show({"valid": right}, "signature is right" if right else "")
    if right:
        return 0
    session.say("signature is WRONG")
    return WRONG


def _scheme(spec: KeySpec, algorithm: str | None) -> SigningAlgorithm:
    if algorithm is not None:
        return parse(SigningAlgorithm, algorithm, "algorithm")
    signing = TRAITS[spec].signing
    if not signing:
        raise KeyUsageMismatch(f"a key of {spec} cannot sign")
    return signing[0]


def _signable(
    source: str | None, scheme: SigningAlgorithm, sm2_user_id: str | None, *, is_digest: bool
) -> Signable:
    if sm2_user_id is not None and scheme is not SigningAlgorithm.SM2DSA:
        raise click.UsageError("--sm2-user-id is for SM2DSA only")
    if is_digest:
        if sm2_user_id is not None:
            raise click.UsageError("--sm2-user-id is part of the digest already")
        if scheme.digest is None:
            raise InvalidRequest(f"{scheme} signs whole messages, not digests")
        return Digest(read_input(source, STREAMED), scheme.digest)
    streamed = _hash_file(source, scheme)
    if streamed is not None:
        return streamed
    user_id = DEFAULT_SM2_USER_ID if sm2_user_id is None else os.fsencode(sm2_user_id)
    return Message(read_input(source, MAX_INPUT), user_id)


def _hash_file(source: str | None, scheme: SigningAlgorithm) -> Digest | None:
    """The digest of a large file, or None where the message itself is to be signed."""
    names = {DigestAlgorithm.SHA_256: "sha256", DigestAlgorithm.SHA_384: "sha384"}
    digest = scheme.digest
    if digest is None or digest not in names or source in (None, "-"):
        return None
    path = Path(str(source))
    try:
        if path.stat().st_size <= STREAMED:
            return None
        with path.open("rb") as file:
            return Digest(hashlib.file_digest(file, names[digest]).digest(), digest)
    except OSError as error:
        raise InvalidRequest(f"cannot read {source}: {error.strerror}") from error
