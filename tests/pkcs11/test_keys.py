"""Keys on every token do what keys of kmscore do, as other people's code confirms."""

import pytest

from kmscore import KeyUsage, Message
from kmscore.errors import CiphertextInvalid
from kmscore.signing import hash_message


def each(kms, usage):
    """A key of every kind that the token has for that usage, with its algorithms."""
    for kind in kms.capabilities.keys:
        if kind.usage is usage and kind.spec not in ("RSA_3072", "RSA_4096"):
            yield kms.create_key(kind.spec, usage=usage), sorted(kind.algorithms)


def test_a_secret_comes_back_with_its_context_alone(kms):
    """Of 1 byte and of 4096, from each kind of symmetric key."""
    for key, _ in each(kms, KeyUsage.ENCRYPT_DECRYPT):
        for secret in (b"x", bytes(4096)):
            ciphertext = key.encrypt(secret, context={"table": "orders"})
            assert key.decrypt(ciphertext, context={"table": "orders"}) == secret
            assert kms.decrypt(ciphertext, context={"table": "orders"}) == secret
            for context in (None, {"table": "other"}):
                with pytest.raises(CiphertextInvalid):
                    key.decrypt(ciphertext, context=context)


def test_signatures_verify_with_the_public_key(kms):
    """Of messages and of digests, checked by `cryptography`."""
    for key, algorithms in each(kms, KeyUsage.SIGN_VERIFY):
        public = key.public_key()
        for algorithm in algorithms:
            message = Message(b"invoice 4711")
            digests = [hash_message(message, algorithm, b"")] if algorithm.digest else []
            for data in (message, *digests):
                signature = key.sign(data, algorithm=algorithm)
                assert public.verify(message, signature, algorithm)
                assert key.verify(data, signature, algorithm=algorithm)
                assert not key.verify(Message(b"other"), signature, algorithm=algorithm)


def test_what_was_encrypted_for_the_public_key_is_decrypted(kms):
    """By `cryptography`, with every padding that the token has."""
    for key, algorithms in each(kms, KeyUsage.ASYMMETRIC_DECRYPT):
        for algorithm in algorithms:
            ciphertext = key.public_key().encrypt(b"secret", algorithm)
            assert key.decrypt(ciphertext, algorithm=algorithm) == b"secret"
