"""Parquet modular encryption under keys of any provider: what pyarrow asks a key service for.

Files are those of Parquet's own encryption (apache/parquet-format, Encryption.md), and the key
material in them is that of Parquet's key tools, so that any Parquet implementation reads them whose
key service client can reach the same keys.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmscore.client import Kms, connect
from kmscore.context import EncryptionContext
from kmscore.errors import CiphertextInvalid, ConfigError, InvalidRequest
from kmscore.uri import parse_reference

try:
    _pyarrow: Any = import_module("pyarrow.parquet.encryption")
except ImportError as error:
    raise ConfigError(
        "pyarrow is not installed, or was built without encryption",
        hint="Install it with: pip install 'kmscore[parquet]'",
    ) from error

if TYPE_CHECKING:
    from kmscore.config import Config
    from kmscore.context import ContextLike
    from kmscore.key import Key


def crypto_factory(
    kms: Kms | None = None,
    *,
    config: Config | Mapping[str, Any] | Path | str | None = None,
    context: ContextLike = None,
) -> Any:
    """What makes pyarrow's encryption and decryption properties.

    Master keys are named as everywhere in kmscore: by id, by alias, or as ``kms://provider/key``;
    where Parquet allows no colon, as in ``column_keys``, also as ``//provider/key``.

    Args:
        kms: An open provider with the master keys; it stays open as long as the factory is used.
        config: Without an open provider: the configuration, as in `kmscore.connect`. Providers are
            opened when a key of theirs is named. A key without a provider is one of
            ``kms_instance_id`` of the connection's configuration, or of the default provider.
        context: Bound to the wrapped keys, and needed again to read.

    Returns:
        A `pyarrow.parquet.encryption.CryptoFactory`; it belongs to this process.
    """
    # Callers without a type checker pass anything at all, the path of a configuration above all.
    if not isinstance(kms, Kms | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequest(
            f"a {type(kms).__name__} is given as an open provider",
            hint="Give what kmscore.connect() returns, or config=",
        )
    providers = Providers(kms, config)
    checked = EncryptionContext.of(context)

    def client(connection: Any) -> ParquetKmsClient:
        return ParquetKmsClient(providers, connection.kms_instance_id, checked)

    return _pyarrow.CryptoFactory(client)


class Providers:
    """The open providers of one factory, each opened once."""

    def __init__(
        self,
        kms: Kms | None,
        config: Config | Mapping[str, Any] | Path | str | None,
    ) -> None:
        self._kms = kms
        self._config = config
        self._opened: dict[str | None, Kms] = {}
        self._lock = threading.Lock()  # pyarrow asks from several threads

    def key(self, reference: str, provider: str | None) -> Key:
        """A master key by its name."""
        if reference.startswith("//"):
            reference = f"kms:{reference}"
        if self._kms is not None:
            return self._kms.key(reference)
        name = parse_reference(reference).provider or provider
        with self._lock:
            if name not in self._opened:
                self._opened[name] = connect(name, config=self._config)
            return self._opened[name].key(reference)


class ParquetKmsClient(_pyarrow.KmsClient):  # type: ignore[misc]
    """Wraps the keys of a file under master keys: base64 of what `Key.encrypt` returns."""

    def __init__(
        self, providers: Providers, provider: str | None, context: EncryptionContext
    ) -> None:
        _pyarrow.KmsClient.__init__(self)
        self._providers = providers
        # pyarrow says DEFAULT when nothing was said.
        self._provider = None if provider in (None, "", "DEFAULT") else provider
        self._context = context

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        """Encrypt a key of a file; its errors reach the caller of pyarrow."""
        key = self._providers.key(master_key_identifier, self._provider)
        return base64.b64encode(key.encrypt(key_bytes, context=self._context)).decode()

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        """Decrypt a key of a file.

        Raises:
            CiphertextInvalid: It is not one that this master key wrapped.
            KeyNotFound: There is no such master key.
        """
        key = self._providers.key(master_key_identifier, self._provider)
        try:
            ciphertext = base64.b64decode(wrapped_key, validate=True)
        except (ValueError, binascii.Error) as error:
            raise CiphertextInvalid(key=key.key_id) from error
        return key.decrypt(ciphertext, context=self._context)
