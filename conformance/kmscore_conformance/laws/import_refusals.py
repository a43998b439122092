"""What an import refuses: foreign tokens, broken wrapping, wrong sizes; and nothing is changed."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa

from kmscore.algorithms import TRAITS, Origin, WrappingAlgorithm
from kmscore.errors import (
    ImportMaterialInvalid,
    ImportTokenExpired,
    InvalidRequest,
    KeyStateError,
)
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Inapplicable, Violation
from kmscore_conformance.owner import PADDINGS, deliver, wrap
from kmscore_conformance.scope import EXTERNAL, ONE_EXTERNAL, ONE_WRAPPED
from kmscore_conformance.strategies import flipped
from kmscore_conformance.trial import Trial, refusal, require, told

if TYPE_CHECKING:
    from kmscore.client import Key
    from kmscore.spi import ImportParameters


@cache
def _stranger(bits: int) -> rsa.RSAPublicKey:
    return rsa.generate_private_key(65537, bits).public_key()


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
    ONE_WRAPPED,
)
def wrong_wrapping(trial: Trial) -> None:
    """Always the same error; and nothing is imported.

    Broken PKCS #1 v1.5 padding may give random bytes instead of an error, which have the length of
    a key by chance; not three times in a row.
    """
    tries = 3 if trial.case.wrapping is WrappingAlgorithm.RSAES_PKCS1_V1_5 else 1
    said: set[str] = set()
    key, given = _waiting(trial)
    good = wrap(given, os.urandom(TRAITS[trial.kind.spec].bits // 8))
    for what in _damage(given, good):
        for left in reversed(range(tries)):
            wrapped = _damage(given, good)[what]
            try:
                call = key.import_material
                error = refusal(what, ImportMaterialInvalid, call, wrapped, given.token)
                said.add(told(error))
                break
            except Violation:
                if left == 0:
                    raise
                key, given = _waiting(trial)
                good = wrap(given, os.urandom(TRAITS[trial.kind.spec].bits // 8))
    require(len(said) == 1, f"{len(said)} different errors: {' / '.join(sorted(said))}")
    require(key.describe().state == "PENDING_IMPORT", "something was imported all the same")
    key.import_material(good, given.token)


def _waiting(trial: Trial) -> tuple[Key, ImportParameters]:
    key = trial.fresh(Origin.EXTERNAL)
    return key, key.import_parameters(trial.case.wrapping or "")


def _damage(given: ImportParameters, good: bytes) -> dict[str, bytes]:
    material = b"\x17" * 16
    stranger = _stranger(8 * len(good))
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
    return bad


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
    "A token of another key is ImportTokenExpired, and bytes that are no token are refused.",
    Layer.IMPORT,
    ONE_EXTERNAL,
)
def foreign_token(trial: Trial) -> None:
    """A token is for the key that it was issued for; a malformed one may be InvalidRequest."""
    one, two = trial.fresh(Origin.EXTERNAL), trial.fresh(Origin.EXTERNAL)
    material = os.urandom(TRAITS[trial.kind.spec].bits // 8)
    of_one = one.import_parameters(trial.subject.wrapping)
    of_two = two.import_parameters(trial.subject.wrapping)
    wrapped = wrap(of_two, material)
    for what, token in (
        ("another key's token", of_one.token),
        ("a token with a bit changed", flipped(of_two.token, 0)),
    ):
        refusal(what, ImportTokenExpired, two.import_material, wrapped, token)
    for token in (of_two.token[:-1], os.urandom(len(of_two.token)), b"token"):
        try:
            two.import_material(wrapped, token)
        except (ImportTokenExpired, InvalidRequest):
            continue
        raise Violation("bytes that are no token are accepted")
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
