"""The table of capabilities: it holds still, makes sense, and leaves out nothing that works."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from kmscore.algorithms import (
    TRAITS,
    EncryptionAlgorithm,
    KeySpec,
    KeyUsage,
    Origin,
    SigningAlgorithm,
    WrappingAlgorithm,
)
from kmscore.capabilities import Feature
from kmscore.ciphertext import parse
from kmscore.context import EMPTY
from kmscore.errors import CiphertextInvalid
from kmscore.public_key import PublicKey
from kmscore.signing import Message
from kmscore.spi import (
    Asymmetric,
    KeyImporter,
    KeyManager,
    NewKey,
    RandomSource,
    Signer,
    Symmetric,
)
from kmscore_conformance.law import Layer, law
from kmscore_conformance.laws.portability import open_by_hand
from kmscore_conformance.outcome import Inapplicable, Undeclared, Violation
from kmscore_conformance.owner import wrap
from kmscore_conformance.scope import ANY, EVERY_KIND, MANAGED, is_small
from kmscore_conformance.trial import Trial, require

PROBE = b"a probe of sixteen"


@law(
    "table.stable",
    "The table is the same at every look, and can be written as JSON.",
    Layer.CONTRACT,
    ANY,
)
def stable(trial: Trial) -> None:
    """Who plans by it must not be surprised by it."""
    provider = trial.kms.provider
    first = json.dumps(provider.capabilities().as_dict())
    require(first == json.dumps(provider.capabilities().as_dict()), "two looks, two tables")


@law(
    "table.vocabulary",
    "Every row pairs a key spec with a usage and with schemes that belong to it, once.",
    Layer.CONTRACT,
    ANY,
)
def vocabulary(trial: Trial) -> None:
    """A row that makes no sense can be asked for and cannot be served."""
    table = trial.subject.capabilities
    seen: set[tuple[KeySpec, KeyUsage]] = set()
    for row in table.keys:
        traits = TRAITS[row.spec]
        name = f"{row.spec} for {row.usage}"
        require((row.spec, row.usage) not in seen, f"{name} has two rows")
        seen.add((row.spec, row.usage))
        require(row.usage in traits.usages, f"{name} makes no sense")
        require(row.origins, f"{name} comes from nowhere")
        symmetric = row.usage is KeyUsage.ENCRYPT_DECRYPT
        right: tuple[str, ...] = () if symmetric else _schemes(row.spec, row.usage)
        strange = sorted(set(row.algorithms) - set(right))
        require(not strange, f"{name} cannot do {', '.join(strange)}")
        require(row.algorithms or not right, f"{name} has no algorithm")
    external = any(Origin.EXTERNAL in row.origins for row in table.keys)
    require(
        external == bool(table.wrapping),
        "external keys need a wrapping algorithm, and a wrapping algorithm needs external keys",
    )
    limits = table.limits
    sizes = [limits.plaintext, limits.data_key, limits.random]
    sizes += [limits.message] if limits.message is not None else []
    require(min(sizes) > 0, "a limit is not positive")
    for low, high in (limits.deletion_days, limits.rotation_days):
        require(0 < low <= high, "a span of days is empty")


@law(
    "table.interfaces",
    "What the table lists, the provider has an interface for.",
    Layer.CONTRACT,
    ANY,
)
def interfaces(trial: Trial) -> None:
    """Users are refused by the table, or else by the class: never by an accident."""
    provider, table = trial.kms.provider, trial.subject.capabilities
    needed: dict[type[Any], bool] = {
        KeyManager: bool(table.keys),
        Symmetric: any(row.usage is KeyUsage.ENCRYPT_DECRYPT for row in table.keys),
        Asymmetric: any(row.usage is not KeyUsage.ENCRYPT_DECRYPT for row in table.keys),
        Signer: any(row.usage is KeyUsage.SIGN_VERIFY for row in table.keys),
        KeyImporter: bool(table.wrapping),
        RandomSource: Feature.RANDOM in table.features,
    }
    for interface, is_needed in needed.items():
        require(
            isinstance(provider, interface) or not is_needed,
            f"the table needs {interface.__name__}, which the provider does not implement",
        )


@law(
    "table.every-kind",
    "Every kind of key in the table can be made, and is what was asked for.",
    Layer.CONTRACT,
    EVERY_KIND,
)
def every_kind(trial: Trial) -> None:
    """A row that cannot be served is a broken promise."""
    info = trial.key.describe()
    require(info.key_id == trial.key.key_id, "the key is described under another id")
    require(info.spec is trial.kind.spec, f"the key's spec is {info.spec}")
    require(info.usage is trial.kind.usage, f"the key's usage is {info.usage}")
    require(info.origin is Origin.GENERATED, f"the key's origin is {info.origin}")
    require(info.state == "ENABLED", f"a new key is {info.state}")


# --- What works, and is not in the table -----------------------------------------------------


@law(
    "table.undeclared-kinds",
    "A kind of key that the table does not have is refused by the provider too.",
    Layer.CONTRACT,
    MANAGED,
)
def undeclared_kinds(trial: Trial) -> None:
    """A table that says less than there is makes a false matrix."""
    table = trial.subject.capabilities
    absent = [
        (spec, usage, origin)
        for spec, traits in TRAITS.items()
        for usage in traits.usages
        for origin in (tuple(Origin) if traits.is_symmetric else (Origin.GENERATED,))
        if (row := table.find(spec, usage)) is None or origin not in row.origins
    ]
    if not absent:
        raise Inapplicable("the table leaves no kind of key out")
    working = [
        f"{origin} {spec} for {usage}"
        for spec, usage, origin in absent
        if _works(partial(_use_kind, trial, spec, usage, origin))
    ]
    if working:
        raise Undeclared(f"the table does not have what works: {', '.join(working)}")


@law(
    "table.undeclared-algorithms",
    "A scheme that the table does not list for a key is refused by the provider too.",
    Layer.CONTRACT,
    MANAGED,
)
def undeclared_algorithms(trial: Trial) -> None:
    """As above, for signature and encryption schemes."""
    absent = [
        (row, algorithm)
        for row in trial.subject.capabilities.keys
        if Origin.GENERATED in row.origins
        and row.usage is not KeyUsage.ENCRYPT_DECRYPT
        and is_small(row, trial.subject.capabilities)
        for algorithm in _schemes(row.spec, row.usage)
        if algorithm not in row.algorithms
    ]
    if not absent:
        raise Inapplicable("the table leaves no scheme of its keys out")
    provider = trial.kms.provider
    working = [
        f"{algorithm} with {row.spec}"
        for row, algorithm in absent
        if _works(partial(_use_algorithm, provider, trial.subject.key(row).key_id, algorithm))
    ]
    if working:
        raise Undeclared(f"the table does not list what works: {', '.join(working)}")


@law(
    "table.undeclared-wrapping",
    "A wrapping algorithm that the table does not list is refused by the provider too.",
    Layer.CONTRACT,
    MANAGED,
)
def undeclared_wrapping(trial: Trial) -> None:
    """As above, for the import of key material."""
    provider, table = trial.kms.provider, trial.subject.capabilities
    absent = [each for each in WrappingAlgorithm if each not in table.wrapping]
    rows = [row for row in table.keys if Origin.EXTERNAL in row.origins]
    if not absent or not rows or not isinstance(provider, KeyImporter):
        raise Inapplicable("the table leaves no wrapping algorithm out, or imports nothing")

    def use(wrapping: WrappingAlgorithm) -> None:
        key = trial.subject.fresh(rows[0], Origin.EXTERNAL)
        parameters = provider.get_import_parameters(key.key_id, wrapping)
        material = b"\x11" * (TRAITS[key.spec].bits // 8)
        wrapped = wrap(parameters, material, wrapping)
        provider.import_key_material(key.key_id, wrapped, parameters.token, None)
        key.decrypt(key.encrypt(PROBE))

    working = [each.value for each in absent if _works(partial(use, each))]
    if working:
        raise Undeclared(f"the table does not list what works: {', '.join(working)}")


@law(
    "table.undeclared-features",
    "A feature that the table does not list is refused by the provider too.",
    Layer.CONTRACT,
    MANAGED,
)
def undeclared_features(trial: Trial) -> None:
    """As above, for all that providers do beyond using keys."""
    features = trial.subject.capabilities.features
    probes = dict(_feature_probes(trial))
    absent = [feature for feature in probes if feature not in features]
    if not absent:
        raise Inapplicable("the table leaves no feature out")
    working = [feature.value for feature in absent if _works(probes[feature])]
    if working:
        raise Undeclared(f"the table does not list what works: {', '.join(working)}")


def _works(use: Callable[[], None]) -> bool:
    try:
        use()
    except Exception:  # noqa: BLE001 - the core asks for nothing outside the table
        return False
    return True


def _use_kind(trial: Trial, spec: KeySpec, usage: KeyUsage, origin: Origin) -> None:
    provider = trial.kms.provider
    if not isinstance(provider, KeyManager):
        raise Violation("the provider manages no keys")
    info = provider.create_key(NewKey(spec, usage, origin))
    require(info.spec is spec and info.usage is usage and info.origin is origin, "another key")
    if usage is not KeyUsage.ENCRYPT_DECRYPT:
        _use_algorithm(provider, info.key_id, _schemes(spec, usage)[0])
        return
    if not isinstance(provider, Symmetric):
        raise Violation("the provider has no symmetric encryption")
    if origin is Origin.GENERATED:
        sealed = provider.encrypt(info.key_id, PROBE, EMPTY)
        require(
            provider.decrypt(info.key_id, sealed, EMPTY).plaintext == PROBE, "another plaintext"
        )
        if not isinstance(provider, KeyImporter):
            return
        info = provider.create_key(NewKey(spec, usage, Origin.EXTERNAL))
    _use_material(trial, provider, info.key_id, spec)


def _use_material(trial: Trial, provider: Symmetric, key_id: str, spec: KeySpec) -> None:
    """A key is what it is said to be only if its ciphertext opens with the material by hand."""
    if not isinstance(provider, KeyImporter):
        raise Violation("the provider imports nothing")
    material = b"\x11" * (TRAITS[spec].bits // 8)
    parameters = provider.get_import_parameters(key_id, trial.subject.wrapping)
    provider.import_key_material(key_id, wrap(parameters, material), parameters.token, None)
    sealed = provider.encrypt(key_id, PROBE, EMPTY)
    require(provider.decrypt(key_id, sealed, EMPTY).plaintext == PROBE, "another plaintext")
    try:
        parse(sealed)
    except CiphertextInvalid:
        return
    require(open_by_hand(spec, material, sealed, b"") == PROBE, "another plaintext")


def _schemes(
    spec: KeySpec, usage: KeyUsage
) -> tuple[SigningAlgorithm, ...] | tuple[EncryptionAlgorithm, ...]:
    signs = usage is KeyUsage.SIGN_VERIFY
    return TRAITS[spec].signing if signs else TRAITS[spec].encryption


def _use_algorithm(
    provider: object, key_id: str, algorithm: SigningAlgorithm | EncryptionAlgorithm
) -> None:
    if not isinstance(provider, Asymmetric):
        raise Violation("the provider has no key pairs")
    public = PublicKey(provider.public_key(key_id))
    if isinstance(algorithm, EncryptionAlgorithm):
        sealed = public.encrypt(PROBE, algorithm)
        opened = provider.asymmetric_decrypt(key_id, algorithm, sealed)
        require(opened == PROBE, "it does not open")
        return
    if not isinstance(provider, Signer):
        raise Violation("the provider does not sign")
    signature = provider.sign(key_id, algorithm, Message(PROBE))
    require(public.verify(Message(PROBE), signature, algorithm), "it does not verify")


def _feature_probes(trial: Trial) -> Iterator[tuple[Feature, Callable[[], None]]]:
    provider = trial.kms.provider
    if isinstance(provider, RandomSource):
        yield Feature.RANDOM, lambda: require(len(provider.generate_random(16)) == 16, "short")
    row = next((r for r in trial.subject.capabilities.keys if Origin.GENERATED in r.origins), None)
    if row is None or not isinstance(provider, KeyManager):
        return

    def fresh() -> str:
        return trial.subject.fresh(row).key_id

    def alias() -> None:
        name, key_id = f"kmscore-probe-{trial.session.seed}", fresh()
        provider.set_alias(key_id, name)
        require(provider.describe_key(name).key_id == key_id, "another key")

    def archive() -> None:
        key_id = fresh()
        provider.archive_key(key_id)
        require(provider.describe_key(key_id).state == "ARCHIVED", "it is not archived")

    def delete() -> None:
        key_id = fresh()
        provider.disable_key(key_id)
        provider.schedule_key_deletion(key_id, trial.subject.capabilities.limits.deletion_days[0])
        require(provider.describe_key(key_id).state == "PENDING_DELETION", "it is not scheduled")

    yield Feature.ALIASES, alias
    yield Feature.ARCHIVE, archive
    yield Feature.DELETION, delete
    if row.usage is KeyUsage.ENCRYPT_DECRYPT:
        yield Feature.ROTATION, lambda: provider.rotate_key(fresh())
        yield Feature.ROTATION_SCHEDULE, lambda: provider.set_rotation(fresh(), 365)
