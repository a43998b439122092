"""Somebody else's code: the ``openssl`` command, and gmssl as a second opinion on SM2."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kmscore.encodings import signature_to_raw, sm2_point
from kmscore.errors import Unsupported

# The gmssl package is only ever shown public values here: its defects lie in the rest.


def require_tools() -> None:
    """Check that everything is there before the first job begins.

    Raises:
        Unsupported: Something is missing; the hint says how to get it.
    """
    if shutil.which("openssl") is None:
        raise Unsupported(
            "the demonstration is checked by the openssl command, which is missing",
            hint="Install it with: apt-get install openssl",
        )
    if find_spec("gmssl") is None:
        raise Unsupported(
            "the demonstration is checked by the package gmssl, which is missing",
            hint="Install it with: pip install 'kmscore[sm]'",
        )


def openssl(*arguments: str | Path) -> bool:
    """Run the openssl command; whether it said yes."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["openssl", *map(str, arguments)],  # noqa: S607 - the user's own openssl is what is asked
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0


def encrypt_rsa(public: Path, source: Path, target: Path, digest: str = "sha256") -> bool:
    """Have openssl encrypt with RSAES-OAEP."""
    arguments = ("pkeyutl", "-encrypt", "-pubin", "-inkey", public, "-in", source, "-out", target)
    padding = ("rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}", f"rsa_mgf1_md:{digest}")
    return openssl(*arguments, *(word for each in padding for word in ("-pkeyopt", each)))


def encrypt_sm2(public: Path, source: Path, target: Path) -> bool:
    """Have openssl encrypt with SM2."""
    return openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", public, "-in", source, "-out", target)


def verify_message(public: Path, message: Path, signature: Path, *options: str) -> bool:
    """Have openssl verify a signature over a message."""
    return openssl("dgst", *options, "-verify", public, "-signature", signature, message)


def verify_digest(public: Path, digest: Path, signature: Path, *options: str) -> bool:
    """Have openssl verify a signature over a digest."""
    arguments = ("pkeyutl", "-verify", "-pubin", "-inkey", public, "-in", digest)
    return openssl(*arguments, "-sigfile", signature, *options)


def gmssl_verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Have gmssl verify an SM2 signature with the default user id.

    Args:
        public_key: SubjectPublicKeyInfo in DER.
        message: The message.
        signature: The signature in DER.
    """
    from gmssl.sm2 import CryptSM2

    verifier: Any = CryptSM2("", "", mode=1, asn1=False)
    # Given to the constructor, a key that begins with 0 or 4 would be cut short.
    verifier.public_key = sm2_point(public_key).hex()
    return verifier.verify_with_sm3(signature_to_raw(signature, 32).hex(), message) is True
