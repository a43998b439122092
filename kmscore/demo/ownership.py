"""Jobs 5 and 6: a key of one's own, and the life of a key."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from kmscore.algorithms import TRAITS, KeySpec, KeyState, Origin, WrappingAlgorithm
from kmscore.capabilities import Feature
from kmscore.demo import outside
from kmscore.errors import (
    CiphertextInvalid,
    InvalidRequest,
    KeyStateError,
    KmsError,
    MaterialMismatch,
)

if TYPE_CHECKING:
    from kmscore.demo.scene import Scene
    from kmscore.key import Key

LIFETIME: Final = 2
"""Seconds until the imported material expires."""

PATIENCE: Final = 15
"""Seconds that the expiry may take to show; a remote clock may be behind."""

_DIGESTS: Final = {
    WrappingAlgorithm.RSAES_OAEP_SHA_256: "sha256",
    WrappingAlgorithm.RSAES_OAEP_SHA_1: "sha1",
}


def own_key(scene: Scene) -> None:
    """Job 5: bring your own key."""
    stage = scene.stage
    stage.job(5, "A key of one's own: wrapped by openssl, imported, deleted, imported again")
    spec = scene.symmetric(Origin.EXTERNAL)
    wrapping = next((each for each in _DIGESTS if each in scene.kms.capabilities.wrapping), None)
    if spec is None or wrapping is None:
        stage.impossible("importing keys")
        return
    key = scene.make("own", spec, origin=Origin.EXTERNAL)
    stage.refused("used before it has material", KeyStateError, lambda: key.encrypt(b"x"))

    material = os.urandom(TRAITS[spec].bits // 8)
    _import(scene, key, material, wrapping)
    ciphertext = key.encrypt(b"under our own key", context={"job": "5"})
    stage.check(
        "imported and used", key.decrypt(ciphertext, context={"job": "5"}) == b"under our own key"
    )
    _opened_outside(scene, spec, material, ciphertext)

    key.delete_material()
    stage.check("material deleted", key.describe().state is KeyState.PENDING_IMPORT)
    stage.refused(
        "used without material",
        KeyStateError,
        lambda: key.decrypt(ciphertext, context={"job": "5"}),
    )
    stage.refused(
        "other material imported",
        MaterialMismatch,
        lambda: _import(scene, key, os.urandom(len(material)), wrapping),
    )
    _import(scene, key, material, wrapping)
    stage.check(
        "the same material imported again: the old ciphertext opens",
        key.decrypt(ciphertext, context={"job": "5"}) == b"under our own key",
    )
    _expiry(scene, key, material, wrapping)


def _import(
    scene: Scene,
    key: Key,
    material: bytes,
    wrapping: WrappingAlgorithm,
    lifetime: int | None = None,
) -> None:
    from kmscore.public_key import PublicKey

    parameters = key.import_parameters(wrapping)
    public = scene.file("wrapping.pem", PublicKey.from_der(parameters.public_key).pem().encode())
    source, target = scene.file("material"), scene.file("material.wrapped")
    source.write_bytes(material)
    if not outside.encrypt_rsa(public, source, target, _DIGESTS[wrapping]):
        scene.stage.check(f"openssl wrapped the material with {wrapping}", ok=False)
    source.unlink()
    # Counted from here: on a busy machine openssl alone may take longer.
    valid_to = None if lifetime is None else datetime.now(UTC) + timedelta(seconds=lifetime)
    key.import_material(target.read_bytes(), parameters.token, valid_to=valid_to)


def _opened_outside(scene: Scene, spec: KeySpec, material: bytes, ciphertext: bytes) -> None:
    """Who has the material needs no provider: shown where the ciphertext's format is public."""
    if spec is KeySpec.SM4 or not ciphertext.startswith(b"KMSC"):
        return
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    end = 7 + ciphertext[6] + 4
    context = b'{"job":"5"}'
    bound = ciphertext[:end] + len(context).to_bytes(4) + context
    nonce, sealed = ciphertext[end : end + 12], ciphertext[end + 12 :]
    try:
        opened = AESGCM(material).decrypt(nonce, sealed, bound)
    except InvalidTag:
        opened = b""
    scene.stage.check(
        "the ciphertext opens outside too, with the material and plain AES-GCM",
        opened == b"under our own key",
    )


def _expiry(scene: Scene, key: Key, material: bytes, wrapping: WrappingAlgorithm) -> None:
    stage = scene.stage
    if Feature.MATERIAL_EXPIRY not in scene.kms.capabilities.features:
        stage.impossible("material that expires")
        return
    _import(scene, key, material, wrapping, LIFETIME)
    stage.say(f"imported once more, to expire in {LIFETIME} seconds; waiting")
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(0.2)
        try:
            key.encrypt(b"x")
        except KeyStateError:
            break
    stage.refused("used after it has expired", KeyStateError, lambda: key.encrypt(b"x"))


def life_cycle(scene: Scene) -> None:
    """Job 6: from enabled to nearly gone, and back."""
    stage = scene.stage
    stage.job(6, "The life of a key")
    spec = scene.symmetric()
    if spec is None:
        stage.impossible("symmetric keys")
        return
    key = scene.make("life", spec)
    ciphertext = key.encrypt(b"before")
    key.disable()
    stage.refused("encrypted with a disabled key", KeyStateError, lambda: key.encrypt(b"x"))
    stage.refused("decrypted with a disabled key", KeyStateError, lambda: key.decrypt(ciphertext))
    if Feature.DELETION in scene.kms.capabilities.features:
        for days in (6, 31):
            stage.refused(
                f"deletion in {days} days",
                InvalidRequest,
                lambda days=days: key.schedule_deletion(days),  # type: ignore[misc]
            )
        when = key.schedule_deletion(7)
        stage.check(
            f"deletion scheduled for {when:%F}",
            key.describe().state is KeyState.PENDING_DELETION,
        )
        stage.refused("enabled while pending deletion", KeyStateError, key.enable)
        key.cancel_deletion()
        stage.check(
            "deletion cancelled: the key is disabled", key.describe().state is KeyState.DISABLED
        )
    else:
        stage.impossible("scheduled deletion")
    key.enable()
    stage.check("enabled: the old ciphertext opens", key.decrypt(ciphertext) == b"before")
    _rotation(scene, key, ciphertext)


def _rotation(scene: Scene, key: Key, ciphertext: bytes) -> None:
    stage = scene.stage
    if Feature.ROTATION not in scene.kms.capabilities.features:
        stage.impossible("rotation")
        return
    try:
        key.rotate()
    except KmsError as error:
        stage.check(f"rotated: {error}", ok=False)
        return
    stage.check(
        "rotated: what the old version encrypted opens", key.decrypt(ciphertext) == b"before"
    )
    stage.check("the new version encrypts", key.decrypt(key.encrypt(b"after")) == b"after")
    stage.refused("a changed ciphertext", CiphertextInvalid, lambda: key.decrypt(ciphertext + b"x"))
