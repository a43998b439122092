"""What callers without a type checker pass: refused as their mistake, with what to do."""

import asyncio
import io
from pathlib import Path
from typing import cast

import pytest

from kmscore import envelope
from kmscore.envelope.suites import AES_256_GCM_SIGNED
from kmscore.errors import InvalidRequest


async def _drain(stream, *openers, **options):
    async def pieces():
        yield b"data"

    return [piece async for piece in stream(pieces(), *openers, **options)]


ENCRYPTIONS = {
    "bytes": lambda key, **options: envelope.encrypt(b"data", key, **options),
    "buffer": lambda key, **options: envelope.encrypt_into(b"d", bytearray(999), key, **options),
    "file": lambda key, **options: envelope.encrypt_file("plain", "out", key, **options),
    "pieces": lambda key, **options: envelope.EnvelopeEncryptor(key, size=1, **options),
    "async": lambda key, **options: asyncio.run(_drain(envelope.encrypt_async, key, **options)),
}
DECRYPTIONS = {
    "bytes": lambda m, key, **options: envelope.decrypt(m, key, **options),
    "buffer": lambda m, key, **options: envelope.decrypt_into(m, bytearray(99), key, **options),
    "file": lambda _, key, **options: envelope.decrypt_file("message", "out", key, **options),
    "stream": lambda m, key, **options: envelope.decrypt_stream(
        io.BytesIO(m), io.BytesIO(), key, **options
    ),
    "pieces": lambda m, key, **options: envelope.EnvelopeDecryptor(key, **options).update(m),
    "reader": lambda m, key, **options: envelope.EnvelopeReader(io.BytesIO(m), key, **options),
}
NO_KEYS = ["orders", b"orders", None, 5, ["orders"]]


@pytest.fixture
def message(key, tmp_path, monkeypatch):
    """A message, in the working directory too, beside a file with plaintext."""
    monkeypatch.chdir(tmp_path)
    message = envelope.encrypt(b"data", key)
    Path("message").write_bytes(message)
    Path("plain").write_bytes(b"data")
    return message


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("given", NO_KEYS, ids=repr)
@pytest.mark.parametrize("way", ENCRYPTIONS)
@pytest.mark.usefixtures("message")
def test_what_is_no_key_encrypts_nothing(way, given, cached):
    """The name of a key, above all."""
    cache = envelope.DataKeyCache() if cached else None
    with pytest.raises(InvalidRequest, match=f"a {type(given).__name__} is given as a key"):
        ENCRYPTIONS[way](given, cache=cache)
    assert not Path("out").exists()


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("given", NO_KEYS, ids=repr)
@pytest.mark.parametrize("way", DECRYPTIONS)
def test_what_is_no_key_opens_nothing(message, way, given, cached):
    """Nor the name of a provider."""
    cache = envelope.DataKeyCache() if cached else None
    with pytest.raises(InvalidRequest, match=f"a {type(given).__name__} is given as a key"):
        DECRYPTIONS[way](message, given, cache=cache)


def test_a_provider_is_no_recipient(cloud, key):
    """It opens messages, and has many keys."""
    for keys in ([cloud], [key, cloud]):
        with pytest.raises(InvalidRequest, match="a Kms is given as a key"):
            envelope.encrypt(b"data", *keys)


def test_a_defect_further_down_is_no_mistake_of_the_caller(key):
    """What was given is right, and what fails says so itself."""

    class Broken(envelope.DataKeyCache):
        def begin(self, *_):
            raise AttributeError("defect")

    with pytest.raises(AttributeError, match="defect"):
        envelope.encrypt(b"data", key, cache=Broken())


@pytest.mark.parametrize("given", ["cache", 5, {}, envelope.DataKeyCache], ids=repr)
def test_what_is_no_cache(key, message, given):
    """The class instead of one of it, for example."""
    for encrypt in ENCRYPTIONS.values():
        with pytest.raises(InvalidRequest, match="the cache is a"):
            encrypt(key, cache=given)
    for decrypt in DECRYPTIONS.values():
        with pytest.raises(InvalidRequest, match="the cache is a"):
            decrypt(message, key, cache=given)


@pytest.mark.parametrize("given", [None, 5, b"AES_256_GCM", AES_256_GCM_SIGNED])
def test_what_is_no_suite(key, given):
    """Nor a signed one: nobody could read a message that lacks its signature."""
    with pytest.raises(InvalidRequest, match="AES_256_GCM, SM4_GCM"):
        envelope.encrypt(b"data", key, suite=given)


def test_rewrapping_takes_lists(key, message):
    """Of openers and of keys; a single one is a mistake that is easily made."""
    for openers, keys in ((key, [key]), ([key], key), (None, [key])):
        for rewrap in (
            lambda o, k: envelope.rewrap(message, o, k),
            lambda o, k: envelope.rewrap_file("message", "out", o, k),
            lambda o, k: envelope.rewrap_stream(io.BytesIO(message), io.BytesIO(), o, k),
        ):
            with pytest.raises(InvalidRequest, match="Give a list"):
                rewrap(openers, keys)
    with pytest.raises(InvalidRequest, match="the message is a str"):
        envelope.rewrap(cast("bytes", "text"), [key], [key])


@pytest.mark.parametrize("given", ["text", 5, None], ids=repr)
def test_what_is_no_data(key, given):
    """In pieces as well; nothing of it is taken for a piece."""
    encryptor = envelope.EnvelopeEncryptor(key)
    with pytest.raises(InvalidRequest, match="the plaintext is a"):
        encryptor.update(given)
    message = encryptor.update(b"data") + encryptor.finalize()
    assert envelope.decrypt(message, key) == b"data"
    with pytest.raises(InvalidRequest, match="the message is a"):
        envelope.EnvelopeDecryptor(key).update(given)
    with pytest.raises(InvalidRequest, match="a message of"):
        envelope.EnvelopeEncryptor(key, size=cast("int", "text"))


@pytest.mark.parametrize(
    "given", ["a.txt", io.StringIO("text"), None], ids=["path", "text", "none"]
)
def test_streams_are_binary(key, message, given):
    """Not paths, and no text files; the provider is not asked."""
    for call in (
        lambda: envelope.encrypt_stream(given, io.BytesIO(), key),
        lambda: envelope.encrypt_stream(io.BytesIO(), given, key),
        lambda: envelope.decrypt_stream(given, io.BytesIO(), key),
        lambda: envelope.decrypt_stream(io.BytesIO(message), given, key),
        lambda: envelope.rewrap_stream(given, io.BytesIO(), [key], [key]),
        lambda: envelope.rewrap_stream(io.BytesIO(message), given, [key], [key]),
        lambda: envelope.EnvelopeReader(given, key),
    ):
        with pytest.raises(InvalidRequest, match="Give an open binary file"):
            call()


@pytest.mark.parametrize("given", ["a\0b", b"a\0b", "\ud800", "", 5], ids=ascii)
@pytest.mark.usefixtures("message")
def test_what_is_no_path(key, given):
    """No file can have that name."""
    for call in (
        lambda: envelope.encrypt_file(given, "out", key),
        lambda: envelope.encrypt_file("plain", given, key, force=True),
        lambda: envelope.decrypt_file(given, "out", key),
        lambda: envelope.decrypt_file("message", given, key),
        lambda: envelope.rewrap_file(given, None, [key], [key]),
        lambda: envelope.rewrap_file("message", given, [key], [key]),
    ):
        with pytest.raises(InvalidRequest, match="is no path"):
            call()
