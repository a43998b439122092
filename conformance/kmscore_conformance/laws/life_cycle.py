"""The life of a key: what each state allows, and what time brings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kmscore.algorithms import KeyUsage, Origin
from kmscore.capabilities import Feature
from kmscore.ciphertext import parse
from kmscore.errors import (
    AlreadyExists,
    CiphertextInvalid,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KmsError,
    Unsupported,
)
from kmscore.signing import Message
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Violation
from kmscore_conformance.scope import EVERY_KIND, MANAGED, ONE_SYMMETRIC, SYMMETRIC
from kmscore_conformance.subject import DAY
from kmscore_conformance.trial import Trial, refusal, require

if TYPE_CHECKING:
    from kmscore.client import Key

SECRET = b"outlives its key's versions"
FAMILIES = EVERY_KIND.smallest()


def uses(key: Key) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every use of a key, made ready while it is enabled."""
    if key.usage is KeyUsage.ENCRYPT_DECRYPT:
        sealed = key.encrypt(b"x")
        yield "encrypt", lambda: key.encrypt(b"x")
        yield "decrypt", lambda: key.decrypt(sealed)
        yield "generate_data_key", key.generate_data_key
        return
    yield "public_key", key.public_key
    public = key.public_key()
    if key.usage is KeyUsage.SIGN_VERIFY:
        signature = key.sign(Message(b"x"))
        yield "sign", lambda: key.sign(Message(b"x"))
        yield "verify", lambda: key.verify(Message(b"x"), signature)
        return
    # Not every provider has the recommended scheme.
    for scheme in ("RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1", "RSAES_PKCS1_V1_5", "SM2"):
        try:
            sealed = public.encrypt(b"x", scheme)
            key.decrypt(sealed, algorithm=scheme)
        except Unsupported:
            continue
        yield (
            "decrypt",
            lambda sealed=sealed, scheme=scheme: key.decrypt(  # type: ignore[misc]
                sealed, algorithm=scheme
            ),
        )
        return


def refuses_all(ready: list[tuple[str, Callable[[], Any]]], state: str) -> None:
    """Every use of a key is refused because of its state."""
    for what, use in ready:
        error = refusal(f"{what} with a {state} key", KeyStateError, use)
        require(getattr(error, "state", "") == state, f"{what}: the error does not say {state}")


@law(
    "life.disabled",
    "A disabled key does nothing at all, from the moment that it is disabled; enabled, all.",
    Layer.LIFE_CYCLE,
    FAMILIES,
)
def disabled(trial: Trial) -> None:
    """Caches of keys, handles and sessions have made exceptions."""
    key = trial.fresh()
    ready = list(uses(key))
    for _, use in ready:
        use()
    key.disable()
    require(key.describe().state == "DISABLED", f"the key is {key.describe().state}")
    refuses_all(ready, "DISABLED")
    key.disable()
    key.enable()
    require(key.describe().state == "ENABLED", f"the key is {key.describe().state}")
    for _, use in ready:
        use()
    key.enable()


@law(
    "life.disabled-unnamed",
    "A ciphertext of a disabled key does not open either when its key is not named.",
    Layer.LIFE_CYCLE,
    SYMMETRIC,
)
def disabled_unnamed(trial: Trial) -> None:
    """The other door to the same room."""
    key = trial.fresh()
    sealed = key.encrypt(SECRET)
    require(trial.kms.decrypt(sealed) == SECRET, "another plaintext came out")
    key.disable()
    refusal("decryption", KeyStateError, trial.kms.decrypt, sealed)


@law(
    "life.scheduled",
    "Only a disabled key is scheduled for deletion; then it does nothing, and can be cancelled.",
    Layer.LIFE_CYCLE,
    FAMILIES.having(Feature.DELETION),
)
def scheduled(trial: Trial) -> None:
    """Cancelled, it is disabled, and then as it was."""
    key = trial.fresh()
    days = trial.subject.capabilities.limits.deletion_days
    ready = list(uses(key))
    refusal("deletion of an enabled key", KeyStateError, key.schedule_deletion, days[0])
    refusal("cancelling nothing", KeyStateError, key.cancel_deletion)
    key.disable()
    refusal("cancelling nothing", KeyStateError, key.cancel_deletion)
    at = key.schedule_deletion(days[0])
    info = key.describe()
    require(info.state == "PENDING_DELETION", f"the key is {info.state}")
    require(info.deletion_at == at, f"it goes at {info.deletion_at}, and was promised {at}")
    refuses_all(ready, "PENDING_DELETION")
    refusal("enabling", KeyStateError, key.enable)
    refusal("disabling", KeyStateError, key.disable)
    refusal("scheduling again", KeyStateError, key.schedule_deletion, days[0])
    key.cancel_deletion()
    info = key.describe()
    require(info.state == "DISABLED", f"a cancelled deletion leaves the key {info.state}")
    require(info.deletion_at is None, "the cancelled deletion has a time still")
    key.enable()
    for _, use in ready:
        use()


@law(
    "life.deletion-time",
    "A key is deleted after as many days as were asked for, 7 to 30, and no others are accepted.",
    Layer.LIFE_CYCLE,
    ONE_SYMMETRIC.having(Feature.DELETION),
)
def deletion_time(trial: Trial) -> None:
    """Within an hour: clocks differ."""
    key = trial.fresh()
    key.disable()
    low, high = trial.subject.capabilities.limits.deletion_days
    require(low >= 7 and high <= 30, f"the table says {low} to {high} days")
    for days in (low, high):
        at = key.schedule_deletion(days)
        require(at.utcoffset() == timedelta(0), "the time is not in UTC")
        off = abs(at.timestamp() - time.time() - days * DAY)
        require(off < 3600, f"{days} days are {off / 3600:.1f} hours off")
        key.cancel_deletion()
    for days in (low - 1, high + 1, 0, -7):
        refusal(f"{days} days", InvalidRequest, key.schedule_deletion, days)


@law(
    "life.deleted",
    "When its time has come, a key is not found, and its ciphertexts stay closed.",
    Layer.LIFE_CYCLE,
    SYMMETRIC.having(Feature.DELETION).with_clock(),
)
def deleted(trial: Trial) -> None:
    """And it can be cancelled to the last second."""
    low = trial.subject.capabilities.limits.deletion_days[0]
    with trial.subject.at_another_time() as (kms, clock):
        key = kms.create_key(trial.kind.spec)
        sealed = key.encrypt(SECRET)
        key.disable()
        key.schedule_deletion(low)
        clock.ahead += low * DAY - 60
        key.cancel_deletion()
        key.enable()
        require(key.decrypt(sealed) == SECRET, "another plaintext came out")
        key.disable()
        key.schedule_deletion(low)
        clock.ahead += low * DAY + 60
        refusal("a deleted key", KeyNotFound, kms.key, key.key_id)
        refusal("cancelling too late", KeyNotFound, key.cancel_deletion)
        refusal("encryption with it", KeyNotFound, key.encrypt, b"x")
        refusal("its ciphertext", CiphertextInvalid, kms.decrypt, sealed)


@law(
    "life.rotation",
    "After a rotation new ciphertexts are of the new version, and old ones open as before.",
    Layer.LIFE_CYCLE,
    SYMMETRIC.having(Feature.ROTATION),
)
def rotation(trial: Trial) -> None:
    """For every version, with the key named and without."""
    key = trial.fresh()
    sealed = [key.encrypt(SECRET)]
    for number in range(2, 5):
        key.rotate()
        info = key.describe()
        require(info.rotated_at is not None, "the rotation has no time")
        sealed.append(key.encrypt(SECRET))
        try:
            version = parse(sealed[-1]).key_version
        except CiphertextInvalid:
            version = number
        require(version == number, f"after rotation {number - 1}, version {version} encrypts")
        for old in sealed:
            require(key.decrypt(old) == SECRET, "an old ciphertext is another plaintext")
            require(trial.kms.decrypt(old) == SECRET, "an old ciphertext is another plaintext")


@law(
    "life.rotation-limits",
    "A key that is not enabled does not rotate, and key pairs never do.",
    Layer.LIFE_CYCLE,
    EVERY_KIND.having(Feature.ROTATION),
)
def rotation_limits(trial: Trial) -> None:
    """A public key that changes behind its users' backs verifies nothing."""
    if trial.kind.usage is not KeyUsage.ENCRYPT_DECRYPT:
        refusal("rotation of a key pair", Unsupported, trial.key.rotate)
        return
    key = trial.fresh()
    key.disable()
    refusal("rotation of a disabled key", KeyStateError, key.rotate)


@law(
    "life.rotation-schedule",
    "A key rotates by itself when its period is over, and not before.",
    Layer.LIFE_CYCLE,
    SYMMETRIC.having(Feature.ROTATION_SCHEDULE).with_clock(),
)
def rotation_schedule(trial: Trial) -> None:
    """At the latest with the first encryption after that time."""
    with trial.subject.at_another_time() as (kms, clock):
        key = kms.create_key(trial.kind.spec)
        key.set_rotation(90)
        info = key.describe()
        require(info.rotation_days == 90, f"the period is {info.rotation_days} days")
        old = key.encrypt(SECRET)
        clock.ahead += 89 * DAY
        key.encrypt(SECRET)
        require(key.describe().version == info.version, "it has rotated too early")
        clock.ahead += 2 * DAY
        new = key.encrypt(SECRET)
        require(key.describe().version > info.version, "it has not rotated")
        for sealed in (old, new):
            require(key.decrypt(sealed) == SECRET, "another plaintext came out")
        key.set_rotation(None)
        version = key.describe().version
        clock.ahead += 200 * DAY
        key.encrypt(SECRET)
        require(key.describe().version == version, "it rotates though it was told not to")


@law(
    "life.archive",
    "An archived key decrypts, and encrypts no more, until it is restored.",
    Layer.LIFE_CYCLE,
    SYMMETRIC.having(Feature.ARCHIVE),
)
def archive(trial: Trial) -> None:
    """Data outlives the right to write it."""
    key = trial.fresh()
    sealed = key.encrypt(SECRET)
    key.archive()
    require(key.describe().state == "ARCHIVED", f"the key is {key.describe().state}")
    require(key.decrypt(sealed) == SECRET, "another plaintext came out")
    refuses_all([("encrypt", lambda: key.encrypt(b"x"))], "ARCHIVED")
    refuses_all([("generate_data_key", key.generate_data_key)], "ARCHIVED")
    key.restore()
    require(key.describe().state == "ENABLED", f"a restored key is {key.describe().state}")
    require(key.decrypt(key.encrypt(SECRET)) == SECRET, "another plaintext came out")


@law(
    "life.failure-forgotten",
    "What failed is tried anew: a refusal is not remembered when its reason is gone.",
    Layer.LIFE_CYCLE,
    SYMMETRIC,
)
def failure_forgotten(trial: Trial) -> None:
    """A cache that keeps failures turns a moment's trouble into an outage."""
    key = trial.fresh()
    sealed = key.encrypt(SECRET, context={"a": "b"})

    def opens() -> None:
        try:
            opened = key.decrypt(sealed, context={"a": "b"})
        except KmsError as error:
            raise Violation(f"the failure is remembered: {error.message}") from error
        require(opened == SECRET, "another plaintext came out")

    # That these fail is for other laws to say.
    with suppress(KmsError):
        key.decrypt(sealed, context={"a": "c"})
    opens()
    key.disable()
    with suppress(KmsError):
        key.decrypt(sealed, context={"a": "b"})
    key.enable()
    opens()


# --- Names -------------------------------------------------------------------------------------


def _name(what: str) -> str:
    return f"kmscore-{what}-{os.urandom(6).hex()}"


@law(
    "life.alias",
    "A key is found by its alias, and by a new one when it is renamed.",
    Layer.LIFE_CYCLE,
    ONE_SYMMETRIC.having(Feature.ALIASES),
)
def alias(trial: Trial) -> None:
    """What the configuration of a program names."""
    name, other = _name("first"), _name("second")
    key = trial.subject.fresh(trial.kind, Origin.GENERATED, name)
    require(trial.kms.key(name).key_id == key.key_id, "the alias is another key's")
    for near in (name.upper(), name[:-1], name[1:]):
        refusal("what is only like an alias", KeyNotFound, trial.kms.key, near)
    require(key.describe().alias == name, f"the alias is {key.describe().alias!r}")
    sealed = trial.kms.key(name).encrypt(SECRET)
    key.set_alias(other)
    require(trial.kms.key(other).decrypt(sealed) == SECRET, "another plaintext came out")
    refusal("the old alias", KeyNotFound, trial.kms.key, name)
    again = trial.subject.fresh(trial.kind, Origin.GENERATED, name)
    require(trial.kms.key(name).key_id == again.key_id, "the alias is the first key's still")


def _count(trial: Trial) -> int:
    """How many keys there are, as far as it can be told cheaply."""
    if trial.profile.max_calls is not None:
        return len(trial.subject.line.created)
    return len(list(trial.kms.keys()))


@law(
    "life.alias-taken",
    "An alias belongs to one key: a second claim is AlreadyExists, and makes no key.",
    Layer.LIFE_CYCLE,
    ONE_SYMMETRIC.having(Feature.ALIASES),
)
def alias_taken(trial: Trial) -> None:
    """By creation and by renaming."""
    name = _name("taken")
    first = trial.subject.fresh(trial.kind, Origin.GENERATED, name)
    second = trial.fresh()
    before = _count(trial)
    call = trial.subject.fresh
    refusal("a second key of that name", AlreadyExists, call, trial.kind, Origin.GENERATED, name)
    require(_count(trial) == before, "a key was made all the same")
    refusal("renaming to it", AlreadyExists, second.set_alias, name)
    require(trial.kms.key(name).key_id == first.key_id, "the alias has changed hands")
    first.set_alias(name)


@law(
    "life.list",
    "Every key is listed, once, whatever the size of the pages.",
    Layer.LIFE_CYCLE,
    MANAGED,
)
def listing(trial: Trial) -> None:
    """A page that ends between two keys loses one, or shows one twice."""
    provider: Any = trial.kms.provider
    ours = set(trial.subject.line.created)
    found = [info.key_id for info in list(trial.kms.keys())]
    require(len(found) == len(set(found)), "a key is listed twice")
    require(ours <= set(found), f"{len(ours - set(found))} keys are not listed")
    if trial.profile.max_calls is not None or len(found) > 1000:
        return
    for size in (1, 3, 7):
        pages: list[str] = []
        cursor: str | None = None
        while True:
            page = provider.list_keys(size, cursor)
            require(len(page.keys) <= size, f"a page of {size} has {len(page.keys)} keys")
            pages += [info.key_id for info in page.keys]
            cursor = page.cursor
            if cursor is None:
                break
            require(len(pages) <= len(found) + 10, "the listing does not end")
        require(sorted(pages) == sorted(found), f"pages of {size} list other keys")
