"""Envelope encryption: data of any size under keys of any provider, in the Encryption SDK's format.

A fresh data key encrypts the data here; the provider encrypts the data key alone. Messages are
those of the AWS Encryption SDK, version 2, with key commitment: any Encryption SDK with a small
keyring of its own reads them.
"""

from __future__ import annotations

from kmscore.envelope.cache import DataKeyCache
from kmscore.envelope.files import decrypt_file, encrypt_file, rewrap_file
from kmscore.envelope.message import EnvelopeDecryptor, EnvelopeEncryptor
from kmscore.envelope.output import Batch
from kmscore.envelope.pieces import decrypt_async, encrypt_async
from kmscore.envelope.reader import EnvelopeReader
from kmscore.envelope.streams import decrypt_stream, encrypt_stream, rewrap_stream
from kmscore.envelope.whole import decrypt, decrypt_into, encrypt, encrypt_into, inspect, rewrap

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
