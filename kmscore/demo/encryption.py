"""Jobs 1 to 3: a small secret, a large file, and decryption with key pairs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from kmscore.algorithms import EncryptionAlgorithm, KeySpec, KeyUsage
from kmscore.demo import outside
from kmscore.errors import CiphertextInvalid

if TYPE_CHECKING:
    from kmscore.demo.scene import Scene

FILE_BYTES = 10 << 20


def small_secret(scene: Scene) -> None:
    """Job 1: a database password under a key that never leaves the provider."""
    stage = scene.stage
    stage.job(1, "A database password, encrypted under a key of the provider")
    spec = scene.symmetric()
    if spec is None:
        stage.impossible("symmetric keys")
        return
    key = scene.make("secret", spec)
    password = b"correct horse battery staple"
    context = {"application": "shop", "database": "orders"}
    ciphertext = key.encrypt(password, context=context)
    stage.say(f"{len(password)} bytes became {len(ciphertext)} bytes of ciphertext")
    stage.check("the password cannot be found in the ciphertext", password not in ciphertext)
    stage.check(
        "decrypted with the same context", key.decrypt(ciphertext, context=context) == password
    )
    stage.check(
        "encrypted again, it looks different", key.encrypt(password, context=context) != ciphertext
    )
    stage.refused(
        "decrypted with another context",
        CiphertextInvalid,
        lambda: key.decrypt(ciphertext, context={**context, "database": "salaries"}),
    )
    stage.refused("decrypted without a context", CiphertextInvalid, lambda: key.decrypt(ciphertext))


def large_file(scene: Scene) -> None:
    """Job 2: envelope encryption; only the data key is encrypted by the provider."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    stage = scene.stage
    stage.job(2, "A file of 10 MiB, encrypted here under a data key (envelope encryption)")
    spec = scene.symmetric()
    if spec is None:
        stage.impossible("symmetric keys")
        return
    key = scene.make("envelope", spec)
    plain = scene.file("film.raw", os.urandom(FILE_BYTES))
    name = plain.name.encode()
    context = {"file": plain.name}
    with key.generate_data_key("AES_256", context=context) as data_key:
        nonce = os.urandom(12)
        sealed = nonce + AESGCM(bytes(data_key.plaintext)).encrypt(nonce, plain.read_bytes(), name)
        wrapped = data_key.ciphertext
    stage.check("the data key in clear was wiped after use", not any(data_key.plaintext))
    stored = scene.file("film.sealed", len(wrapped).to_bytes(4) + wrapped + sealed)
    stage.say(f"stored {stored.stat().st_size} bytes: the wrapped data key, then AES-256-GCM")

    content = stored.read_bytes()
    size = int.from_bytes(content[:4])
    wrapped, sealed = content[4 : 4 + size], content[4 + size :]
    opened = key.decrypt(wrapped, context=context)
    back = scene.file("film.back", AESGCM(opened).decrypt(sealed[:12], sealed[12:], name))
    digests = [_sha256(scene, path.name) for path in (plain, back)]
    stage.check("decrypted again; openssl finds the same SHA-256", digests[0] == digests[1] != "")
    stage.refused(
        "the data key unwrapped for another file",
        CiphertextInvalid,
        lambda: key.decrypt(wrapped, context={"file": "other.raw"}),
    )


def _sha256(scene: Scene, name: str) -> str:
    target = scene.file(f"{name}.sha256")
    done = outside.openssl("dgst", "-sha256", "-r", "-out", target, scene.file(name))
    return target.read_text().split()[0] if done else ""


def key_pairs(scene: Scene) -> None:
    """Job 3: anybody encrypts for the public key, the provider decrypts."""
    stage = scene.stage
    stage.job(3, "Encrypted by openssl for a public key, decrypted by the provider")
    secret = b"the account number is 1234567890"
    _rsa(scene, secret)
    if not scene.can(KeySpec.SM2, KeyUsage.ASYMMETRIC_DECRYPT):
        stage.impossible("SM2 decryption")
        return
    key = scene.make("sm2", KeySpec.SM2, KeyUsage.ASYMMETRIC_DECRYPT)
    public = scene.file("sm2.pem", key.public_key().pem().encode())
    source, target = scene.file("sm2.txt", secret), scene.file("sm2.enc")
    stage.check(
        "openssl encrypted with SM2 (DER, C1C3C2)", outside.encrypt_sm2(public, source, target)
    )
    stage.check("the provider decrypted it", key.decrypt(target.read_bytes()) == secret)
    ours = key.public_key().encrypt(secret)
    stage.check("encrypted here for the public key, too", key.decrypt(ours) == secret)
    _broken(scene, key.decrypt, target.read_bytes())


def _rsa(scene: Scene, secret: bytes) -> None:
    stage = scene.stage
    kind = scene.kms.capabilities.find(KeySpec.RSA_2048, KeyUsage.ASYMMETRIC_DECRYPT)
    if kind is None:
        stage.impossible("RSA decryption")
        return
    key = scene.make("rsa", KeySpec.RSA_2048, KeyUsage.ASYMMETRIC_DECRYPT)
    public = scene.file("rsa.pem", key.public_key().pem().encode())
    source, target = scene.file("rsa.txt", secret), scene.file("rsa.enc")
    for algorithm, digest in (
        (EncryptionAlgorithm.RSAES_OAEP_SHA_256, "sha256"),
        (EncryptionAlgorithm.RSAES_OAEP_SHA_1, "sha1"),
    ):
        if algorithm not in kind.algorithms:
            stage.impossible(f"{algorithm} decryption")
            continue
        stage.check(
            f"openssl encrypted with {algorithm}",
            outside.encrypt_rsa(public, source, target, digest),
        )
        back = key.decrypt(target.read_bytes(), algorithm=algorithm)
        stage.check("the provider decrypted it", back == secret)

        def decrypt(ciphertext: bytes, scheme: EncryptionAlgorithm = algorithm) -> bytes:
            return key.decrypt(ciphertext, algorithm=scheme)

        _broken(scene, decrypt, target.read_bytes())


def _broken(scene: Scene, decrypt: Callable[[bytes], bytes], ciphertext: bytes) -> None:
    altered = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
    scene.stage.refused("one bit changed", CiphertextInvalid, lambda: decrypt(altered))
