"""The contract of every call: what comes back, what is checked before it, how errors speak."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from kmscore.algorithms import TRAITS, EncryptionAlgorithm, KeyUsage, Origin
from kmscore.capabilities import Feature
from kmscore.errors import (
    InvalidRequest,
    KeyNotFound,
    KeyUsageMismatch,
    KmsError,
    LimitExceeded,
)
from kmscore.signing import Message
from kmscore_conformance.law import Layer, law
from kmscore_conformance.scope import ANY, EVERY_KIND, MANAGED, ONE_SYMMETRIC, SYMMETRIC, signing
from kmscore_conformance.trial import Trial, refusal, require

UNKNOWN = "00000000-0000-4000-8000-000000000000"
"""The id of no key."""

CLOCKS_DIFFER = timedelta(minutes=15)
"""How far the provider's clock may be off."""


@law(
    "contract.health",
    "Asked how it is, the provider answers with a sentence, and does not raise.",
    Layer.CONTRACT,
    ANY,
)
def health(trial: Trial) -> None:
    """What `kmscore doctor` and load balancers ask."""
    answer = trial.kms.health()
    require(answer.ok is True, f"the provider says that it is not well: {answer.message}")
    require(answer.message, "the answer says nothing")
    for name, value in answer.details.items():
        is_text = type(value) is str
        require(is_text, f"the detail {name!r} is no string")


@law(
    "contract.close-twice",
    "Closing twice is as good as closing once.",
    Layer.CONTRACT,
    ANY.reopening(),
)
def close_twice(trial: Trial) -> None:
    """Context managers and exit handlers meet."""
    with trial.subject.reopened() as kms:
        kms.close()


@law(
    "contract.reopen",
    "Opened again, the provider has the same keys, and they open and verify what they did.",
    Layer.CONTRACT,
    EVERY_KIND.reopening(),
)
def reopen(trial: Trial) -> None:
    """A restart must not mix up keys."""
    key = trial.key
    symmetric = key.usage is KeyUsage.ENCRYPT_DECRYPT
    sealed = key.encrypt(b"before", context={"a": "b"}) if symmetric else b""
    with trial.subject.reopened() as kms:
        again = kms.key(key.key_id)
        if symmetric:
            require(again.decrypt(sealed, context={"a": "b"}) == b"before", "another plaintext")
            sealed = again.encrypt(b"after")
        else:
            public = key.public_key()
            require(again.public_key() == public, "the key has another public key")
            if key.usage is KeyUsage.SIGN_VERIFY:
                message = Message(b"after")
                require(public.verify(message, again.sign(message)), "another key has signed")
            else:
                scheme = _scheme(trial)
                opened = again.decrypt(public.encrypt(b"after", scheme), algorithm=scheme)
                require(opened == b"after", "another key has decrypted")
    if symmetric:
        require(key.decrypt(sealed) == b"after", "another plaintext")


def _scheme(trial: Trial) -> EncryptionAlgorithm:
    """The scheme that a key of this case decrypts with when none is named."""
    order = TRAITS[trial.kind.spec].encryption
    return next(scheme for scheme in order if scheme in trial.kind.algorithms)


@law(
    "contract.description",
    "A key is described with aware times in UTC, and a new one is enabled and not about to go.",
    Layer.CONTRACT,
    EVERY_KIND,
)
def description(trial: Trial) -> None:
    """The same fields on every provider."""
    info = trial.key.describe()
    require(info.key_id, "the key has no id")
    require(info.created_at.utcoffset() == timedelta(0), "created_at is not in UTC")
    since = trial.session.began - CLOCKS_DIFFER
    require(since < info.created_at < datetime.now(UTC) + CLOCKS_DIFFER, "created_at is not now")
    require(info.version >= 1, f"the version is {info.version}")
    require(info.deletion_at is None, "a new key is about to be deleted")
    require(info.valid_to is None, "generated material expires")


@law(
    "contract.bytes",
    "Ciphertexts and plaintexts are bytes, and data keys can be wiped.",
    Layer.CONTRACT,
    SYMMETRIC,
)
def returns_bytes(trial: Trial) -> None:
    """A bytearray that somebody changes later is no ciphertext."""
    sealed = trial.key.encrypt(b"x")
    require(type(sealed) is bytes, f"a ciphertext is a {type(sealed).__name__}")
    opened = trial.key.decrypt(sealed)
    require(type(opened) is bytes, f"a plaintext is a {type(opened).__name__}")
    with trial.key.generate_data_key() as made:
        require(type(made.plaintext) is bytearray, "a data key is no bytearray")
        require(type(made.ciphertext) is bytes, "its ciphertext is no bytes")
        require(made.key_id == trial.key.key_id, "a data key names another key")
    require(not any(made.plaintext), "a data key is not wiped")


@law(
    "contract.plaintext-limit",
    "A plaintext of the largest size is encrypted and opened; one byte more is LimitExceeded.",
    Layer.CONTRACT,
    SYMMETRIC,
)
def plaintext_limit(trial: Trial) -> None:
    """The table's limit is the real one."""
    most = trial.subject.capabilities.limits.plaintext
    context = {"k" * 500: "v" * 500}
    largest = bytes(range(256)) * (most // 256 + 1)
    sealed = trial.key.encrypt(largest[:most], context=context)
    require(trial.key.decrypt(sealed, context=context) == largest[:most], "another plaintext")
    refusal("too large a plaintext", LimitExceeded, trial.key.encrypt, largest[: most + 1])


@law(
    "contract.data-key-limit",
    "Data keys have every length from 1 byte to the limit; one byte more is LimitExceeded.",
    Layer.CONTRACT,
    SYMMETRIC,
)
def data_key_limit(trial: Trial) -> None:
    """Other lengths than those of AES are asked for as well."""
    most = trial.subject.capabilities.limits.data_key
    for length in (1, 16, 24, 32, 33, most):
        with trial.key.generate_data_key(length=length) as made:
            require(len(made.plaintext) == length, f"{len(made.plaintext)} bytes for {length}")
            opened = trial.key.decrypt(made.ciphertext)
            require(opened == bytes(made.plaintext), "the data key does not open")
    call = trial.key.generate_data_key
    refusal("too long a data key", LimitExceeded, call, length=most + 1)


@law(
    "contract.random",
    "Random bytes have the length asked for, and do not repeat.",
    Layer.CONTRACT,
    ANY.having(Feature.RANDOM),
)
def random_bytes(trial: Trial) -> None:
    """A generator that stands still is the end of everything."""
    for length in (1, 32, trial.subject.capabilities.limits.random):
        require(len(trial.kms.generate_random(length)) == length, f"not {length} bytes")
    seen = {trial.kms.generate_random(16) for _ in range(trial.profile.few + 2)}
    require(len(seen) == trial.profile.few + 2, "random bytes repeat")


@law(
    "contract.arguments",
    "An argument of the wrong type or size is InvalidRequest, and nothing is sent.",
    Layer.CONTRACT,
    ONE_SYMMETRIC,
)
def arguments(trial: Trial) -> None:
    """No C library and no cloud gets to see it."""
    key: Any = trial.key
    kms: Any = trial.kms
    wrong: list[tuple[str, Any, tuple[Any, ...], dict[str, Any]]] = [
        ("a plaintext that is text", key.encrypt, ("text",), {}),
        ("a plaintext that is a bytearray", key.encrypt, (bytearray(b"x"),), {}),
        ("an empty plaintext", key.encrypt, (b"",), {}),
        ("an empty ciphertext", key.decrypt, (b"",), {}),
        ("a ciphertext that is None", kms.decrypt, (None,), {}),
        ("a context that is a list", key.encrypt, (b"x",), {"context": [("a", "b")]}),
        ("a context with a number", key.encrypt, (b"x",), {"context": {"a": 1}}),
        ("a context with an empty key", key.encrypt, (b"x",), {"context": {"": "b"}}),
        (
            "a context of 1024 characters and more",
            key.encrypt,
            (b"x",),
            {"context": {"a": "b" * 1024}},
        ),
        ("a context that is not Unicode", key.encrypt, (b"x",), {"context": {"a": "\ud800"}}),
        ("a data key of no bytes", key.generate_data_key, (), {"length": 0}),
        ("a data key of True bytes", key.generate_data_key, (), {"length": True}),
        ("an unknown key spec", kms.create_key, ("DES",), {}),
        ("an empty reference to a key", kms.key, ("",), {}),
        ("a reference with a line break", kms.key, ("a\nb",), {}),
        ("a deletion tomorrow", key.schedule_deletion, (1,), {}),
    ]
    if Feature.DELETION not in trial.subject.capabilities.features:
        wrong.pop()
    before = trial.subject.budget.spent
    for what, call, values, options in wrong:
        try:
            refusal(what, InvalidRequest, call, *values, **options)
        finally:
            require(trial.subject.budget.spent == before, f"{what} reached the provider")


@law(
    "contract.usage",
    "What a key is not for is KeyUsageMismatch, whatever it is asked.",
    Layer.CONTRACT,
    EVERY_KIND,
)
def usage(trial: Trial) -> None:
    """One purpose per key (NIST SP 800-57 part 1, 5.2)."""
    key = trial.key
    before = trial.subject.budget.spent
    if key.usage is not KeyUsage.ENCRYPT_DECRYPT:
        refusal("encryption", KeyUsageMismatch, key.encrypt, b"x")
        refusal("a data key", KeyUsageMismatch, key.generate_data_key)
    else:
        refusal("a public key", KeyUsageMismatch, key.public_key)
    if key.usage is not KeyUsage.SIGN_VERIFY:
        refusal("a signature", KeyUsageMismatch, key.sign, Message(b"x"))
        refusal("verification", KeyUsageMismatch, key.verify, Message(b"x"), b"x")
    if key.usage is KeyUsage.SIGN_VERIFY:
        refusal("decryption", KeyUsageMismatch, key.decrypt, b"x")
    require(trial.subject.budget.spent == before, "it reached the provider")


@law(
    "contract.unknown-key",
    "A key that does not exist is KeyNotFound, in every operation.",
    Layer.CONTRACT,
    MANAGED,
)
def unknown_key(trial: Trial) -> None:
    """The same class on every provider."""
    refusal("an unknown id", KeyNotFound, trial.kms.key, UNKNOWN)
    if Feature.ALIASES in trial.subject.capabilities.features:
        refusal("an unknown alias", KeyNotFound, trial.kms.key, "kmscore-no-such-alias")
    provider: Any = trial.kms.provider
    for operation in ("enable_key", "disable_key"):
        call = getattr(provider, operation)
        refusal(f"{operation} of an unknown key", KeyNotFound, call, UNKNOWN)


@law(
    "contract.error-place",
    "An error says provider, operation and key, and that it is not worth a retry when it is not.",
    Layer.CONTRACT,
    MANAGED,
)
def error_place(trial: Trial) -> None:
    """Who reads the log was not there."""
    error: KmsError = refusal("an unknown id", KeyNotFound, trial.kms.key, UNKNOWN)
    require(error.provider == trial.subject.name, f"the error's provider is {error.provider!r}")
    require(error.operation == "describe_key", f"the error's operation is {error.operation!r}")
    require(error.key == UNKNOWN, f"the error's key is {error.key!r}")
    require(not error.retryable, "a key that does not exist is worth a retry")
    require(error.message, "the error says nothing")
    require(not re.search(r"0x[0-9a-f]{6,}", str(error)), "the error shows an address")


@law(
    "contract.verify-answer",
    "Verification answers True or False, and nothing else.",
    Layer.CONTRACT,
    signing(),
)
def verify_answer(trial: Trial) -> None:
    """A 1, a None or an exception has been taken for True."""
    data = Message(b"to be signed")
    signature = trial.key.sign(data, algorithm=trial.signing)
    require(type(signature) is bytes, f"a signature is a {type(signature).__name__}")
    right = trial.key.verify(data, signature, algorithm=trial.signing)
    wrong = trial.key.verify(Message(b"not signed"), signature, algorithm=trial.signing)
    require(right is True, f"a right signature is {right!r}")
    require(wrong is False, f"a wrong signature is {wrong!r}")


@law(
    "contract.unknown-origin",
    "Material for a generated key is InvalidRequest.",
    Layer.CONTRACT,
    ONE_SYMMETRIC,
)
def unknown_origin(trial: Trial) -> None:
    """What was generated inside cannot be replaced from outside."""
    refusal("import parameters", InvalidRequest, trial.key.import_parameters)
    provider: Any = trial.kms.provider
    rows = trial.subject.capabilities.keys
    if trial.subject.capabilities.wrapping and any(Origin.EXTERNAL in r.origins for r in rows):
        wrapping = trial.subject.wrapping
        call = provider.get_import_parameters
        refusal("the provider's own", InvalidRequest, call, trial.key.key_id, wrapping)
