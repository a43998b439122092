"""Secrets stay where they belong: in no error, no repr, no log; and failures tell nothing."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from kmscore.algorithms import TRAITS, KeyUsage, Origin
from kmscore.errors import CiphertextInvalid, KmsError
from kmscore.signing import Message
from kmscore_conformance.law import Layer, law
from kmscore_conformance.outcome import Violation
from kmscore_conformance.owner import wrap
from kmscore_conformance.scope import EVERY_KIND, ONE_EXTERNAL, SYMMETRIC
from kmscore_conformance.strategies import flipped
from kmscore_conformance.trial import Trial, refusal, require, told

MARK = b"SECRET-7c1f-plaintext-9a3e"
CONTEXT = {"purpose": "SECRET-context-value-51d2"}


def _forms(secret: bytes) -> list[str]:
    import base64

    shown = [secret.hex(), secret.hex().upper(), base64.b64encode(secret).decode()[:-4]]
    shown += [repr(secret)[2:-1], repr(list(secret))[1:-1]]
    return shown


def _shows(text: str, *secrets: bytes) -> bool:
    return any(form and form in text for secret in secrets for form in _forms(secret))


def _everything(error: BaseException) -> str:
    """All that an error can end up saying, its causes and their notes included."""
    parts = traceback.format_exception(error)
    seen: BaseException | None = error
    while seen is not None:
        parts += [
            repr(seen),
            repr(seen.args),
            repr(vars(seen)) if hasattr(seen, "__dict__") else "",
        ]
        seen = seen.__cause__ or seen.__context__
    # Source lines of the suite itself are no leak.
    return "\n".join(line for part in parts for line in part.splitlines() if "File " not in line)


class _Listener(logging.Handler):
    """Keeps what anybody logs; what libraries say to their own developers (DEBUG) aside."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append(record.getMessage())


@contextmanager
def _listening() -> Generator[_Listener]:
    listener, root = _Listener(), logging.getLogger()
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.INFO)
    try:
        yield listener
    finally:
        root.setLevel(level)
        root.removeHandler(listener)


def _provoke(calls: list[Callable[[], Any]]) -> list[str]:
    said: list[str] = []
    for call in calls:
        try:
            call()
        except KmsError as error:
            said.append(_everything(error))
    return said


@law(
    "secrecy.errors",
    "No error says a plaintext, a context value or a message, nor do its causes.",
    Layer.CONTRACT,
    EVERY_KIND,
)
def errors(trial: Trial) -> None:
    """What is logged is read by more people than what is encrypted."""
    key = trial.fresh() if TRAITS[trial.kind.spec].bits <= 2048 else trial.key
    calls: list[Callable[[], Any]] = []
    after: list[Callable[[], Any]]
    if key.usage is KeyUsage.ENCRYPT_DECRYPT:
        sealed = key.encrypt(MARK, context=CONTEXT)
        calls += [
            lambda: key.encrypt(MARK * 1000, context=CONTEXT),
            lambda: key.decrypt(sealed, context={}),
            lambda: key.decrypt(flipped(sealed, -1), context=CONTEXT),
            lambda: trial.kms.decrypt(sealed[:-3], context=CONTEXT),
        ]
        after = [lambda: key.encrypt(MARK, context=CONTEXT)]
    elif key.usage is KeyUsage.SIGN_VERIFY:
        after = [lambda: key.sign(Message(MARK)), lambda: key.verify(Message(MARK), MARK)]
    else:
        after = [lambda: key.decrypt(MARK)]
        calls += [lambda: key.decrypt(MARK), lambda: key.decrypt(MARK * 100)]
    with _listening() as listener:
        said = _provoke(calls)
        if key is not trial.key:
            key.disable()
            said += _provoke(after)
    for text in [*said, *listener.lines]:
        leaked = _shows(text, MARK) or CONTEXT["purpose"] in text
        require(not leaked, "an error or a log line shows what was to be kept secret")


@law(
    "secrecy.material",
    "No error, log line or description says imported material.",
    Layer.CONTRACT,
    ONE_EXTERNAL,
)
def material(trial: Trial) -> None:
    """Right material or wrong, wrapped or not."""
    size = TRAITS[trial.kind.spec].bits // 8
    right, wrong = os.urandom(size), os.urandom(size)
    key = trial.fresh(Origin.EXTERNAL)
    with _listening() as listener:
        given = key.import_parameters(trial.subject.wrapping)
        token = given.token
        said = _provoke(
            [
                lambda: key.import_material(wrap(given, right[:-1]), token),
                lambda: key.import_material(right, token),
                lambda: key.import_material(wrap(given, right), b"no token"),
                lambda: key.import_material(wrap(given, right), token),
                lambda: key.import_material(wrap(given, wrong), token),
            ]
        )
        said += [repr(key), repr(key.describe()), repr(given), repr(trial.kms.provider)]
    for text in [*said, *listener.lines]:
        require(not _shows(text, right, wrong, right[:-1]), "key material is shown")
    require(not _shows(repr(given), token), "repr of the import parameters shows the token")


@law(
    "secrecy.repr",
    "No object's repr shows a plaintext, a data key or a context value.",
    Layer.CONTRACT,
    SYMMETRIC,
)
def reprs(trial: Trial) -> None:
    """What a debugger, a log line or a failed assertion prints."""
    from kmscore.context import EncryptionContext
    from kmscore.spi import Symmetric

    provider = trial.kms.provider
    made = trial.key.generate_data_key(context=CONTEXT)
    context = EncryptionContext.of(CONTEXT)
    if not isinstance(provider, Symmetric):
        raise Violation("the provider has no symmetric encryption")
    opened = provider.decrypt(trial.key.key_id, trial.key.encrypt(MARK, context=CONTEXT), context)
    shown = [repr(each) for each in (trial.key, trial.kms, made, opened, context, provider)]
    for text in shown:
        leaked = _shows(text, MARK, bytes(made.plaintext)) or CONTEXT["purpose"] in text
        require(not leaked, f"a repr shows a secret: {text[:20]}...")


@law(
    "secrecy.uniform",
    "Every ciphertext that does not open has the same error, word for word.",
    Layer.CONTRACT,
    SYMMETRIC,
)
def uniform(trial: Trial) -> None:
    """Format, key, tag, length and context are never told apart: the difference is an oracle."""
    key, other = trial.key, trial.fresh()
    sealed = key.encrypt(MARK, context=CONTEXT)
    size = len(sealed)
    bad: dict[str, tuple[bytes, dict[str, str]]] = {
        "a changed tag": (sealed[:-1] + bytes([sealed[-1] ^ 1]), CONTEXT),
        "a changed body": (flipped(sealed, size - 20), CONTEXT),
        "a changed beginning": (flipped(sealed, 0), CONTEXT),
        "a changed middle": (flipped(sealed, size // 2), CONTEXT),
        "another context": (sealed, {"purpose": "another"}),
        "no context": (sealed, {}),
        "a cut ciphertext": (sealed[: size // 2], CONTEXT),
        "an extended ciphertext": (sealed + b"\0", CONTEXT),
        "garbage": (os.urandom(size), CONTEXT),
        "one byte": (b"\0", CONTEXT),
        "another key's ciphertext": (other.encrypt(MARK, context=CONTEXT), CONTEXT),
    }
    named: dict[str, str] = {}
    unnamed: dict[str, str] = {}
    for what, (data, context) in bad.items():
        error = refusal(what, CiphertextInvalid, key.decrypt, data, context=context)
        named[told(error)] = what
        if what != "another key's ciphertext":
            call = trial.kms.decrypt
            error = refusal(what, CiphertextInvalid, call, data, context=context)
            unnamed[told(error)] = what
    for said in (named, unnamed):
        require(len(said) == 1, f"told apart: {' / '.join(said.values())}")
