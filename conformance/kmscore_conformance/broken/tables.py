"""Animals whose table of capabilities says less, more or something else than what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from kmscore.algorithms import KeySpec, KeyUsage, SigningAlgorithm
from kmscore.capabilities import Capabilities, Feature, KeyKind
from kmscore.errors import Unsupported
from kmscore.spi import (
    Asymmetric,
    KeyImporter,
    KeyInfo,
    KeyManager,
    NewKey,
    Provider,
    RandomSource,
    Symmetric,
)
from kmscore_conformance.broken.animal import animal
from kmscore_conformance.broken.materials import ECDSA, GENERATED, RSA
from kmscore_conformance.broken.sound import Sound

if TYPE_CHECKING:
    from pathlib import Path

    from kmscore_conformance.subject import Conditions

_LESS: Final = frozenset(Feature) - {Feature.ROTATION}


@animal(
    "kind-promised",
    "The table lists a kind of key that cannot be made.",
    "Mechanism lists of tokens: SoftHSM and tpm2-pkcs11 list what they do not do.",
    caught_by="table.every-kind",
    also="*",
)
class KindPromised(Sound):
    """Ed25519, in the table."""

    kinds = (*GENERATED, KeyKind.standard(KeySpec.ED25519, KeyUsage.SIGN_VERIFY))

    def create_key(self, new: NewKey) -> KeyInfo:
        """But not here."""
        if new.spec is KeySpec.ED25519:
            raise Unsupported("not on this token")
        return super().create_key(new)


@animal(
    "kind-concealed",
    "A kind of key can be made that the table does not list.",
    "RSA_PKCS_PSS works on a TPM's module, which does not list it.",
    caught_by="table.undeclared-kinds",
)
class KindConcealed(Sound):
    """P-256 works, and nobody knows."""

    def create_key(self, new: NewKey) -> KeyInfo:
        """More than it says."""
        if new.spec is KeySpec.EC_P256:
            return self.registry.info(self.registry.create(new, self.make_material))
        return super().create_key(new)


@animal(
    "feature-concealed",
    "Keys rotate, and the table does not say so.",
    "Flags that were never added.",
    caught_by="table.undeclared-features",
)
class FeatureConcealed(Sound):
    """Rotation, unannounced."""

    features = _LESS


@animal(
    "feature-promised",
    "The table says that keys can be archived, and they cannot.",
    "Half of an interface.",
    caught_by="life.archive",
    also="life.model",
)
class FeaturePromised(Sound):
    """No archive."""

    def archive_key(self, key_id: str) -> None:
        """Not yet."""
        raise Unsupported("there is no archive")


@animal(
    "scheme-concealed",
    "A signature scheme works that the table does not list for the key.",
    "Tokens on which a key for one scheme signs with any.",
    caught_by="table.undeclared-algorithms",
)
class SchemeConcealed(Sound):
    """PSS in the table, and PKCS #1 as well."""

    kinds = (
        KeyKind(
            KeySpec.RSA_2048,
            KeyUsage.SIGN_VERIFY,
            algorithms=frozenset({SigningAlgorithm.RSA_PSS_SHA_256}),
        ),
    )


@animal(
    "table-changes",
    "The table is another one at every look.",
    "Capabilities that are probed again, and answered by chance.",
    caught_by="table.stable",
    also="*",
)
class TableChanges(Sound):
    """Now and then."""

    _looks = 0

    def capabilities(self) -> Capabilities:
        """With P-256 every other time."""
        self._looks += 1
        return super().capabilities()._replace(keys=self.kinds + (ECDSA if self._looks % 2 else ()))


@animal(
    "row-mixed-up",
    "A row of the table pairs a key with a scheme of another family.",
    "Tables that are typed by hand.",
    caught_by="table.vocabulary",
    also="table.undeclared-algorithms contract.verify-answer sig.verified sig.digest "
    "sig.other-message sig.other-key sig.long-message sig.nonce sig.malformed "
    "sig.der sig.der-strict pair.verified fault.signature thread.sign",
)
class RowMixedUp(Sound):
    """RSA with ECDSA."""

    kinds = (
        *GENERATED,
        KeyKind(
            KeySpec.RSA_2048,
            KeyUsage.SIGN_VERIFY,
            algorithms=frozenset(
                {SigningAlgorithm.ECDSA_SHA_256, SigningAlgorithm.RSA_PSS_SHA_256}
            ),
        ),
    )


class _Unsigned(Provider, RandomSource, KeyManager, Symmetric, Asymmetric, KeyImporter):
    """Everything but signatures."""


@animal(
    "interface-missing",
    "The table lists keys for signing, and the provider cannot sign at all.",
    "Providers that grow by copying.",
    caught_by="table.interfaces",
    also="*",
)
class InterfaceMissing(Sound):
    """Loses an interface on its way out."""

    kinds = RSA

    @classmethod
    def open(cls, path: Path, conditions: Conditions) -> Provider:
        """Without Signer."""
        inner = cls(path, conditions.clock)

        def passed_on(name: str) -> Callable[..., Any]:
            call = getattr(inner, name)

            def method(_self: object, *arguments: Any) -> Any:
                return call(*arguments)

            return method

        names = {
            name
            for kind in _Unsigned.__mro__
            for name in vars(kind)
            if not name.startswith("_") and hasattr(inner, name)
        }
        body = {name: passed_on(name) for name in names}
        return cast("Provider", type("Unsigned", (_Unsigned,), body)())
