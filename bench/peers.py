"""Peers that may be installed: what cannot be imported or found is left out, and named."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Pair = tuple[Callable[[], object], Callable[[], object]]
"""Encrypts and decrypts the same message."""

missing: list[str] = []
"""What was asked for and is not installed."""


def message_peers(text: bytes, context: Mapping[str, str]) -> dict[str, Pair]:
    """Envelope encryption by others, with a local key."""
    found: dict[str, Pair] = {}
    for name, peer in (("Tink's KMS envelope", _tink), ("aws-encryption-sdk, cached", _esdk)):
        try:
            found[name] = peer(text, context)
        except ImportError:
            missing.append(name)
    return found


def tccli() -> str | None:
    """Where Tencent Cloud's command line is, if it is.

    It cannot share an environment with the SDK, and so may have one inside ours.
    """
    ours = Path(sys.prefix, "tccli", "bin")
    path = shutil.which("tccli", path=f"{ours}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        missing.append("tccli")
    return path


def _tink(text: bytes, context: Mapping[str, str]) -> Pair:
    import tink
    from tink import aead

    aead.register()
    template = aead.aead_key_templates.AES256_GCM
    local = tink.new_keyset_handle(template).primitive(aead.Aead)
    envelope = aead.KmsEnvelopeAead(template, local)
    aad = repr(sorted(context.items())).encode()
    sealed = envelope.encrypt(text, aad)
    return lambda: envelope.encrypt(text, aad), lambda: envelope.decrypt(sealed, aad)


def local_provider(wrapping_key: bytes) -> Any:
    """A master key provider of the AWS Encryption SDK with one key in memory."""
    from aws_encryption_sdk.identifiers import EncryptionKeyType, WrappingAlgorithm
    from aws_encryption_sdk.internal.crypto import WrappingKey
    from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider

    wrapping = WrappingKey(
        wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
        wrapping_key=wrapping_key,
        wrapping_key_type=EncryptionKeyType.SYMMETRIC,
    )

    class Local(RawMasterKeyProvider):  # type: ignore[misc]
        """One wrapping key in memory."""

        provider_id = "bench"

        def _get_raw_key(self, key_id: bytes) -> Any:
            return wrapping

    provider = Local()
    provider.add_master_key("bench")
    return provider


def _esdk(text: bytes, context: Mapping[str, str]) -> Pair:
    import aws_encryption_sdk as sdk

    manager = sdk.CachingCryptoMaterialsManager(
        master_key_provider=local_provider(os.urandom(32)),
        cache=sdk.LocalCryptoMaterialsCache(10),
        max_age=3600.0,
        max_messages_encrypted=2**31,
    )
    client = sdk.EncryptionSDKClient()
    suite = sdk.Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY

    def encrypt() -> bytes:
        sealed, _ = client.encrypt(
            source=text,
            materials_manager=manager,
            algorithm=suite,
            encryption_context=dict(context),
        )
        return bytes(sealed)

    sealed = encrypt()
    return encrypt, lambda: client.decrypt(source=sealed, materials_manager=manager)
