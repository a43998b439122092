"""What an import refuses: foreign tokens, broken wrapping, wrong sizes; and nothing is changed."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.asymmetric import rsa

from kmscore.algorithms import TRAITS, Origin, WrappingAlgorithm
from kmscore.errors import ImportMaterialInvalid, ImportTokenExpired, KeyStateError
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Inapplicable
from kmscore_conformance.owner import PADDINGS, deliver, wrap
from kmscore_conformance.scope import EXTERNAL, ONE_EXTERNAL, WRAPPED
from kmscore_conformance.strategies import flipped
from kmscore_conformance.trial import Trial, refusal, require


@law(
    "import.wrong-size",
    "Material of another length than the spec's is ImportMaterialInvalid.",
    Layer.IMPORT,
    EXTERNAL,
)
def wrong_size(trial: Trial) -> None:
    """Neither cut nor filled up."""
    size = TRAITS[trial.kind.spec].bits // 8
    key = trial.fresh(Origin.EXTERNAL)
    given = key.import_parameters(trial.subject.wrapping)
    for length in (1, size - 1, size + 1, size // 2, size * 2, 24):
        wrapped = wrap(given, os.urandom(length))
        what = f"{length} bytes for {trial.kind.spec}"
        refusal(what, ImportMaterialInvalid, key.import_material, wrapped, given.token)
    require(key.describe().state == "PENDING_IMPORT", "the material was taken all the same")
    key.import_material(wrap(given, os.urandom(size)), given.token)


@law(
    "import.wrong-wrapping",
    "What was wrapped otherwise, for another key, or altered on its way is ImportMaterialInvalid.",
    Layer.IMPORT,
    WRAPPED,
)
def wrong_wrapping(trial: Trial) -> None:
    """Always the same error; and nothing is imported."""
    size = TRAITS[trial.kind.spec].bits // 8
    key = trial.fresh(Origin.EXTERNAL)
    given = key.import_parameters(trial.case.wrapping or "")
    material = os.urandom(size)
    good = wrap(given, material)
    stranger = rsa.generate_private_key(65537, 8 * len(good)).public_key()
    bad = {
        "material wrapped for another key": stranger.encrypt(material, PADDINGS[given.wrapping]),
        "wrapped material with a bit changed": flipped(good, len(good) // 2),
        "wrapped material, cut": good[:-1],
        "wrapped material, extended": good + b"\0",
        "material that is not wrapped": material,
        "zeros": bytes(len(good)),
        "the token in place of the material": given.token,
    }
    for other in WrappingAlgorithm:
        if other != given.wrapping:
            bad[f"material wrapped with {other}"] = wrap(given, material, other)
    said: set[str] = set()
    for what, wrapped in bad.items():
        call = key.import_material
        said.add(str(refusal(what, ImportMaterialInvalid, call, wrapped, given.token)))
    require(len(said) == 1, f"{len(said)} different errors: {' / '.join(sorted(said))}")
    require(key.describe().state == "PENDING_IMPORT", "something was imported all the same")
    key.import_material(good, given.token)


@law(
    "import.old-token",
    "When newer parameters were issued, the older token is ImportTokenExpired.",
    Layer.IMPORT,
    ONE_EXTERNAL,
)
def old_token(trial: Trial) -> None:
    """Only the latest count."""
    key = trial.fresh(Origin.EXTERNAL)
    material = os.urandom(TRAITS[trial.kind.spec].bits // 8)
    old = key.import_parameters(trial.subject.wrapping)
    new = key.import_parameters(trial.subject.wrapping)
    call = key.import_material
    refusal("an older token", ImportTokenExpired, call, wrap(old, material), old.token)
    require(key.describe().state == "PENDING_IMPORT", "the material was taken all the same")
    key.import_material(wrap(new, material), new.token)
    refusal("an older token later", ImportTokenExpired, call, wrap(old, material), old.token)


@law(
    "import.foreign-token",
    "A token of another key, and bytes that are no token, are ImportTokenExpired.",
    Layer.IMPORT,
    ONE_EXTERNAL,
)
def foreign_token(trial: Trial) -> None:
    """A token is for the key that it was issued for."""
    one, two = trial.fresh(Origin.EXTERNAL), trial.fresh(Origin.EXTERNAL)
    material = os.urandom(TRAITS[trial.kind.spec].bits // 8)
    of_one = one.import_parameters(trial.subject.wrapping)
    of_two = two.import_parameters(trial.subject.wrapping)
    wrapped = wrap(of_two, material)
    for what, token in (
        ("another key's token", of_one.token),
        ("a token with a bit changed", flipped(of_two.token, 0)),
        ("a token that was cut", of_two.token[:-1]),
        ("random bytes", os.urandom(len(of_two.token))),
    ):
        refusal(what, ImportTokenExpired, two.import_material, wrapped, token)
    require(two.describe().state == "PENDING_IMPORT", "the material was taken all the same")
    two.import_material(wrapped, of_two.token)


@law(
    "import.foreign-wrapping-key",
    "Material under another key's wrapping key is ImportMaterialInvalid.",
    Layer.IMPORT,
    ONE_EXTERNAL,
)
def foreign_wrapping_key(trial: Trial) -> None:
    """Where every key has a wrapping key of its own, as it should."""
    one, two = trial.fresh(Origin.EXTERNAL), trial.fresh(Origin.EXTERNAL)
    material = os.urandom(TRAITS[trial.kind.spec].bits // 8)
    of_one = one.import_parameters(trial.subject.wrapping)
    of_two = two.import_parameters(trial.subject.wrapping)
    if of_one.public_key == of_two.public_key:
        raise Inapplicable("the provider has one wrapping key for all keys")
    wrapped = wrap(of_one, material)
    refusal("a foreign key", ImportMaterialInvalid, two.import_material, wrapped, of_two.token)


@law(
    "import.disabled",
    "A disabled key takes no material.",
    Layer.IMPORT,
    ONE_EXTERNAL,
)
def disabled(trial: Trial) -> None:
    """Who disabled it did not mean that it comes back by an import."""
    key = trial.fresh(Origin.EXTERNAL)
    material = os.urandom(TRAITS[trial.kind.spec].bits // 8)
    used = deliver(key, material, trial.subject.wrapping)
    key.disable()
    call = key.import_material
    refusal("material for a disabled key", KeyStateError, call, wrap(used, material), used.token)
    require(key.describe().state == "DISABLED", f"the key is {key.describe().state}")
