"""Others that encrypt files, each as a process of its own: what is not installed is left out.

Run as a program, it is the peers in Python: ``tink|esdk|esdk-1m encrypt|decrypt FROM TO KEY``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

CHUNK = 1 << 20


class Peer(NamedTuple):
    """Two command lines: from the plain file, and back."""

    encrypt: list[str]
    decrypt: list[str]


def age(folder: Path, plain: Path, sealed: Path, back: Path) -> Peer | None:
    """By `age`, with a recipient, which is its quickest way."""
    if shutil.which("age") is None:
        return None
    identity = folder / "age.key"
    if not identity.exists():
        subprocess.run(["age-keygen", "-o", identity], check=True, stderr=subprocess.DEVNULL)
    recipient = identity.read_text().split("public key: ")[1].split()[0]
    return Peer(
        ["age", "-r", recipient, "-o", str(sealed), str(plain)],
        ["age", "-d", "-i", str(identity), "-o", str(back), str(sealed)],
    )


def durable_age(folder: Path, plain: Path, sealed: Path, back: Path) -> Peer | None:
    """By `age`, and the output brought to the disk: what kmscore does before a command ends."""
    peer = age(folder, plain, sealed, back)
    if peer is None:
        return None
    line = 'output=$1; shift; "$@" && sync "$output"'
    return Peer(
        ["sh", "-c", line, "sh", str(sealed), *peer.encrypt],
        ["sh", "-c", line, "sh", str(back), *peer.decrypt],
    )


def openssl(folder: Path, plain: Path, sealed: Path, back: Path) -> Peer:
    """By `openssl enc` with AES-256-CTR, which authenticates nothing: what a cipher alone costs."""
    del folder
    key = ["-K", "00" * 32, "-iv", "00" * 16]
    return Peer(
        ["openssl", "enc", "-aes-256-ctr", *key, "-in", str(plain), "-out", str(sealed)],
        ["openssl", "enc", "-d", "-aes-256-ctr", *key, "-in", str(sealed), "-out", str(back)],
    )


def in_python(name: str, module: str) -> Callable[[Path, Path, Path, Path], Peer | None]:
    """A library, by way of this file as a program."""

    def make(folder: Path, plain: Path, sealed: Path, back: Path) -> Peer | None:
        if find_spec(module) is None:
            return None
        command = [sys.executable, "-m", "bench.file_peers", name]
        key = str(folder / f"{name}.key")
        return Peer(
            [*command, "encrypt", str(plain), str(sealed), key],
            [*command, "decrypt", str(sealed), str(back), key],
        )

    return make


PEERS = {
    "age": age,
    "age and sync": durable_age,
    "openssl enc": openssl,
    "Tink streaming": in_python("tink", "tink"),
    "aws-encryption-sdk": in_python("esdk", "aws_encryption_sdk"),
    "aws-encryption-sdk, frames of 1 MiB": in_python("esdk-1m", "aws_encryption_sdk"),
}


def _tink(operation: str, source: str, target: str, key: str) -> None:
    import tink
    from tink import secret_key_access, streaming_aead

    streaming_aead.register()
    keyset = Path(key)
    if not keyset.exists():
        template = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB
        made = tink.new_keyset_handle(template)
        keyset.write_text(tink.json_proto_keyset_format.serialize(made, secret_key_access.TOKEN))
    handle = tink.json_proto_keyset_format.parse(keyset.read_text(), secret_key_access.TOKEN)
    primitive = handle.primitive(streaming_aead.StreamingAead)
    with Path(source).open("rb") as reader, Path(target).open("wb") as writer:
        if operation == "encrypt":
            with primitive.new_encrypting_stream(writer, b"") as out:
                shutil.copyfileobj(reader, out, CHUNK)
        else:
            with primitive.new_decrypting_stream(reader, b"") as into:
                shutil.copyfileobj(into, writer, CHUNK)


def _esdk(
    operation: str, source: str, target: str, key: str, frame_bytes: int | None = None
) -> None:
    """As its documentation shows it, without a signature; its own frames have 4 KiB."""
    import aws_encryption_sdk as sdk

    from bench.peers import local_provider

    del key
    options: dict[str, Any] = {"mode": "d", "key_provider": local_provider(bytes(32))}
    if operation == "encrypt":
        suite = sdk.Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
        options |= {"mode": "e", "algorithm": suite}
        if frame_bytes is not None:
            options["frame_length"] = frame_bytes
    client = sdk.EncryptionSDKClient()
    with (
        Path(source).open("rb") as reader,
        Path(target).open("wb") as writer,
        client.stream(source=reader, **options) as stream,
    ):
        if frame_bytes is None:
            writer.writelines(stream)
        else:
            shutil.copyfileobj(stream, writer, frame_bytes)


def _esdk_1m(operation: str, source: str, target: str, key: str) -> None:
    _esdk(operation, source, target, key, CHUNK)


if __name__ == "__main__":
    {"tink": _tink, "esdk": _esdk, "esdk-1m": _esdk_1m}[sys.argv[1]](*sys.argv[2:])
