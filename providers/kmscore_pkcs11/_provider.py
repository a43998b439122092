"""The provider: a token and its registry opened, looked after, and closed."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from kmscore.errors import ConfigError, KmsError
from kmscore.registry import Registry, SqliteStore
from kmscore.registry.reconciliation import Reconcilable, Reconciliation
from kmscore.spi import Health, ImportParameters, KeyImporter, Provider
from kmscore_pkcs11._abilities import RAW_RSA
from kmscore_pkcs11._guard import open_guard, require_one_host
from kmscore_pkcs11._importing import Importer
from kmscore_pkcs11._keys import TokenKeys
from kmscore_pkcs11._knowledge import abilities_of
from kmscore_pkcs11._module import load
from kmscore_pkcs11._pairs import PairsOnToken
from kmscore_pkcs11._probe import has_hmac
from kmscore_pkcs11._reconciliation import reconcile
from kmscore_pkcs11._schemes import schemes_of
from kmscore_pkcs11._symmetric import SymmetricOnToken
from kmscore_pkcs11._table import capabilities_of, details_of, identity_of, registry_path
from kmscore_pkcs11._token import open_token

if TYPE_CHECKING:
    from datetime import datetime

    from kmscore.algorithms import WrappingAlgorithm
    from kmscore.capabilities import Capabilities
    from kmscore.plugin import Setting


class Pkcs11Provider(Provider, SymmetricOnToken, PairsOnToken, KeyImporter, Reconcilable):
    """Keys on a PKCS#11 token."""

    def __init__(self, setting: Setting) -> None:
        options = setting.options
        self._clock = setting.clock
        self._path = registry_path(setting)
        self._host_oaep: bool = options["allow_host_oaep"]
        if options["max_sessions"] < 2:
            raise ConfigError("max_sessions must be at least 2", hint="16 is the default")
        module = load(options["module"], options["init_args"])
        self._token = open_token(
            module, identity_of(options), options["pin"], options["max_sessions"]
        )
        self._ready = {}
        self._publics = {}
        try:
            self._open(options)
        except BaseException:
            self._token.close()
            raise

    def _open(self, options: Any) -> None:
        self._facts = self._token.facts()
        self._store = SqliteStore(self._path)
        try:
            require_one_host(
                self._store,
                self._facts.serial,
                self._facts.label,
                take_over=options["take_over"],
            )
            self._schemes = schemes_of(options["sm2"], options["sm4"])
            self._abilities = abilities_of(self._token, self._facts, self._store, self._schemes)
            self._host_oaep &= self._abilities.can(RAW_RSA)
            self._keys = TokenKeys(
                self._token, self._abilities, self._schemes, raw_rsa=self._host_oaep
            )
            guard = open_guard(self._store, self._token, with_hmac=has_hmac(self._token))
            rows = guard.rows
            if rows is not None:
                self._store.protect(lambda row: hmac.digest(rows, row, "sha256"))
            self.registry = Registry(self._store, clock=self._clock, destroy=self._destroy)
            self._importer = Importer(
                self._token,
                self._keys,
                self.registry,
                self._store,
                self._abilities,
                guard.fingerprints,
            )
            self._capabilities = capabilities_of(
                self._abilities, self._facts, options["deny"], host_oaep=self._host_oaep
            )
            self._sweep()
        except BaseException:
            self._store.close()
            raise

    # --- Provider ----------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        """What the token was found to do, less what the configuration denies."""
        return self._capabilities

    def health(self) -> Health:
        """Whether the login holds, and what the token can and cannot do."""
        details = details_of(
            self._abilities, self._facts, self._path, self._token.module.path, self._capabilities
        )
        if self._undestroyed:
            details["destruction of what is due"] = f"no: {self._undestroyed}"
        try:
            logged_in = self._token.is_logged_in()
            details["keys"] = str(self.registry.count())
        except KmsError as error:
            return Health(ok=False, message=str(error), details=details, error=error)
        if not logged_in:
            return Health(ok=False, message="the login was lost", details=details)
        return Health(ok=True, message="the token is logged in", details=details)

    def reconcile(self) -> Reconciliation:
        """Keys of the token that the registry does not know, and the other way round."""
        return reconcile(self._token, self._store, self._abilities)

    def close(self) -> None:
        """Give the sessions back, and close the registry."""
        self._ready.clear()
        self._publics.clear()
        self._token.close()
        self._store.close()

    # --- KeyImporter -------------------------------------------------------------------------

    def get_import_parameters(self, key_id: str, wrapping: WrappingAlgorithm) -> ImportParameters:
        """A new RSA-2048 wrapping key on the token, and a random token."""
        self._sweep()
        with self._token.changing:
            return self._importer.parameters(key_id, wrapping)

    def import_key_material(
        self, key_id: str, wrapped: bytes, token: bytes, valid_to: datetime | None
    ) -> None:
        """Unwrap 16 or 32 bytes inside the token, as the key's spec says."""
        with self._token.changing:
            self._importer.take(key_id, wrapped, token, valid_to)

    def delete_key_material(self, key_id: str) -> None:
        """Destroy imported material on the token."""
        with self._token.changing:
            self.registry.delete_material(key_id)
        self._forget(key_id)
