"""Laws can fail: providers that are wrong in one way are caught by the law that names it."""

from pathlib import Path

import pytest
from kmscore_conformance.line import Fault, Line
from kmscore_conformance.outcome import Outcome
from kmscore_conformance.runner import run_laws
from kmscore_conformance.session import Session
from kmscore_conformance.subject import Subject

from kmscore.context import EMPTY
from kmscore.errors import CiphertextInvalid, InvalidRequest, Timeout
from kmscore.signing import Message
from kmscore.spi import DataKey, Decrypted


def context_ignored(p):
    """Encrypts and decrypts without the context."""
    encrypt, decrypt = p.encrypt, p.decrypt
    p.encrypt = lambda key, data, context: encrypt(key, data, EMPTY)
    p.decrypt = lambda key, data, context: decrypt(key, data, EMPTY)


def same_every_time(p):
    """Gives the same ciphertext for the same plaintext."""
    made: dict[object, bytes] = {}
    encrypt = p.encrypt

    def remembered(key, data, context):
        place = (key, data, context.json)
        return made.setdefault(place, made.get(place) or encrypt(key, data, context))

    p.encrypt = remembered


def tells_why(p):
    """Says whether it was the context."""
    decrypt = p.decrypt

    def explain(key, data, context):
        try:
            return decrypt(key, data, context)
        except CiphertextInvalid:
            raise CiphertextInvalid("wrong context" if context else "wrong tag") from None

    p.decrypt = explain


def strips_zeros(p):
    """Takes zeros off a plaintext."""
    decrypt = p.decrypt

    def strip(key, data, context):
        opened = decrypt(key, data, context)
        return Decrypted(opened.key_id, opened.plaintext.lstrip(b"\0") or b"\0")

    p.decrypt = strip


def disabled_key_works(p):
    """Uses a key that is disabled."""
    encrypt = p.encrypt

    def anyway(key, data, context):
        if p.describe_key(key).state != "DISABLED":
            return encrypt(key, data, context)
        p.enable_key(key)
        try:
            return encrypt(key, data, context)
        finally:
            p.disable_key(key)

    p.encrypt = anyway


def hashes_twice(p):
    """Signs the digest of a digest."""
    sign = p.sign

    def again(key, algorithm, data):
        return sign(key, algorithm, data if isinstance(data, Message) else Message(data.value))

    p.sign = again


def secret_in_error(p):
    """Shows what it was given."""

    def shout(key, data, context):
        raise InvalidRequest(f"cannot encrypt {data.decode(errors='replace')}")

    encrypt = p.encrypt
    p.encrypt = lambda k, d, c: (
        encrypt(k, d, c) if p.describe_key(k).state == "ENABLED" else shout(k, d, c)
    )


def old_token_valid(p):
    """Takes whatever token comes."""
    newest: dict[str, object] = {}
    parameters = p.get_import_parameters

    def remember(key, wrapping):
        newest.setdefault(key, parameters(key, wrapping))
        return newest[key]

    p.get_import_parameters = remember


def weak_data_key(p):
    """Makes data keys that are all the same."""
    encrypt = p.encrypt
    p.generate_data_key = lambda key, length, context: DataKey(
        key, bytearray(length), encrypt(key, bytes(length), context)
    )


@pytest.mark.parametrize(
    ("defect", "law"),
    [
        (context_ignored, "sym.context"),
        (same_every_time, "sym.nondeterministic"),
        (tells_why, "secrecy.uniform"),
        (strips_zeros, "sym.roundtrip"),
        (disabled_key_works, "life.disabled"),
        (hashes_twice, "sig.digest"),
        (secret_in_error, "secrecy.errors"),
        (old_token_valid, "import.parameters"),
        (weak_data_key, "sym.data-key"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_defect_is_caught_by_the_law_that_names_it(tried, defect, law):
    """And the sound provider keeps that law: see test_laws.py."""

    def spoil(provider):
        defect(provider)
        return provider

    assert Outcome.FAIL in {result.outcome for result in tried(spoil, law)}


class Impatient:
    """Retries creation itself, on top of what the suite puts below it."""

    def __init__(self, store):
        self.create = store.create_key

    def create_key(self, new):
        """Twice, if the first time is not answered."""
        try:
            return self.create(new)
        except Timeout:
            return self.create(new)


def test_a_provider_that_creates_twice_is_caught(subject):
    """Faults come from below the provider's own retries, where `Conditions.line` was put."""
    sound = subject()
    opener = sound._opener
    sound.close()

    def opened(conditions):
        provider = conditions.line.wrap(opener(conditions))
        impatient = Impatient(provider)
        type(provider).create_key = lambda _, new: impatient.create_key(new)
        return provider

    with Session([Subject("one", opened)], profile="quick") as session:
        (result,) = run_laws(session, ["fault.create-once"])
    assert result.outcome is Outcome.FAIL
    assert "sent 2 times" in result.detail


def test_the_line_changes_nothing_when_it_is_quiet(subject):
    """Interfaces, results and private parts are the provider's own."""
    provider = subject().kms.provider
    inner = Line().wrap(provider)
    assert {kind.__name__ for kind in type(inner).__bases__} == {
        kind.__name__ for kind in type(provider).__bases__
    }
    assert inner.capabilities() == provider.capabilities()


def test_faults_end_when_the_law_has_ended(subject):
    """One law's faults are not the next one's."""
    under_test = subject()
    with Session([under_test], profile="quick") as session:
        under_test.line.fail(*[Fault.UNAVAILABLE] * 100)
        run_laws(session, ["contract.health"])
        (result,) = run_laws(session, ["contract.random"])
    assert result.outcome is Outcome.PASS


def test_a_law_that_finds_something_leaves_no_log_open(tried, outcomes):
    """Its folder is gone by then, and whoever brings the log to the disk would complain."""

    def fails(provider):
        def fail(*_):
            raise CiphertextInvalid

        provider.decrypt = fail
        return provider

    assert outcomes(tried(fails, "audit.chain")) == {"FAIL"}
    places = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    open_files = [each.readlink().name for each in places]
    assert not [name for name in open_files if name.startswith("audit.log")]


def test_a_provider_that_fails_to_close_takes_no_report_with_it(tried, outcomes):
    """It is a finding like any other."""

    def spoil(provider):
        def fail():
            raise ZeroDivisionError("by design")

        provider.close = fail
        return provider

    (result,) = tried(spoil, "contract.close-twice")
    assert result.outcome is Outcome.FAIL
    assert "ZeroDivisionError" in result.detail
