"""AWS's Encryption SDK for JavaScript as a reader and a writer of envelope messages."""

import base64
import json
import os
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import kmscore
from kmscore import envelope
from kmscore.envelope import EnvelopeEncryptor
from kmscore.envelope.frames import FRAME_BYTES
from kmscore.errors import KmsError
from tests.clients.conftest import HERE, NODE, VENV

THEIR_FRAME_BYTES = 4096


def b64(data):
    """Base64."""
    return base64.b64encode(data).decode()


class Refused(Exception):
    """The SDK reported an error."""


class Sdk:
    """The SDK in a process of its own; its keyring asks here for data keys, and keeps none.

    Attributes:
        asked: How often it asked.
    """

    def __init__(self):
        self.asked = 0
        self.process = subprocess.Popen(
            [NODE, HERE / "node_envelopes.js"],
            env=os.environ | {"NODE_PATH": str(VENV / "node/node_modules")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def decrypt(self, message, *keys):
        """The plaintext and the context of a message, by those of its recipients that are known."""
        answer = self._answer({"message": b64(message)}, keys)
        return base64.b64decode(answer["plaintext"]), answer["context"]

    def encrypt(self, plaintext, *keys, context, suite, frame_bytes):
        """A message for several recipients."""
        job = {
            "plaintext": b64(plaintext),
            "context": context,
            "suite": suite,
            "frameLength": frame_bytes,
        }
        return base64.b64decode(self._answer(job, keys)["message"])

    def _answer(self, job, keys):
        answer = self._tell(job)
        while question := answer.keys() & {"make", "open"}:
            self.asked += 1
            reply = _make if "make" in question else _open
            answer = self._tell(reply(keys, **answer[question.pop()]))
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer

    def _tell(self, line):
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        """Let the process end."""
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0


def _open(keys, providerId, providerInfo, sealed, context):  # noqa: N803 - the SDK's names
    for key in keys:
        if (f"kmscore/{key.provider_name}", key.key_id) == (providerId, providerInfo):
            try:
                return {"dataKey": b64(key.decrypt(base64.b64decode(sealed), context=context))}
            except KmsError:
                break
    return {}


def _make(keys, context):
    first, *others = keys
    made = first.generate_data_key(length=32, context=context)
    data_key = bytes(made.plaintext)
    sealed = [made.ciphertext, *(key.encrypt(data_key, context=context) for key in others)]
    recipients = [
        {
            "providerId": f"kmscore/{key.provider_name}",
            "providerInfo": key.key_id,
            "sealed": b64(each),
        }
        for key, each in zip(keys, sealed, strict=True)
    ]
    return {"dataKey": b64(data_key), "recipients": recipients}


@pytest.fixture(scope="module")
def sdk():
    """One process for all."""
    sdk = Sdk()
    yield sdk
    sdk.end()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Keys of two providers."""
    folder = tmp_path_factory.mktemp("providers")
    providers = {
        name: {"type": "software", "path": str(folder / name), "root_key": lambda: b"r" * 32}
        for name in ("cloud", "hsm")
    }
    with (
        kmscore.connect("cloud", config={"providers": providers}) as cloud,
        kmscore.connect("hsm", config={"providers": providers}) as hsm,
    ):
        yield [kms.create_key("AES_256") for kms in (cloud, hsm, cloud)]


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
contexts = st.dictionaries(texts.filter(lambda k: not k.startswith("aws-")), texts, max_size=4)
counts = st.integers(1, 3)
# UTF-16, the strings of JavaScript, sorts these the other way round than UTF-8, the format.
UNLIKE_ORDER = {"～": "Füllbreite", "😀": "表情"}


def around(frame):
    """Sizes at which the number of frames changes, and none at all."""
    return [0, 1, frame - 1, frame, frame + 1, 2 * frame]


def whole(plaintext, keys, context):
    """A message, made at once."""
    return envelope.encrypt(plaintext, *keys, context=context)


def in_pieces(plaintext, keys, context):
    """A message whose size nobody knew beforehand."""
    encryptor = EnvelopeEncryptor(*keys, context=context)
    return encryptor.update(plaintext) + encryptor.finalize()


@settings(max_examples=25)
@example(FRAME_BYTES, UNLIKE_ORDER, 3, in_pieces)
@given(st.sampled_from(around(FRAME_BYTES)), contexts, counts, st.sampled_from([whole, in_pieces]))
def test_it_reads_what_we_write(sdk, keys, size, context, count, made):
    """Around frame boundaries, with any context, by each of several recipients."""
    plaintext = os.urandom(size)
    message = made(plaintext, keys[:count], context)
    for key in keys[:count]:
        assert sdk.decrypt(message, key) == (plaintext, context)


@settings(max_examples=25)
@example(THEIR_FRAME_BYTES, UNLIKE_ORDER, 3, "0x0578", THEIR_FRAME_BYTES)
@given(
    st.sampled_from(around(THEIR_FRAME_BYTES) + around(FRAME_BYTES)),
    contexts,
    counts,
    st.sampled_from(["0x0478", "0x0578"]),
    st.sampled_from([THEIR_FRAME_BYTES, FRAME_BYTES]),
)
def test_we_read_what_it_writes(sdk, keys, size, context, count, suite, frame_bytes):
    """Also what it signed, with frames of its length and of ours, by each recipient."""
    plaintext = os.urandom(size)
    message = sdk.encrypt(
        plaintext, *keys[:count], context=context, suite=suite, frame_bytes=frame_bytes
    )
    assert message.startswith(b"\x02" + int(suite, 16).to_bytes(2))
    for key in keys[:count]:
        assert envelope.decrypt(message, key, context=context) == plaintext


def test_it_reads_a_message_with_other_recipients(sdk, keys):
    """What it wrote and signed, given to another provider's key here; the old key is out."""
    old, new, _ = keys
    message = sdk.encrypt(
        b"moved", old, context={"für": "卡"}, suite="0x0578", frame_bytes=THEIR_FRAME_BYTES
    )
    moved = envelope.rewrap(message, [old], [new], context={"für": "卡"})
    assert sdk.decrypt(moved, new) == (b"moved", {"für": "卡"})
    with pytest.raises(Refused, match="unencryptedDataKey"):
        sdk.decrypt(moved, old)


def test_it_refuses_our_chinese_suite(sdk, keys):
    """As a suite that it does not know, before it asks for a key."""
    asked = sdk.asked
    with pytest.raises(Refused, match="Unsupported algorithm suite"):
        sdk.decrypt(envelope.encrypt(b"x", keys[0], suite="SM4_GCM"), keys[0])
    assert sdk.asked == asked


def test_it_refuses_an_altered_message(sdk, keys):
    """Whichever byte was altered, and wherever it was cut off."""
    message = envelope.encrypt(b"secret", keys[0], context={"app": "web"})
    assert sdk.decrypt(message, keys[0]) == (b"secret", {"app": "web"})
    for place in range(len(message)):
        altered = bytearray(message)
        altered[place] ^= 1
        for wrong in (bytes(altered), message[:place]):
            with pytest.raises(Refused):
                sdk.decrypt(wrong, keys[0])
