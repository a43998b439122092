"""Frames of an envelope's body: their layout, and how a run of them is sealed and opened.

Source: AWS Encryption SDK specification, "data-format/message-body" and "message-body-aad".
A regular frame is sequence number (4 bytes), IV (12), content, tag (16); the final one begins with
FFFFFFFF and also carries its content's length (4). The IV is the sequence number.
"""

from __future__ import annotations

from typing import Final

from kmscore.envelope.suites import IV_BYTES, TAG_BYTES, FrameCipher
from kmscore.errors import IntegrityError, LimitExceeded

FRAME_BYTES: Final = 131072
"""Content of the frames that are written: small enough for random access, 0.025 % overhead."""

PREFIX_BYTES: Final = 4 + IV_BYTES
FRAME_OVERHEAD: Final = PREFIX_BYTES + TAG_BYTES
FINAL_PREFIX_BYTES: Final = 4 + PREFIX_BYTES + 4
FINAL_OVERHEAD: Final = FINAL_PREFIX_BYTES + TAG_BYTES
SINGLE_PREFIX_BYTES: Final = IV_BYTES + 8
SINGLE_OVERHEAD: Final = SINGLE_PREFIX_BYTES + TAG_BYTES
END: Final = b"\xff\xff\xff\xff"
LAST_SEQUENCE: Final = 0xFFFFFFFE
"""FFFFFFFF marks the final frame, and is no sequence number of a regular one."""

_REGULAR: Final = b"AWSKMSEncryptionClient Frame"
_FINAL: Final = b"AWSKMSEncryptionClient Final Frame"
_SINGLE: Final = b"AWSKMSEncryptionClient Single Block"

_ONE: Final = b"\x00\x00\x00\x01"
_ONLY_IV: Final = b"\x00\x00\x00\x00\x00\x00\x00\x00" + _ONE
_ONLY_PREFIX: Final = END + _ONE + _ONLY_IV
_ONLY_AAD: Final = _FINAL + _ONE
"""What a final frame begins with that is the first as well: most messages have no other."""


class Body:
    """Seals or opens the frames of one message. Usable from several threads.

    Args:
        cipher: The message's cipher.
        message_id: The message's id, which every frame's associated data begins with.
        frame_bytes: Content of every frame but the last.
    """

    __slots__ = ("_cipher", "_message_id", "frame_bytes", "sealed_bytes")

    def __init__(self, cipher: FrameCipher, message_id: bytes, frame_bytes: int) -> None:
        self._cipher = cipher
        self.frame_bytes = frame_bytes
        self.sealed_bytes = frame_bytes + FRAME_OVERHEAD
        self._message_id = message_id

    @property
    def is_framed(self) -> bool:
        """Whether the body has frames."""
        return self.frame_bytes > 0

    def open_single(self, sealed: memoryview | bytes) -> bytes:
        """Open a body without frames."""
        return open_single(self._cipher, self._message_id, sealed)

    def seal(self, first: int, plaintext: memoryview, out: memoryview) -> int:
        """Seal whole regular frames.

        Args:
            first: Sequence number of the first, from 1.
            plaintext: A multiple of the frame's size.
            out: Room for the sealed frames.

        Returns:
            How many bytes of ``out`` were written.
        """
        step, width = self.frame_bytes, self.sealed_bytes
        seal_into, aad, size = self._cipher.seal_into, self._message_id + _REGULAR, step.to_bytes(8)
        count = len(plaintext) // step
        _check_sequence(first + count)
        place = 0
        for index in range(count):
            sequence = (first + index).to_bytes(4)
            iv = b"\x00\x00\x00\x00\x00\x00\x00\x00" + sequence
            content = place + PREFIX_BYTES
            out[place:content] = sequence + iv
            seal_into(
                iv,
                plaintext[index * step : (index + 1) * step],
                aad + sequence + size,
                out[content : place + width],
            )
            place += width
        return place

    def seal_final(self, sequence: int, plaintext: memoryview | bytes) -> bytes:
        """Seal the final frame, of 0 to frame size bytes."""
        _check_sequence(sequence)
        number = sequence.to_bytes(4)
        iv = b"\x00\x00\x00\x00\x00\x00\x00\x00" + number
        size = len(plaintext)
        aad = self._message_id + _FINAL + number + size.to_bytes(8)
        sealed = self._cipher.seal(iv, plaintext, aad)
        return END + number + iv + size.to_bytes(4) + sealed

    def seal_only(self, plaintext: memoryview | bytes) -> bytes:
        """Seal a body of one frame, of 0 to frame size bytes."""
        size = len(plaintext)
        aad = self._message_id + _ONLY_AAD + size.to_bytes(8)
        return _ONLY_PREFIX + size.to_bytes(4) + self._cipher.seal(_ONLY_IV, plaintext, aad)

    def open(self, first: int, sealed: memoryview, out: memoryview) -> int:
        """Open whole regular frames, in order.

        Args:
            first: Sequence number that the first must have.
            sealed: A multiple of a sealed frame's size.
            out: Room for their content.

        Returns:
            How many bytes of ``out`` were written.

        Raises:
            IntegrityError: A frame is not the one that belongs here, or was altered.
        """
        step, width = self.frame_bytes, self.sealed_bytes
        open_into, aad, size = self._cipher.open_into, self._message_id + _REGULAR, step.to_bytes(8)
        count = len(sealed) // width
        for index in range(count):
            number = first + index
            sequence = number.to_bytes(4)
            iv = b"\x00\x00\x00\x00\x00\x00\x00\x00" + sequence
            place = index * width
            content = place + PREFIX_BYTES
            if bytes(sealed[place:content]) != sequence + iv:
                raise IntegrityError(f"frame {number} of the message is missing or out of order")
            try:
                open_into(
                    iv,
                    sealed[content : place + width],
                    aad + sequence + size,
                    out[index * step : (index + 1) * step],
                )
            except IntegrityError as error:
                raise IntegrityError(f"frame {number} of the message was altered") from error
        return count * step

    def layout(self, sealed: memoryview) -> tuple[int, int]:
        """How a whole body is made up; none of it is authenticated.

        Returns:
            How many regular frames it has, and the bytes of plaintext in the final one.

        Raises:
            IntegrityError: The body is cut off, or goes on after its final frame.
        """
        frames = self.regular_frames(sealed)
        place = frames * self.sealed_bytes
        extra = len(sealed) - place - FINAL_OVERHEAD
        if extra < 0 or bytes(sealed[place : place + 4]) != END:
            raise IntegrityError("the message is cut off")
        size = int.from_bytes(sealed[place + FINAL_PREFIX_BYTES - 4 : place + FINAL_PREFIX_BYTES])
        extra -= size
        if extra < 0:
            raise IntegrityError("the message is cut off")
        if extra:
            raise IntegrityError("the message goes on after its final frame")
        return frames, size

    def open_only(self, message: memoryview | bytes, place: int) -> bytes:
        """Open a body that is too short for anything but a final frame.

        Args:
            message: The message.
            place: Where its body begins; it goes to the end.

        Raises:
            IntegrityError: It is cut off, goes on after that frame, or was altered.
        """
        size = len(message) - place - FINAL_OVERHEAD
        content = place + FINAL_PREFIX_BYTES
        if size < 0 or message[place:content] != _ONLY_PREFIX + size.to_bytes(4):
            sealed = memoryview(message)[place:]
            self.layout(sealed)  # says what is missing
            return self.open_final(1, sealed)
        aad = self._message_id + _ONLY_AAD + size.to_bytes(8)
        try:
            return self._cipher.open(_ONLY_IV, message[content:], aad)
        except IntegrityError as error:
            raise _final_altered() from error

    def regular_frames(self, sealed: memoryview) -> int:
        """How many regular frames there are before the end of the data or the final one."""
        count = 0
        width = self.sealed_bytes
        for place in range(0, len(sealed) - width + 1, width):
            if bytes(sealed[place : place + 4]) == END:
                break
            count += 1
        return count

    def open_final(self, sequence: int, sealed: memoryview | bytes) -> bytes:
        """Open the final frame.

        Raises:
            IntegrityError: It is not the one that belongs here, or was altered.
        """
        size = final_size(sealed[:FINAL_PREFIX_BYTES], sequence, self.frame_bytes)
        if len(sealed) != FINAL_OVERHEAD + size:
            raise IntegrityError("the message is cut off, or goes on after its final frame")
        number = sequence.to_bytes(4)
        iv = b"\x00\x00\x00\x00\x00\x00\x00\x00" + number
        aad = self._message_id + _FINAL + number + size.to_bytes(8)
        try:
            return self._cipher.open(iv, sealed[FINAL_PREFIX_BYTES:], aad)
        except IntegrityError as error:
            raise _final_altered() from error


def open_single(cipher: FrameCipher, message_id: bytes, sealed: memoryview | bytes) -> bytes:
    """Open a body without frames: IV (12), length (8), content, tag. It is read, never written.

    Raises:
        IntegrityError: It was altered or cut off.
    """
    iv, length = bytes(sealed[:IV_BYTES]), bytes(sealed[IV_BYTES:SINGLE_PREFIX_BYTES])
    if int.from_bytes(length) != len(sealed) - SINGLE_OVERHEAD:
        raise IntegrityError("the message is cut off, or goes on after its body")
    aad = message_id + _SINGLE + b"\x00\x00\x00\x01" + length
    try:
        return cipher.open(iv, sealed[SINGLE_PREFIX_BYTES:], aad)
    except IntegrityError as error:
        raise IntegrityError("the body of the message was altered") from error


def final_size(prefix: memoryview | bytes, sequence: int, frame_bytes: int) -> int:
    """The content length that a final frame's prefix states.

    Raises:
        IntegrityError: It is not the final frame that belongs here.
    """
    number = sequence.to_bytes(4)
    given = bytes(prefix)
    if given[:-4] != END + number + b"\x00\x00\x00\x00\x00\x00\x00\x00" + number:
        raise IntegrityError("the final frame of the message is missing or out of order")
    size = int.from_bytes(given[-4:])
    if size > frame_bytes:
        raise IntegrityError("the final frame of the message is longer than the others")
    return size


def _final_altered() -> IntegrityError:
    return IntegrityError("the final frame of the message was altered")


def _check_sequence(sequence: int) -> None:
    if sequence > LAST_SEQUENCE:
        raise LimitExceeded("the message would have more than 2^32 - 2 frames")
