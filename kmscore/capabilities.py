"""What a provider can do, as data: it drives refusal, the conformance suite and the matrix."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Self

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    KeyUsage,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.spi import NOTHING


class Feature(StrEnum):
    """What a provider may do beyond using keys."""

    ALIASES = "ALIASES"
    ARCHIVE = "ARCHIVE"
    DATA_KEYS = "DATA_KEYS"
    DELETION = "DELETION"
    MATERIAL_EXPIRY = "MATERIAL_EXPIRY"
    RANDOM = "RANDOM"
    RE_ENCRYPT = "RE_ENCRYPT"
    ROTATION = "ROTATION"
    ROTATION_SCHEDULE = "ROTATION_SCHEDULE"


class KeyKind(NamedTuple):
    """One row of the table: a kind of key that the provider makes or holds.

    Attributes:
        spec: What the key is made of.
        usage: What it is for.
        origins: GENERATED when the provider makes it, EXTERNAL when it can be imported.
        algorithms: Signature or encryption schemes that such a key carries out; empty for
            symmetric keys, whose cipher is the provider's own affair.
    """

    spec: KeySpec
    usage: KeyUsage
    origins: frozenset[Origin] = frozenset({Origin.GENERATED})
    algorithms: frozenset[SigningAlgorithm | EncryptionAlgorithm] = frozenset()

    @classmethod
    def standard(cls, spec: KeySpec, usage: KeyUsage, *origins: Origin) -> Self:
        """The row with every scheme that the vocabulary has for such a key."""
        traits = TRAITS[spec]
        algorithms: tuple[SigningAlgorithm | EncryptionAlgorithm, ...] = ()
        if usage is KeyUsage.SIGN_VERIFY:
            algorithms = traits.signing
        elif usage is KeyUsage.ASYMMETRIC_DECRYPT:
            algorithms = traits.encryption
        return cls(spec, usage, frozenset(origins or (Origin.GENERATED,)), frozenset(algorithms))


class Limits(NamedTuple):
    """Sizes in bytes, unless said otherwise; the defaults are those of a cloud KMS.

    Attributes:
        plaintext: Largest plaintext under a symmetric key itself.
        message: Longest message that is signed raw; longer ones are hashed locally. None: any.
        data_key: Longest data key.
        random: Most random bytes of one call.
        deletion_days: Shortest and longest waiting time before deletion, in days.
        rotation_days: Shortest and longest rotation period, in days.
    """

    plaintext: int = 4096
    message: int | None = None
    data_key: int = 1024
    random: int = 1024
    deletion_days: tuple[int, int] = (7, 30)
    rotation_days: tuple[int, int] = (7, 365)


class Capabilities(NamedTuple):
    """The table of one provider.

    Attributes:
        keys: The kinds of key; a provider may work them out when they are first looked at.
        wrapping: How imported material may be wrapped; empty where nothing can be imported.
        features: What else it does.
        limits: Sizes.
        notes: Facts for people, such as ``{"sm2_engine": "OpenSSL 3.0.19"}``.
    """

    keys: Sequence[KeyKind]
    wrapping: frozenset[WrappingAlgorithm] = frozenset()
    features: frozenset[Feature] = frozenset()
    limits: Limits = Limits()
    notes: Mapping[str, str] = NOTHING

    def find(self, spec: KeySpec, usage: KeyUsage) -> KeyKind | None:
        """The row of that kind of key, or None."""
        for kind in self.keys:
            if kind.spec is spec and kind.usage is usage:
                return kind
        return None

    def as_dict(self) -> dict[str, Any]:
        """The table in plain sorted values, for JSON."""
        return {
            "keys": [
                {
                    "spec": kind.spec.value,
                    "usage": kind.usage.value,
                    "origins": sorted(kind.origins),
                    "algorithms": sorted(kind.algorithms),
                }
                for kind in self.keys
            ],
            "wrapping": sorted(self.wrapping),
            "features": sorted(self.features),
            "limits": {
                "plaintext": self.limits.plaintext,
                "message": self.limits.message,
                "data_key": self.limits.data_key,
                "random": self.limits.random,
                "deletion_days": list(self.limits.deletion_days),
                "rotation_days": list(self.limits.rotation_days),
            },
            "notes": dict(self.notes),
        }
