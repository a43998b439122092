"""A token that keeps the root key of a keystore: the HSM seals what software keeps."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import kmscore
from kmscore.errors import KeyStateError
from tests.pkcs11.tokens import Token


def test_a_keystore_opens_when_the_token_does(
    softhsm: Token, path: Path, tried: Callable[[Token], Path], tmp_path: Path
) -> None:
    """And stays closed while the token's key may not be used."""
    shutil.copy2(tried(softhsm), path)
    config = softhsm.config(path)
    sealed = tmp_path / "root.sealed"
    config["providers"]["dev"] = {
        "type": "software",
        "path": str(tmp_path / "dev.db"),
        "root_key": {"kms": "kms://hsm/keystore-root", "file": str(sealed)},
    }
    with kmscore.connect("hsm", config=config) as hsm:
        sealed.write_bytes(hsm.create_key("AES_256", alias="keystore-root").encrypt(os.urandom(32)))
    with kmscore.connect("dev", config=config) as dev:
        secret = dev.create_key("AES_256", alias="orders").encrypt(b"card number")
    with kmscore.connect("dev", config=config) as dev:
        assert dev.key("orders").decrypt(secret) == b"card number"
    with kmscore.connect("hsm", config=config) as hsm:
        hsm.key("keystore-root").disable()
    with pytest.raises(KeyStateError, match="hsm decrypt"):
        kmscore.connect("dev", config=config)
