"""Threads that do everything at once, and check every result; run as a program, since it may crash.

Arguments: the configuration, how many seconds, how many threads. Prints how often each thing was
done. Ends with 1 when a result was wrong or an error was none of kmscore's.
"""

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

import kmscore
from kmscore import Message
from kmscore.errors import CiphertextInvalid, KeyStateError

SHA_1 = hashes.SHA1()  # noqa: S303 - sound in OAEP


class Load:
    """What the threads share: a provider, and one key of each kind that all of them use."""

    def __init__(self, kms: Any) -> None:
        self.kms = kms
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        kinds = {(kind.spec.value, kind.usage.value): kind for kind in kms.capabilities.keys}
        self.cipher: Any = None
        self.signers = [
            (key, key.public_key(), sorted(kinds[spec, "SIGN_VERIFY"].algorithms))
            for spec in ("RSA_2048", "EC_P256", "EC_P384", "ED25519")
            if (spec, "SIGN_VERIFY") in kinds
            for key in [kms.create_key(spec, usage="SIGN_VERIFY")]
        ]
        decrypting = kms.create_key("RSA_2048", usage="ASYMMETRIC_DECRYPT")
        self.decrypter = decrypting, decrypting.public_key()
        self.schemes = sorted(kinds["RSA_2048", "ASYMMETRIC_DECRYPT"].algorithms)
        self.jobs: list[Callable[[random.Random], None]] = [self.sign, self.decrypt, self.look]
        if ("AES_256", "ENCRYPT_DECRYPT") in kinds:
            self.cipher = kms.create_key("AES_256")
            self.jobs += [self.encrypt, self.encrypt, self.data_key, self.own_life]
            if kms.capabilities.wrapping:
                self.jobs.append(self.import_key)

    def expect(self, right: bool, what: str) -> None:
        """A result that must be right."""
        if not right:
            raise AssertionError(what)

    def encrypt(self, draw: random.Random) -> None:
        """Encrypt and decrypt under the shared key."""
        data, context = draw.randbytes(draw.randint(1, 4096)), {"n": str(draw.random())}
        sealed = self.cipher.encrypt(data, context=context)
        self.expect(self.cipher.decrypt(sealed, context=context) == data, "another plaintext")
        try:
            self.cipher.decrypt(sealed, context={"n": "other"})
        except CiphertextInvalid:
            return
        raise AssertionError("a wrong context was accepted")

    def data_key(self, _: random.Random) -> None:
        """A data key, opened again."""
        with self.cipher.generate_data_key("AES_256") as key:
            self.expect(
                self.cipher.decrypt(key.ciphertext) == bytes(key.plaintext), "another data key"
            )

    def sign(self, draw: random.Random) -> None:
        """A signature that `cryptography` verifies."""
        key, public, algorithms = draw.choice(self.signers)
        algorithm, message = draw.choice(algorithms), Message(draw.randbytes(100))
        signature = key.sign(message, algorithm=algorithm)
        self.expect(public.verify(message, signature, algorithm), "a wrong signature")

    def decrypt(self, draw: random.Random) -> None:
        """What was encrypted for the public key."""
        key, public = self.decrypter
        scheme, data = draw.choice(self.schemes), draw.randbytes(32)
        self.expect(
            key.decrypt(public.encrypt(data, scheme), algorithm=scheme) == data,
            "another plaintext of a key pair",
        )

    def look(self, draw: random.Random) -> None:
        """Random bytes, a key's description, a listing."""
        self.expect(len(self.kms.generate_random(32)) == 32, "too few random bytes")
        self.decrypter[0].describe()
        if draw.random() < 0.1:
            self.expect(len(list(self.kms.keys())) > 1, "keys are missing")

    def own_life(self, draw: random.Random) -> None:
        """A key of one's own: made, rotated, disabled, enabled, scheduled for deletion."""
        if draw.random() > 0.1:
            return
        key = self.kms.create_key("AES_256")
        first = key.encrypt(b"first")
        key.rotate()
        self.expect(key.decrypt(first) == b"first", "a rotated key forgot")
        key.disable()
        for call in (lambda: key.encrypt(b"x"), lambda: key.decrypt(first)):
            try:
                call()
            except KeyStateError:
                continue
            raise AssertionError("a disabled key was used")
        key.enable()
        self.expect(key.decrypt(key.encrypt(b"again")) == b"again", "an enabled key does not work")
        key.disable()
        key.schedule_deletion(7)

    def import_key(self, draw: random.Random) -> None:
        """A key of one's own is brought in, and used."""
        if draw.random() > 0.03:
            return
        key = self.kms.create_key("AES_256", origin="EXTERNAL")
        parameters = key.import_parameters("RSAES_OAEP_SHA_1")
        public = load_der_public_key(parameters.public_key)
        assert isinstance(public, rsa.RSAPublicKey)
        wrapped = public.encrypt(draw.randbytes(32), padding.OAEP(padding.MGF1(SHA_1), SHA_1, None))
        key.import_material(wrapped, parameters.token)
        self.expect(key.decrypt(key.encrypt(b"mine")) == b"mine", "an imported key does not work")
        key.delete_material()

    def run(self, number: int, until: float) -> None:
        """One thread; it ends with the time or with the first failure of any thread."""
        draw = random.Random(number)
        while time.monotonic() < until and not self.failures:
            job = draw.choice(self.jobs)
            try:
                job(draw)
            except BaseException as failure:  # noqa: BLE001 - told, and fatal
                self.failures.append(f"{job.__name__}: {type(failure).__name__}: {failure}")
            self.counts[job.__name__] += 1


def main(config: str, seconds: float, threads: int) -> int:
    """Run the load; the exit code."""
    with kmscore.connect(config=config) as kms:
        load = Load(kms)
        until = time.monotonic() + seconds
        workers = [
            threading.Thread(target=load.run, args=(number, until)) for number in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    print(json.dumps(load.counts))  # noqa: T201 - the program's result
    for failure in load.failures:
        print(failure, file=sys.stderr)  # noqa: T201
    sys.stdout.flush()
    return 1 if load.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
