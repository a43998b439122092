"""Job 4: signatures over messages and digests, checked by the provider, openssl and gmssl."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from kmscore.algorithms import KeySpec, KeyUsage, SigningAlgorithm
from kmscore.demo import outside
from kmscore.signing import DEFAULT_SM2_USER_ID, Digest, Message, hash_message

if TYPE_CHECKING:
    from kmscore.demo.scene import Scene
    from kmscore.key import Key

MESSAGE: Final = b"pay 100 to bob"


class Scheme(NamedTuple):
    """A signature scheme, and how openssl is asked to check it."""

    spec: KeySpec
    algorithm: SigningAlgorithm
    message: tuple[str, ...]
    digest: tuple[str, ...]


_PSS: Final = ("rsa_padding_mode:pss", "rsa_pss_saltlen:32")
_SM2_ID: Final = DEFAULT_SM2_USER_ID.decode()


def _options(flag: str, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for value in values for word in (flag, value))


SCHEMES: Final = (
    Scheme(
        KeySpec.SM2,
        SigningAlgorithm.SM2DSA,
        ("-sm3", "-sigopt", f"distid:{_SM2_ID}"),
        (),
    ),
    Scheme(
        KeySpec.RSA_2048,
        SigningAlgorithm.RSA_PSS_SHA_256,
        ("-sha256", *_options("-sigopt", _PSS)),
        _options("-pkeyopt", ("digest:sha256", *_PSS)),
    ),
    Scheme(
        KeySpec.RSA_2048,
        SigningAlgorithm.RSA_PKCS1_SHA_256,
        ("-sha256",),
        ("-pkeyopt", "digest:sha256"),
    ),
    Scheme(
        KeySpec.EC_P256,
        SigningAlgorithm.ECDSA_SHA_256,
        ("-sha256",),
        ("-pkeyopt", "digest:sha256"),
    ),
)


def sign_and_verify(scene: Scene) -> None:
    """Job 4."""
    stage = scene.stage
    stage.job(4, "Signatures over a message and over its digest")
    keys: dict[KeySpec, Key] = {}
    for scheme in SCHEMES:
        kind = scene.kms.capabilities.find(scheme.spec, KeyUsage.SIGN_VERIFY)
        if kind is None or scheme.algorithm not in kind.algorithms:
            stage.impossible(f"{scheme.algorithm} signatures")
            continue
        if scheme.spec not in keys:
            name = f"sign-{scheme.spec.lower().replace('_', '-')}"
            keys[scheme.spec] = scene.make(name, scheme.spec, KeyUsage.SIGN_VERIFY)
        _scheme(scene, scheme, keys[scheme.spec])


def _scheme(scene: Scene, scheme: Scheme, key: Key) -> None:
    stage = scene.stage
    public = key.public_key()
    pem = scene.file(f"{scheme.algorithm}.pem", public.pem().encode())
    message = scene.file("message.txt", MESSAGE)
    digest = hash_message(Message(MESSAGE), scheme.algorithm, public.der)
    digest_file = scene.file("message.digest", digest.value)

    raw = key.sign(Message(MESSAGE), algorithm=scheme.algorithm)
    raw_file = scene.file(f"{scheme.algorithm}.raw.sig", raw)
    hashed = key.sign(digest, algorithm=scheme.algorithm)
    hashed_file = scene.file(f"{scheme.algorithm}.digest.sig", hashed)

    by_provider = all(
        key.verify(data, signature, algorithm=scheme.algorithm)
        for data in (Message(MESSAGE), digest)
        for signature in (raw, hashed)
    )
    stage.check(f"{scheme.algorithm}: message and digest, verified by the provider", by_provider)
    stage.check(
        f"{scheme.algorithm}: both verified by openssl",
        _by_openssl(scheme, pem, message, digest_file, (raw_file, hashed_file)),
    )
    if scheme.algorithm is SigningAlgorithm.SM2DSA:
        stage.check(
            f"{scheme.algorithm}: both verified by gmssl",
            all(outside.gmssl_verifies(public.der, MESSAGE, each) for each in (raw, hashed)),
        )
    else:
        stage.check(
            f"{scheme.algorithm}: the digest is what Python's hashlib computes",
            digest == Digest(hashlib.sha256(MESSAGE).digest()),
        )
    forged = Message(b"pay 900 to bob")
    by_openssl: Callable[[Path], bool] = lambda path: outside.verify_message(  # noqa: E731
        pem, path, raw_file, *scheme.message
    )
    stage.check(
        f"{scheme.algorithm}: another message is wrong for the provider and for openssl",
        not key.verify(forged, raw, algorithm=scheme.algorithm)
        and not by_openssl(scene.file("forged.txt", forged.data)),
    )


def _by_openssl(
    scheme: Scheme, pem: Path, message: Path, digest: Path, signatures: tuple[Path, Path]
) -> bool:
    return all(
        outside.verify_message(pem, message, signature, *scheme.message)
        and outside.verify_digest(pem, digest, signature, *scheme.digest)
        for signature in signatures
    )
