"""Open files and async iterators: messages that come and go in pieces."""

import asyncio
import io
import os
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmscore import envelope
from kmscore.envelope.frames import FRAME_BYTES
from kmscore.envelope.units import UNIT_BYTES
from kmscore.errors import IntegrityError, InvalidRequest, KeyNotFound

SIZES = [
    *(0, 1, FRAME_BYTES, FRAME_BYTES + 1, UNIT_BYTES - 1, UNIT_BYTES, UNIT_BYTES + 1),
    *(UNIT_BYTES + FRAME_BYTES, UNIT_BYTES + FRAME_BYTES + 1, 3 * UNIT_BYTES + 5),
]


class Trickle(io.RawIOBase):
    """A file that takes and gives less than it is asked for."""

    def __init__(self, data=b"", step=1000):
        super().__init__()
        self._file = io.BytesIO(data)
        self._step = step

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._file.readinto(memoryview(buffer)[: self._step])

    def write(self, data):
        return self._file.write(memoryview(data)[: self._step])

    def getvalue(self):
        return self._file.getvalue()


@pytest.mark.parametrize("suite", ["AES_256_GCM", "SM4_GCM"])
@pytest.mark.parametrize("size", SIZES)
def test_a_stream_there_and_back(key, size, suite):
    """Around frames and units; the final frame is full where it can be, as in one piece."""
    plaintext = random.Random(size).randbytes(size)
    sealed, back = io.BytesIO(), io.BytesIO()
    done: list[int] = []
    envelope.encrypt_stream(io.BytesIO(plaintext), sealed, key, suite=suite, progress=done.append)
    assert sum(done) == size
    message = sealed.getvalue()
    assert len(message) == len(envelope.encrypt(plaintext, key, suite=suite))
    assert envelope.decrypt(message, key) == plaintext
    done.clear()
    envelope.decrypt_stream(io.BytesIO(message), back, key, progress=done.append)
    assert (back.getvalue() == plaintext, sum(done) <= len(message)) == (True, True)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 400_000), st.integers(1, 200_000), st.booleans())
def test_files_may_give_and_take_in_parts(key, size, step, both):
    """A raw file reads and writes as much as it likes."""
    plaintext = os.urandom(size)
    sealed = Trickle(step=step)
    envelope.encrypt_stream(Trickle(plaintext, step), sealed, key)
    back = Trickle(step=step if both else 1 << 30)
    envelope.decrypt_stream(Trickle(sealed.getvalue(), step), back, key)
    assert back.getvalue() == plaintext


def test_what_follows_a_message_in_a_stream_is_told(key):
    """One byte, or another message; and what is missing."""
    message = envelope.encrypt(bytes(FRAME_BYTES + 5), key)
    for content, word in (
        (message + b"x", "goes on after"),
        (message + message, "goes on after"),
        (message[:-1], "cut off"),
        (message[: FRAME_BYTES + 10], "cut off"),
        (b"", "cut off"),
    ):
        with pytest.raises(IntegrityError, match=word):
            envelope.decrypt_stream(io.BytesIO(content), io.BytesIO(), key)


def test_a_stream_moves_to_other_recipients(key, other):
    """In one pass; a broken one gives no whole message."""
    plaintext = random.Random(3).randbytes(3 * UNIT_BYTES)
    message = envelope.encrypt(plaintext, key, context={"a": "1"})
    out = io.BytesIO()
    envelope.rewrap_stream(io.BytesIO(message), out, [key], [other], context={"a": "1"})
    assert envelope.decrypt(out.getvalue(), other, context={"a": "1"}) == plaintext
    with pytest.raises(KeyNotFound):
        envelope.decrypt(out.getvalue(), key, context={"a": "1"})
    broken = io.BytesIO()
    with pytest.raises(IntegrityError, match="cut off"):
        envelope.rewrap_stream(io.BytesIO(message[:-1]), broken, [key], [other], context={"a": "1"})
    with pytest.raises(IntegrityError):
        envelope.decrypt(broken.getvalue(), other, context={"a": "1"})


def test_files_that_do_not_wait_are_refused(key):
    """Nothing to read is not the end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with (
        os.fdopen(reader, "rb", buffering=0) as file,
        os.fdopen(writer, "wb", buffering=0),
        pytest.raises(InvalidRequest, match="does not wait"),
    ):
        envelope.encrypt_stream(file, io.BytesIO(), key)


async def _pieces(data, step):
    for place in range(0, len(data), step):
        await asyncio.sleep(0)
        yield data[place : place + step]


async def _collect(pieces):
    return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_async_iterators_there_and_back(key, step):
    """Pieces of any size."""
    plaintext = os.urandom(1000 if step == 1 else 300_000)

    async def work():
        message = await _collect(
            envelope.encrypt_async(_pieces(plaintext, step), key, context={"a": "1"})
        )
        pieces = envelope.decrypt_async(_pieces(message, step), key, context={"a": "1"})
        return message, await _collect(pieces)

    message, back = asyncio.run(work())
    assert back == plaintext
    assert envelope.decrypt(message, key, context={"a": "1"}) == plaintext


def test_an_async_message_that_is_cut_off_ends_with_an_error(key):
    """Not as if it were whole."""
    message = envelope.encrypt(b"x" * 1000, key)
    with pytest.raises(IntegrityError, match="cut off"):
        asyncio.run(_collect(envelope.decrypt_async(_pieces(message[:-1], 100), key)))


def test_the_event_loop_goes_on_while_the_provider_is_asked(key, monkeypatch):
    """A slow service holds nobody else up."""
    message = envelope.encrypt(b"x", key)
    asked, go_on = threading.Event(), threading.Event()
    for name in ("generate_data_key", "decrypt"):
        real = getattr(type(key), name)

        def slow(*arguments, real=real, **named):
            asked.set()
            assert go_on.wait(30)
            return real(*arguments, **named)

        monkeypatch.setattr(type(key), name, slow)

    async def work(pieces):
        asked.clear()
        go_on.clear()
        task = asyncio.create_task(_collect(pieces))
        while not asked.is_set():
            await asyncio.sleep(0)
        go_on.set()  # reached only when the loop is free
        return await task

    sealed = asyncio.run(work(envelope.encrypt_async(_pieces(b"y", 1), key)))
    assert asyncio.run(work(envelope.decrypt_async(_pieces(message, 10_000), key))) == b"x"
    assert len(sealed) == len(message)
