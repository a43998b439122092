"""Bring your own key: what is brought is what is used, for as long as it was meant to be."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from kmscore.algorithms import TRAITS, Origin
from kmscore.capabilities import Feature
from kmscore.errors import (
    CiphertextInvalid,
    ImportTokenExpired,
    InvalidRequest,
    KeyStateError,
    MaterialMismatch,
    Unsupported,
)
from kmscore_conformance.law import Layer, law
from kmscore_conformance.owner import deliver, wrap, wrapping_key
from kmscore_conformance.scope import EXTERNAL, ONE_EXTERNAL, ONE_WRAPPED, WRAPPED
from kmscore_conformance.subject import DAY
from kmscore_conformance.trial import Trial, refusal, require

SECRET = b"under a key from elsewhere"


def _material(trial: Trial) -> bytes:
    return os.urandom(TRAITS[trial.kind.spec].bits // 8)


@law(
    "import.works",
    "Material that arrives wrapped, in each way of the table, makes a key that encrypts.",
    Layer.IMPORT,
    WRAPPED,
)
def works(trial: Trial) -> None:
    """From PENDING_IMPORT to ENABLED, once and for all."""
    key = trial.fresh(Origin.EXTERNAL)
    info = key.describe()
    require(info.state == "PENDING_IMPORT", f"a key that waits for material is {info.state}")
    require(info.origin is Origin.EXTERNAL, f"its origin is {info.origin}")
    deliver(key, _material(trial), trial.case.wrapping)
    info = key.describe()
    require(info.state == "ENABLED", f"with material, the key is {info.state}")
    require(info.valid_to is None, "material that was to stay expires")
    sealed = key.encrypt(SECRET, context={"a": "b"})
    require(key.decrypt(sealed, context={"a": "b"}) == SECRET, "another plaintext came out")


@law(
    "import.parameters",
    "Import parameters are an RSA key of 2048 bits or more, a token, and 24 hours.",
    Layer.IMPORT,
    ONE_WRAPPED,
)
def parameters(trial: Trial) -> None:
    """And new ones are new."""
    key = trial.fresh(Origin.EXTERNAL)
    wrapping = trial.case.wrapping
    one, two = (key.import_parameters(wrapping or "") for _ in range(2))
    wrapping_key(one)
    require(one.wrapping == wrapping, f"they are for {one.wrapping}")
    require(one.key_id == key.key_id, "they are for another key")
    require(one.token and one.token != two.token, "two tokens are the same")
    hours = (one.valid_to - datetime.now(UTC)) / timedelta(hours=1)
    require(23 < hours <= 25, f"they are valid for {hours:.1f} hours")


@law(
    "import.empty",
    "A key without material does nothing.",
    Layer.IMPORT,
    EXTERNAL,
)
def empty(trial: Trial) -> None:
    """And cannot be enabled by asking for it."""
    key = trial.fresh(Origin.EXTERNAL)
    for what, use in (
        ("encrypt", lambda: key.encrypt(b"x")),
        ("a data key", key.generate_data_key),
    ):
        error = refusal(f"{what} without material", KeyStateError, use)
        require(getattr(error, "state", "") == "PENDING_IMPORT", f"{what}: another state")
    refusal("enabling an empty key", KeyStateError, key.enable)


@law(
    "import.token-again",
    "Within its time, a token may be used again for the same material.",
    Layer.IMPORT,
    ONE_EXTERNAL,
)
def token_again(trial: Trial) -> None:
    """A lost answer must not cost the owner a new ceremony."""
    key, material = trial.fresh(Origin.EXTERNAL), _material(trial)
    used = deliver(key, material, trial.subject.wrapping)
    sealed = key.encrypt(SECRET)
    key.import_material(wrap(used, material), used.token)
    require(key.decrypt(sealed) == SECRET, "another plaintext came out")


@law(
    "import.same-material",
    "Deleted material closes its ciphertexts; brought again, it opens them.",
    Layer.IMPORT,
    EXTERNAL,
)
def same_material(trial: Trial) -> None:
    """The key stays, and so does what it was."""
    key, material = trial.fresh(Origin.EXTERNAL), _material(trial)
    given = deliver(key, material, trial.subject.wrapping)
    sealed = key.encrypt(SECRET)
    key.delete_material()
    require(key.describe().state == "PENDING_IMPORT", f"the key is {key.describe().state}")
    refusal("a ciphertext of deleted material", KeyStateError, key.decrypt, sealed)
    refusal("encryption with it", KeyStateError, key.encrypt, b"x")
    key.import_material(wrap(given, material), given.token)
    require(key.decrypt(sealed) == SECRET, "another plaintext came out")


@law(
    "import.other-material",
    "A key that once had material takes no other: MaterialMismatch.",
    Layer.IMPORT,
    ONE_EXTERNAL,
)
def other_material(trial: Trial) -> None:
    """Not over the old one, not after it was deleted, and not one bit of it."""
    key, material = trial.fresh(Origin.EXTERNAL), _material(trial)
    given = deliver(key, material, trial.subject.wrapping)
    sealed, send = key.encrypt(SECRET), key.import_material
    near = bytes([material[0] ^ 1]) + material[1:]
    refusal("other material", MaterialMismatch, send, wrap(given, near), given.token)
    require(key.decrypt(sealed) == SECRET, "the refused material has done harm")
    key.delete_material()
    refusal("other material later", MaterialMismatch, send, wrap(given, near), given.token)
    require(key.describe().state == "PENDING_IMPORT", "the refused material has changed the state")
    fresh = deliver(key, material, trial.subject.wrapping)
    require(key.decrypt(sealed) == SECRET, "another plaintext came out")
    refusal("other material anew", MaterialMismatch, send, wrap(fresh, near), fresh.token)


@law(
    "import.zeros",
    "Zeros at either end of the material belong to it.",
    Layer.IMPORT,
    EXTERNAL,
)
def zeros(trial: Trial) -> None:
    """What strips them has another key, and says nothing."""
    size = TRAITS[trial.kind.spec].bits // 8
    material = b"\0\0\x04" + b"\x17" * (size - 5) + b"\0\0"
    key = trial.fresh(Origin.EXTERNAL)
    given = deliver(key, material, trial.subject.wrapping)
    sealed, send = key.encrypt(SECRET), key.import_material
    for stripped in (material.lstrip(b"\0"), material.rstrip(b"\0"), material.strip(b"\0")):
        for shifted in (stripped.ljust(size, b"\0"), stripped.rjust(size, b"\0")):
            if shifted != material:
                what = "material with its zeros elsewhere"
                refusal(what, MaterialMismatch, send, wrap(given, shifted), given.token)
    send(wrap(given, material), given.token)
    require(key.decrypt(sealed) == SECRET, "another plaintext came out")


@law(
    "import.two-keys",
    "Two keys with different material do not open each other's ciphertexts.",
    Layer.IMPORT,
    ONE_EXTERNAL,
)
def two_keys(trial: Trial) -> None:
    """Which they would, if the material were not used."""
    one, two = trial.fresh(Origin.EXTERNAL), trial.fresh(Origin.EXTERNAL)
    deliver(one, _material(trial), trial.subject.wrapping)
    deliver(two, _material(trial), trial.subject.wrapping)
    refusal("the other's ciphertext", CiphertextInvalid, two.decrypt, one.encrypt(SECRET))


@law(
    "import.expiry",
    "Material with an end is gone when it has come, and can be brought again.",
    Layer.IMPORT,
    ONE_EXTERNAL.having(Feature.MATERIAL_EXPIRY).with_clock(),
)
def expiry(trial: Trial) -> None:
    """The key is then as if its material had been deleted."""
    with trial.subject.at_another_time() as (kms, clock):
        key = kms.create_key(trial.kind.spec, origin=Origin.EXTERNAL)
        material = _material(trial)
        end = datetime.fromtimestamp(clock() + 3 * DAY, UTC).replace(microsecond=0)
        deliver(key, material, trial.subject.wrapping, valid_to=end)
        require(key.describe().valid_to == end, f"it expires at {key.describe().valid_to}")
        sealed = key.encrypt(SECRET)
        clock.ahead += 3 * DAY - 60
        require(key.decrypt(sealed) == SECRET, "another plaintext came out")
        clock.ahead += 120
        refusal("expired material", KeyStateError, key.decrypt, sealed)
        state = key.describe().state
        require(state == "PENDING_IMPORT", f"with expired material, the key is {state}")
        deliver(key, material, trial.subject.wrapping)
        require(key.decrypt(sealed) == SECRET, "another plaintext came out")
        require(key.describe().valid_to is None, "the old end is there still")


@law(
    "import.expiry-past",
    "An end that is past is InvalidRequest, and one without a time zone too.",
    Layer.IMPORT,
    ONE_EXTERNAL.having(Feature.MATERIAL_EXPIRY),
)
def expiry_past(trial: Trial) -> None:
    """Material that is dead on arrival helps nobody."""
    key, material = trial.fresh(Origin.EXTERNAL), _material(trial)
    wrapping = trial.subject.wrapping
    past = datetime.now(UTC) - timedelta(hours=2)
    refusal("an end in the past", InvalidRequest, deliver, key, material, wrapping, valid_to=past)
    naive = (datetime.now(UTC) + timedelta(days=3)).replace(tzinfo=None)
    refusal("no time zone", InvalidRequest, deliver, key, material, wrapping, valid_to=naive)
    require(key.describe().state == "PENDING_IMPORT", "the material was taken all the same")


@law(
    "import.token-expired",
    "After 24 hours a token is ImportTokenExpired.",
    Layer.IMPORT,
    ONE_EXTERNAL.with_clock(),
)
def token_expired(trial: Trial) -> None:
    """And not before."""
    with trial.subject.at_another_time() as (kms, clock):
        key = kms.create_key(trial.kind.spec, origin=Origin.EXTERNAL)
        material = _material(trial)
        given = key.import_parameters(trial.subject.wrapping)
        clock.ahead += DAY - 300
        key.import_material(wrap(given, material), given.token)
        clock.ahead += 600
        call = key.import_material
        refusal("an old token", ImportTokenExpired, call, wrap(given, material), given.token)


@law(
    "import.no-rotation",
    "A key with imported material does not rotate: Unsupported.",
    Layer.IMPORT,
    ONE_EXTERNAL,
)
def no_rotation(trial: Trial) -> None:
    """Its owner has the only next version there could be."""
    refusal("rotation", Unsupported, trial.imported.rotate)
