"""A key of an open provider, and what its operations share: the gate and the checks before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from kmscore.algorithms import KeyUsage
from kmscore.context import EMPTY, EncryptionContext
from kmscore.errors import KeyUsageMismatch, KmsError, Unsupported
from kmscore.gate import Gate, interface
from kmscore.retry import Replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmscore.capabilities import Capabilities, Feature, Limits
    from kmscore.spi import KeyInfo, Provider

Result = TypeVar("Result")
Interface = TypeVar("Interface")

_INSTEAD: Final = {
    KeyUsage.ENCRYPT_DECRYPT: "It encrypts and decrypts",
    KeyUsage.ASYMMETRIC_DECRYPT: "It decrypts what public_key().encrypt() encrypted",
    KeyUsage.SIGN_VERIFY: "It signs and verifies",
}


class KeyHandle:
    """A key by its id; `kmscore.key.Key` adds what can be done with it.

    Attributes:
        key_id: The provider's id of the key.
        spec: What it is made of.
        usage: What it is for.
        origin: Made by the provider, or imported.
        identity: What no other key has: a name is local to a configuration, an open provider is
            not.
    """

    def __init__(
        self, gate: Gate, provider: Provider, capabilities: Capabilities, info: KeyInfo
    ) -> None:
        self.key_id = info.key_id
        self.identity: tuple[object, str] = (gate, info.key_id)
        self.spec = info.spec
        self.usage = info.usage
        self.origin = info.origin
        self._gate = gate
        self._provider = provider
        self._capabilities = capabilities
        self._limits = capabilities.limits
        self._features = capabilities.features
        # To ask an abstract class takes longer than all other checks of a call.
        self._interfaces: dict[type[Any], Any] = {}

    @property
    def provider_name(self) -> str:
        """The configured name of the key's provider."""
        return self._gate.provider

    @property
    def limits(self) -> Limits:
        """Sizes that the provider allows."""
        return self._limits

    def require_usage(self, usage: KeyUsage, operation: str) -> None:
        """Refuse an operation that the key is not for.

        Raises:
            KeyUsageMismatch: The key's usage is another.
        """
        if self.usage is not usage:
            raise self._mismatch(operation)

    def __repr__(self) -> str:
        return f"<Key {self.key_id} {self.spec} {self.usage}>"

    def _mismatch(self, operation: str) -> KmsError:
        what = f"a key of {self.spec} for {self.usage} cannot do that"
        return self._refusal(KeyUsageMismatch(what, hint=_INSTEAD[self.usage]), operation)

    def _refusal(self, error: KmsError, operation: str) -> KmsError:
        """The error, which says of which key it speaks."""
        return error.at(provider=self._gate.provider, operation=operation, key=self.key_id)

    def _run(
        self,
        operation: str,
        replay: Replay,
        call: Callable[..., Result],
        *arguments: Any,
        bound: EncryptionContext = EMPTY,
    ) -> Result:
        return self._gate.run(
            operation, self.key_id, replay, call, (self.key_id, *arguments), bound
        )

    def _spi(self, kind: type[Interface]) -> Interface:
        found = self._interfaces.get(kind)
        if found is None:
            found = self._interfaces[kind] = interface(self._provider, kind, self._gate.provider)
        return found

    def _require_feature(self, feature: Feature, operation: str) -> None:
        if feature not in self._features:
            error = Unsupported(
                f"the provider does not offer {feature}",
                hint="See what it offers with: kmscore providers",
            )
            raise self._refusal(error, operation)
