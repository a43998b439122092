"""One crypto API over any key store: a cloud KMS, an HSM, or pure software.

    import kmscore

    with kmscore.connect("dev") as kms:
        key = kms.create_key("AES_256", alias="orders")
        secret = key.encrypt(b"card number", context={"table": "orders"})
        key.decrypt(secret, context={"table": "orders"})

Which store "dev" is, ``kms.toml`` says. Importing this package is cheap: everything is loaded when
it is first used.
"""

from __future__ import annotations

# Importing `typing` would take longer than everything else here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Capabilities": "kmscore.capabilities",
    "Config": "kmscore.config",
    "DataKey": "kmscore.spi",
    "Digest": "kmscore.signing",
    "DigestAlgorithm": "kmscore.algorithms",
    "EncryptionAlgorithm": "kmscore.algorithms",
    "EncryptionContext": "kmscore.context",
    "Feature": "kmscore.capabilities",
    "ImportParameters": "kmscore.spi",
    "Key": "kmscore.client",
    "KeyInfo": "kmscore.spi",
    "KeySpec": "kmscore.algorithms",
    "KeyState": "kmscore.algorithms",
    "KeyUsage": "kmscore.algorithms",
    "Kms": "kmscore.client",
    "KmsError": "kmscore.errors",
    "Message": "kmscore.signing",
    "Origin": "kmscore.algorithms",
    "PublicKey": "kmscore.public_key",
    "SigningAlgorithm": "kmscore.algorithms",
    "WrappingAlgorithm": "kmscore.algorithms",
    "connect": "kmscore.client",
    "hookimpl": "kmscore.hookspecs",
}

if TYPE_CHECKING:
    from kmscore.algorithms import (
        DigestAlgorithm,
        EncryptionAlgorithm,
        KeySpec,
        KeyState,
        KeyUsage,
        Origin,
        SigningAlgorithm,
        WrappingAlgorithm,
    )
    from kmscore.capabilities import Capabilities, Feature
    from kmscore.client import Key, Kms, connect
    from kmscore.config import Config
    from kmscore.context import EncryptionContext
    from kmscore.errors import KmsError
    from kmscore.hookspecs import hookimpl
    from kmscore.public_key import PublicKey
    from kmscore.signing import Digest, Message
    from kmscore.spi import DataKey, ImportParameters, KeyInfo

__all__ = [
    "Capabilities",
    "Config",
    "DataKey",
    "Digest",
    "DigestAlgorithm",
    "EncryptionAlgorithm",
    "EncryptionContext",
    "Feature",
    "ImportParameters",
    "Key",
    "KeyInfo",
    "KeySpec",
    "KeyState",
    "KeyUsage",
    "Kms",
    "KmsError",
    "Message",
    "Origin",
    "PublicKey",
    "SigningAlgorithm",
    "WrappingAlgorithm",
    "__version__",
    "connect",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'kmscore' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
