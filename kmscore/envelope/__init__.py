"""Envelope encryption: data of any size under keys of any provider, in the Encryption SDK's format.

A fresh data key encrypts the data here; the provider encrypts the data key alone. Messages are
those of the AWS Encryption SDK, version 2, with key commitment: any Encryption SDK with a small
keyring of its own reads them.

What a name stands for is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmscore.envelope.cache import DataKeyCache
    from kmscore.envelope.files import decrypt_file, encrypt_file, rewrap_file
    from kmscore.envelope.message import EnvelopeDecryptor, EnvelopeEncryptor
    from kmscore.envelope.output import Batch
    from kmscore.envelope.pieces import decrypt_async, encrypt_async
    from kmscore.envelope.reader import EnvelopeReader
    from kmscore.envelope.streams import decrypt_stream, encrypt_stream, rewrap_stream
    from kmscore.envelope.whole import decrypt, decrypt_into, encrypt, encrypt_into, inspect, rewrap

_HOME = {
    "Batch": "output",
    "DataKeyCache": "cache",
    "EnvelopeDecryptor": "message",
    "EnvelopeEncryptor": "message",
    "EnvelopeReader": "reader",
    "decrypt": "whole",
    "decrypt_async": "pieces",
    "decrypt_file": "files",
    "decrypt_into": "whole",
    "decrypt_stream": "streams",
    "encrypt": "whole",
    "encrypt_async": "pieces",
    "encrypt_file": "files",
    "encrypt_into": "whole",
    "encrypt_stream": "streams",
    "inspect": "whole",
    "rewrap": "whole",
    "rewrap_file": "files",
    "rewrap_stream": "streams",
}

__all__ = [
    "Batch",
    "DataKeyCache",
    "EnvelopeDecryptor",
    "EnvelopeEncryptor",
    "EnvelopeReader",
    "decrypt",
    "decrypt_async",
    "decrypt_file",
    "decrypt_into",
    "decrypt_stream",
    "encrypt",
    "encrypt_async",
    "encrypt_file",
    "encrypt_into",
    "encrypt_stream",
    "inspect",
    "rewrap",
    "rewrap_file",
    "rewrap_stream",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'kmscore.envelope' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"kmscore.envelope.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
