"""The openssl command: what an auditor without Python would use."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kmscore.algorithms import EncryptionAlgorithm, SigningAlgorithm
from kmscore.signing import Digest
from kmscore_conformance.witness.base import Witness

if TYPE_CHECKING:
    from kmscore.signing import Signable

_HASHES: Final = {
    SigningAlgorithm.RSA_PKCS1_SHA_256: "sha256",
    SigningAlgorithm.RSA_PSS_SHA_256: "sha256",
    SigningAlgorithm.ECDSA_SHA_256: "sha256",
    SigningAlgorithm.ECDSA_SHA_384: "sha384",
    SigningAlgorithm.SM2DSA: "sm3",
}
_PSS: Final = ("rsa_padding_mode:pss", "rsa_pss_saltlen:32")
_ENCRYPTION: Final = {
    EncryptionAlgorithm.RSAES_OAEP_SHA_256: (
        "rsa_padding_mode:oaep",
        "rsa_oaep_md:sha256",
        "rsa_mgf1_md:sha256",
    ),
    EncryptionAlgorithm.RSAES_OAEP_SHA_1: (
        "rsa_padding_mode:oaep",
        "rsa_oaep_md:sha1",
        "rsa_mgf1_md:sha1",
    ),
    EncryptionAlgorithm.RSAES_PKCS1_V1_5: ("rsa_padding_mode:pkcs1",),
    EncryptionAlgorithm.SM2: (),
}


def _run(*arguments: str | Path) -> bool:
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["openssl", *map(str, arguments)],  # noqa: S607 - the user's own openssl is what is asked
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0


@cache
def _version() -> str:
    if shutil.which("openssl") is None:
        return ""
    said = subprocess.run(
        ["openssl", "version"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    ).stdout
    # Another make than OpenSSL says its name as well.
    return " ".join(said.removeprefix("OpenSSL ").split()[: 1 if said.startswith("OpenSSL") else 2])


@cache
def _has_sm2() -> bool:
    return _run("ecparam", "-name", "SM2", "-noout") and _run("dgst", "-sm3", "/dev/null")


class OpenSSL(Witness):
    """The command that is first on the path."""

    name = "openssl"
    dear = True

    @property
    def version(self) -> str:
        """What ``openssl version`` says."""
        return _version() or "the command is missing"

    def lacks(self, algorithm: SigningAlgorithm | EncryptionAlgorithm) -> str:
        """Everything where it is missing, and SM2 where it was built without."""
        if not _version():
            return "the openssl command is missing"
        if algorithm.value in ("SM2", "SM2DSA") and not _has_sm2():
            return "this openssl command was built without SM2"
        return ""

    def verify(
        self, public_key: bytes, algorithm: SigningAlgorithm, data: Signable, signature: bytes
    ) -> bool:
        """``openssl dgst`` for messages, ``openssl pkeyutl`` for digests and Ed25519."""
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            key, content, sig = place / "key.der", place / "data", place / "sig"
            key.write_bytes(public_key)
            sig.write_bytes(signature)
            if isinstance(data, Digest) or algorithm is SigningAlgorithm.ED25519:
                digested = isinstance(data, Digest)
                content.write_bytes(data.value if isinstance(data, Digest) else data.data)
                options = ["-rawin"] if not digested else []
                if digested and algorithm.value.startswith("RSA"):
                    options += ["-pkeyopt", "digest:sha256"]
                if algorithm is SigningAlgorithm.RSA_PSS_SHA_256:
                    options += [word for each in _PSS for word in ("-pkeyopt", each)]
                words: list[str | Path] = ["-keyform", "DER", "-in", content, "-sigfile", sig]
                words += options
                return _run("pkeyutl", "-verify", "-pubin", "-inkey", key, *words)
            content.write_bytes(data.data)
            options = [f"-{_HASHES[algorithm]}"]
            if algorithm is SigningAlgorithm.RSA_PSS_SHA_256:
                options += [word for each in _PSS for word in ("-sigopt", each)]
            if algorithm is SigningAlgorithm.SM2DSA:
                options += ["-sigopt", f"hexdistid:{data.sm2_user_id.hex()}"]
            return _run(
                "dgst", *options, "-keyform", "DER", "-verify", key, "-signature", sig, content
            )

    def encrypt(self, public_key: bytes, algorithm: EncryptionAlgorithm, plaintext: bytes) -> bytes:
        """``openssl pkeyutl -encrypt``."""
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            key, content, out = place / "key.der", place / "data", place / "out"
            key.write_bytes(public_key)
            content.write_bytes(plaintext)
            options = [word for each in _ENCRYPTION[algorithm] for word in ("-pkeyopt", each)]
            words: list[str | Path] = ["-keyform", "DER", "-in", content, "-out", out, *options]
            if not _run("pkeyutl", "-encrypt", "-pubin", "-inkey", key, *words):
                raise RuntimeError("openssl does not encrypt for this public key")
            return out.read_bytes()
