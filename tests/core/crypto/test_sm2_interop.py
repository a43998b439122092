"""SM2 with others, both ways: the openssl command, and gmssl as its users call it."""

import json
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from kmscore.encodings import (
    SM2CiphertextFormat,
    pem_encode,
    signature_from_raw,
    signature_to_raw,
    sm2_ciphertext_convert,
)
from kmscore.signing import DEFAULT_SM2_USER_ID
from kmscore.sm2 import Engine, message_digest

VECTORS = Path(__file__).parents[3] / "conformance/kmscore_conformance/vectors"
KEYS: list[dict[str, str]] = json.loads((VECTORS / "sm2_generated.json").read_text())["keys"]
MESSAGE = b"a message that is signed, and encrypted too"
DISTID = f"distid:{DEFAULT_SM2_USER_ID.decode()}"

pytestmark = pytest.mark.parametrize("key", KEYS, ids=[key["comment"] for key in KEYS])


@pytest.fixture
def files(tmp_path: Path, key: dict[str, str]) -> Path:
    """A directory with the key pair and the message, for a command to work in."""
    private = pem_encode(bytes.fromhex(key["pkcs8_der"]), "PRIVATE KEY")
    (tmp_path / "private.pem").write_text(private)
    (tmp_path / "public.pem").write_text(pem_encode(bytes.fromhex(key["spki_der"])))
    (tmp_path / "message").write_bytes(MESSAGE)
    return tmp_path


def openssl(files: Path, *arguments: str) -> None:
    """Run the openssl command in a directory; it must succeed."""
    subprocess.run(["openssl", *arguments], cwd=files, check=True, capture_output=True)


def digest_of(key: dict[str, str]) -> bytes:
    """The digest e of the message for a key."""
    return message_digest(MESSAGE, DEFAULT_SM2_USER_ID, bytes.fromhex(key["spki_der"]))


class TestOpensslCommand:
    """The openssl command."""

    def test_it_verifies(self, engine: Engine, key: dict[str, str], files: Path) -> None:
        """It accepts our signatures."""
        private = engine.private_key(bytes.fromhex(key["private"]))
        (files / "signature").write_bytes(private.sign(digest_of(key)))
        openssl(
            files,
            *("dgst", "-sm3", "-verify", "public.pem", "-sigopt", DISTID),
            *("-signature", "signature", "message"),
        )

    def test_it_signs(self, engine: Engine, key: dict[str, str], files: Path) -> None:
        """We accept its signatures."""
        openssl(
            files,
            *("dgst", "-sm3", "-sign", "private.pem", "-sigopt", DISTID),
            *("-out", "signature", "message"),
        )
        public = engine.public_key(bytes.fromhex(key["spki_der"]))
        assert public.verify(digest_of(key), (files / "signature").read_bytes())

    def test_it_decrypts(self, engine: Engine, key: dict[str, str], files: Path) -> None:
        """It opens our ciphertexts."""
        public = engine.public_key(bytes.fromhex(key["spki_der"]))
        (files / "secret").write_bytes(public.encrypt(MESSAGE))
        openssl(
            files,
            *("pkeyutl", "-decrypt", "-inkey", "private.pem"),
            *("-in", "secret", "-out", "opened"),
        )
        assert (files / "opened").read_bytes() == MESSAGE

    def test_it_encrypts(self, engine: Engine, key: dict[str, str], files: Path) -> None:
        """We open its ciphertexts."""
        openssl(
            files,
            *("pkeyutl", "-encrypt", "-pubin", "-inkey", "public.pem"),
            *("-in", "message", "-out", "secret"),
        )
        private = engine.private_key(bytes.fromhex(key["private"]))
        assert private.decrypt((files / "secret").read_bytes()) == MESSAGE


class TestGmssl:
    """The package gmssl, as its users call it, given the key without the 04."""

    @pytest.fixture
    def peer(self, key: dict[str, str]) -> Any:
        """A CryptSM2 of the key, in the order C1 C3 C2."""
        crypt: Any = import_module("gmssl.sm2").CryptSM2(key["private"], "", mode=1)
        crypt.public_key = key["public"][2:]
        return crypt

    def test_it_verifies(self, engine: Engine, key: dict[str, str], peer: Any) -> None:
        """It accepts our signatures as r ‖ s."""
        signature = engine.private_key(bytes.fromhex(key["private"])).sign(digest_of(key))
        assert peer.verify_with_sm3(signature_to_raw(signature, 32).hex(), MESSAGE)

    def test_it_signs(self, engine: Engine, key: dict[str, str], peer: Any) -> None:
        """We accept its signatures as DER."""
        signature = signature_from_raw(bytes.fromhex(peer.sign_with_sm3(MESSAGE)), 32)
        public = engine.public_key(bytes.fromhex(key["spki_der"]))
        assert public.verify(digest_of(key), signature)

    def test_it_decrypts(self, engine: Engine, key: dict[str, str], peer: Any) -> None:
        """It opens our ciphertexts without the 04."""
        secret = sm2_ciphertext_convert(
            engine.public_key(bytes.fromhex(key["spki_der"])).encrypt(MESSAGE),
            SM2CiphertextFormat.DER,
            SM2CiphertextFormat.C1C3C2_BARE,
        )
        assert peer.decrypt(secret) == MESSAGE

    def test_it_encrypts(self, engine: Engine, key: dict[str, str], peer: Any) -> None:
        """We open its ciphertexts."""
        secret = sm2_ciphertext_convert(
            peer.encrypt(MESSAGE), SM2CiphertextFormat.C1C3C2_BARE, SM2CiphertextFormat.DER
        )
        assert engine.private_key(bytes.fromhex(key["private"])).decrypt(secret) == MESSAGE
