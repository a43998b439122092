"""The AWS Encryption SDK as a reader and a writer: nobody here wrote it."""

import os
from typing import Any

import attr
import aws_encryption_sdk
import pytest
from aws_encryption_sdk.identifiers import (
    Algorithm,
    CommitmentPolicy,
    EncryptionKeyType,
    WrappingAlgorithm,
)
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.base import (
    MasterKey,
    MasterKeyConfig,
    MasterKeyProvider,
    MasterKeyProviderConfig,
)
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider
from aws_encryption_sdk.structures import DataKey
from aws_encryption_sdk.structures import EncryptedDataKey as SdkEncryptedDataKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from kmscore import envelope
from kmscore.context import EncryptionContext
from kmscore.envelope import EnvelopeDecryptor
from kmscore.envelope.frames import FINAL_OVERHEAD, FRAME_BYTES
from kmscore.envelope.header import EncryptedDataKey, shared_fields
from kmscore.envelope.message import begin
from kmscore.envelope.recipients import Materials, Source
from kmscore.envelope.suites import AES_256_GCM
from kmscore.errors import IntegrityError

WRAPPING_KEY = b"w" * 32
NAMESPACE = "kmscore-test"
NAME = "bridge"


class Bridge(RawMasterKeyProvider):
    """The SDK's own raw AES provider with our wrapping key."""

    provider_id = NAMESPACE

    def _get_raw_key(self, key_id):
        return WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
            wrapping_key=WRAPPING_KEY,
            wrapping_key_type=EncryptionKeyType.SYMMETRIC,
        )


class Known(Source):
    """Opens what the SDK's raw AES provider wrapped."""

    def open(self, recipients, openers, context):
        each = recipients[0]
        iv = each.provider_info[-12:]
        pairs = sorted((k.encode(), v.encode()) for k, v in context.items)
        aad = b"".join(len(p).to_bytes(2) + p for pair in pairs for p in pair)
        aad = len(pairs).to_bytes(2) + aad if pairs else b""
        return bytearray(AESGCM(WRAPPING_KEY).decrypt(iv, each.ciphertext, aad))


class Made(Source):
    """Has one data key, which is wrapped already."""

    def __init__(self, data_key, recipient):
        self._data_key = data_key
        self._recipient = recipient

    def make(self, keys, context):
        return Materials(self._data_key, shared_fields(context, [self._recipient]))


@pytest.fixture(scope="module")
def sdk():
    """The SDK's client, and its provider."""
    client = aws_encryption_sdk.EncryptionSDKClient(
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    )
    provider = Bridge()
    provider.add_master_key(NAME)
    return client, provider


def read(message, context=None):
    """A message of the SDK's raw AES provider."""
    decryptor = EnvelopeDecryptor(context=context, cache=Known())
    return decryptor.update(message) + decryptor.finalize()


def write(plaintext, context):
    """A message of ours, with a data key wrapped as the SDK's raw AES provider does it."""
    checked = EncryptionContext.of(context)
    data_key = bytearray(os.urandom(32))
    iv = os.urandom(12)
    pairs = sorted((k.encode(), v.encode()) for k, v in checked.items)
    aad = b"".join(len(p).to_bytes(2) + p for pair in pairs for p in pair)
    aad = len(pairs).to_bytes(2) + aad if pairs else b""
    sealed = AESGCM(WRAPPING_KEY).encrypt(iv, bytes(data_key), aad)
    info = NAME.encode() + (128).to_bytes(4) + (12).to_bytes(4) + iv
    recipient = EncryptedDataKey(NAMESPACE, info, sealed)
    source = Made(data_key, recipient)
    header, body = begin([], checked, AES_256_GCM, len(plaintext), source)
    regular = max(0, len(plaintext) - 1) // FRAME_BYTES
    out = bytearray(
        regular * body.sealed_bytes + FINAL_OVERHEAD + len(plaintext) - regular * FRAME_BYTES
    )
    view = memoryview(out)
    place = body.seal(1, memoryview(plaintext)[: regular * FRAME_BYTES], view)
    view[place:] = body.seal_final(regular + 1, plaintext[regular * FRAME_BYTES :])
    return header + bytes(out)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
contexts = st.dictionaries(texts.filter(lambda k: not k.startswith("aws-")), texts, max_size=4)
sizes = st.sampled_from([0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES])


@settings(max_examples=25, deadline=None)
@given(sizes, contexts)
def test_the_sdk_reads_what_we_write(sdk, size, context):
    """Around frame boundaries, with any context."""
    client, provider = sdk
    plaintext = os.urandom(size)
    opened, header = client.decrypt(source=write(plaintext, context), key_provider=provider)
    assert opened == plaintext
    assert header.encryption_context == context


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([0, 1, 4095, 4096, 4097, 20_000]),
    contexts,
    st.sampled_from(
        [
            Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
            Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
        ]
    ),
    st.sampled_from([4096, 0]),
)
def test_we_read_what_the_sdk_writes(sdk, size, context, algorithm, frame_length):
    """With and without a signature, with frames and without."""
    client, provider = sdk
    plaintext = os.urandom(size)
    message, _ = client.encrypt(
        source=plaintext,
        key_provider=provider,
        encryption_context=context,
        algorithm=algorithm,
        frame_length=frame_length,
    )
    assert read(message, context) == plaintext


def test_a_broken_signature_of_the_sdk_is_found(sdk):
    """Changed, cut off, or followed by something."""
    client, provider = sdk
    message, _ = client.encrypt(source=b"signed", key_provider=provider)
    changed = message[:-1] + bytes([message[-1] ^ 1])
    for broken in (message[:-1], message[:-110], message + b"x", changed):
        with pytest.raises(IntegrityError):
            read(broken)
    decryptor = EnvelopeDecryptor(cache=Known())
    decryptor.update(message)
    with pytest.raises(IntegrityError, match="goes on after its signature"):
        decryptor.update(b"x")


def test_the_sdk_refuses_our_chinese_suite(sdk, key):
    """A private suite id is unknown to others, and they say so."""
    client, provider = sdk
    message = envelope.encrypt(b"x", key, suite="SM4_GCM")
    with pytest.raises(Exception, match=r"(?i)algorithm|unknown"):
        client.decrypt(source=message, key_provider=provider)


@attr.s(hash=True)
class OurConfig(MasterKeyConfig):
    """What the SDK wants to know of a key beforehand."""

    provider_id = attr.ib(hash=True)
    key = attr.ib(hash=False, eq=False)


class OurKey(MasterKey):
    """A key of kmscore for the SDK: the few lines that the page on envelopes speaks of."""

    provider_id = None
    _config_class = OurConfig

    @classmethod
    def of(cls, key):
        new: Any = OurConfig
        name = f"kmscore/{key.provider_name}"
        return cls(config=new(key_id=key.key_id, provider_id=name, key=key))

    def _generate_data_key(self, algorithm, encryption_context):
        made = self.config.key.generate_data_key(
            length=algorithm.kdf_input_len, context=encryption_context
        )
        return DataKey(self.key_provider, bytes(made.plaintext), made.ciphertext)

    def _encrypt_data_key(self, data_key, algorithm, encryption_context):
        sealed = self.config.key.encrypt(data_key.data_key, context=encryption_context)
        return SdkEncryptedDataKey(self.key_provider, sealed)

    def _decrypt_data_key(self, encrypted_data_key, algorithm, encryption_context):
        sealed = encrypted_data_key.encrypted_data_key
        opened = self.config.key.decrypt(sealed, context=encryption_context)
        return DataKey(self.key_provider, opened, sealed)


class OurKeys(MasterKeyProvider):
    """Several of them, as recipients of one message."""

    provider_id = "kmscore"
    _config_class = MasterKeyProviderConfig

    def _new_master_key(self, key_id):
        raise NotImplementedError

    def master_keys_for_encryption(
        self, encryption_context, plaintext_rostream, plaintext_length=None
    ):
        return self.keys[0], self.keys


@settings(max_examples=25, deadline=None)
@given(sizes, contexts, st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_sdk_reads_messages_for_several_recipients(
    sdk, cloud, hsm, key, other, size, context, count, chance
):
    """Messages as users make them, by whichever recipient the SDK has."""
    client, _ = sdk
    keys = [key, other, cloud.key("third")][:count]
    chance.shuffle(keys)
    plaintext = os.urandom(size)
    message = envelope.encrypt(plaintext, *keys, context=context)
    for each in keys:
        opened, header = client.decrypt(source=message, key_provider=OurKey.of(each))
        assert opened == plaintext
        assert header.encryption_context == context


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([0, 1, 4095, 4096, 4097, 20_000]),
    contexts,
    st.integers(1, 3),
    st.sampled_from(
        [
            Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
            Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384,
        ]
    ),
)
def test_we_read_the_sdks_messages_for_several_recipients(
    sdk, cloud, hsm, key, other, size, context, count, algorithm
):
    """By each key, by each provider, and rewrapped; signed ones too."""
    client, _ = sdk
    first, *others = [key, other, cloud.key("third")][:count]
    provider = OurKeys(config=MasterKeyProviderConfig())
    provider.keys = [OurKey.of(each) for each in (first, *others)]
    plaintext = os.urandom(size)
    message, _ = client.encrypt(
        source=plaintext,
        key_provider=provider,
        encryption_context=context,
        algorithm=algorithm,
    )
    for opener in (first, *others, cloud, *([hsm] if count > 1 else [])):
        assert envelope.decrypt(message, opener, context=context) == plaintext
    moved = envelope.rewrap(message, [first], [other], context=context)
    assert envelope.decrypt(moved, hsm, context=context) == plaintext


@pytest.fixture(autouse=True, scope="module")
def third(cloud):
    """One more key of the first provider."""
    return cloud.create_key("AES_256", alias="third")
