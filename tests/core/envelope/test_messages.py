"""Messages in memory: round trips, recipients, and everything that must be refused."""

import base64
import hmac
import io

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from kmscore import envelope
from kmscore.context import EMPTY, EncryptionContext
from kmscore.envelope import EnvelopeDecryptor, EnvelopeEncryptor
from kmscore.envelope.ciphers import AesGcm
from kmscore.envelope.frames import (
    FINAL_OVERHEAD,
    FRAME_BYTES,
    FRAME_OVERHEAD,
    LAST_SEQUENCE,
    Body,
)
from kmscore.envelope.header import MAX_RECIPIENTS, EncryptedDataKey, shared_fields, write_header
from kmscore.envelope.suites import AES_256_GCM
from kmscore.envelope.trailer import Trailer
from kmscore.envelope.whole import message_header
from kmscore.errors import (
    AccessDenied,
    CiphertextInvalid,
    IntegrityError,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KmsError,
    LimitExceeded,
    Unavailable,
    Unsupported,
)

SIZES = [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES, 300_000]


@pytest.mark.parametrize("suite", ["AES_256_GCM", "SM4_GCM"])
@pytest.mark.parametrize("size", SIZES)
def test_what_was_encrypted_is_decrypted(cloud, key, size, suite):
    """Around every boundary of frames, with the key or with the whole provider."""
    plaintext = bytes(range(256)) * (size // 256) + bytes(size % 256)
    message = envelope.encrypt(plaintext, key, context={"a": "1"}, suite=suite)
    assert envelope.decrypt(message, key, context={"a": "1"}) == plaintext
    assert envelope.decrypt(message, cloud, context={"a": "1"}) == plaintext


def test_the_overhead_is_small(key):
    """Less than 0.03 % and 1 KiB."""
    size = 40 * FRAME_BYTES
    message = envelope.encrypt(bytes(size), key)
    assert len(message) - size < size * 0.0003 + 1024


@settings(max_examples=40, deadline=None)
@given(
    st.binary(max_size=300_000),
    st.lists(st.integers(1, 100_000), max_size=8),
    st.sampled_from(["AES_256_GCM", "SM4_GCM"]),
)
def test_pieces_of_any_size_make_the_same_message(key, data, cuts, suite):
    """However the data and the message are cut, what comes out is what went in."""
    encryptor = EnvelopeEncryptor(key, suite=suite)
    message = b"".join(encryptor.update(piece) for piece in _cut(data, cuts))
    message += encryptor.finalize()
    decryptor = EnvelopeDecryptor(key)
    plaintext = b"".join(decryptor.update(piece) for piece in _cut(message, cuts))
    assert plaintext + decryptor.finalize() == data
    assert envelope.decrypt(message, key) == data


def _cut(data, cuts):
    place = 0
    for size in cuts:
        yield data[place : place + size]
        place += size
    yield data[place:]


def test_a_message_arrives_byte_by_byte(key):
    """The slowest of senders."""
    message = envelope.encrypt(b"slowly", key, context={"a": "b"})
    decryptor = EnvelopeDecryptor(key, context={"a": "b"})
    plaintext = b"".join(decryptor.update(message[n : n + 1]) for n in range(len(message)))
    decryptor.finalize()
    assert plaintext == b"slowly"


def test_a_piece_may_end_anywhere_near_the_end_of_a_frame(key):
    """A frame comes out when its last byte has come, and not before."""
    head, frames, end = _frames(key, frames=1)
    message = head + frames[0] + end
    for cut in (-1, 0, 1):
        place = len(head) + len(frames[0]) + cut
        decryptor = EnvelopeDecryptor(key)
        first = decryptor.update(message[:place])
        assert len(first) == (0 if cut < 0 else FRAME_BYTES)
        rest = decryptor.update(message[place:]) + decryptor.finalize()
        assert first + rest == bytes(FRAME_BYTES) + b"end"


def test_two_messages_share_nothing(key):
    """Fresh data key, message id and message key each time."""
    one, two = (envelope.encrypt(b"same", key) for _ in range(2))
    assert one != two
    assert envelope.inspect(one)["message_id"] != envelope.inspect(two)["message_id"]


def test_any_of_several_recipients_opens_it(cloud, hsm, key, other):
    """Across providers: the cloud's key or the HSM's."""
    message = envelope.encrypt(b"for both", key, other, context={"a": "b"})
    for opener in (key, other, cloud, hsm):
        assert envelope.decrypt(message, opener, context={"a": "b"}) == b"for both"


def test_a_recipient_that_cannot_is_passed_over(cloud, hsm, key, other):
    """A disabled key is no obstacle while another recipient can."""
    spare = cloud.create_key("AES_256")
    message = envelope.encrypt(b"for both", spare, other)
    spare.disable()
    assert envelope.decrypt(message, cloud, hsm) == b"for both"
    with pytest.raises(KeyStateError):
        envelope.decrypt(message, cloud)


def test_of_several_recipients_that_fail_the_last_is_told(cloud):
    """As long as all of them were within reach."""
    first, last = (cloud.create_key("AES_256") for _ in range(2))
    message = envelope.encrypt(b"x", first, last)
    first.disable()
    last.disable()
    with pytest.raises(KeyStateError) as caught:
        envelope.decrypt(message, cloud)
    assert caught.value.key == last.key_id


def test_who_is_no_recipient_is_told_who_is(cloud, hsm, key, other):
    """With names, so that one knows whom to ask."""
    second = cloud.create_key("AES_256")
    message = envelope.encrypt(b"x", key, second)
    with pytest.raises(KeyNotFound) as caught:
        envelope.decrypt(message, other)
    names = f"kmscore/cloud {key.key_id}, kmscore/cloud {second.key_id}"
    assert caught.value.hint == f"It can be opened by: {names}"
    with pytest.raises(KeyNotFound) as caught:
        envelope.decrypt(message, hsm)  # which looked for the ids, and has none of them
    assert caught.value.hint == f"It can be opened by: {names}"


def test_a_recipient_whose_name_is_no_text_is_told_in_escapes(key, other):
    """Nobody's terminal gets raw bytes of a message."""
    name = b"\xff" * len(key.key_id)
    message = envelope.encrypt(b"x", key).replace(key.key_id.encode(), name)
    with pytest.raises(KeyNotFound) as caught:
        envelope.decrypt(message, other)
    assert caught.value.hint.endswith(r"kmscore/cloud " + r"\xff" * len(name))


@pytest.mark.parametrize("text", ["\x1b[2J", "\nhint: all is well", "a" * 60_000])
def test_the_text_of_a_stranger_cannot_take_over_an_error(key, other, text):
    """No escape sequence, no line of its own, no flood."""
    name, place = b"kmscore/cloud", b"\x00\x0dkmscore/cloud"
    longer = name + text.encode()
    message = envelope.encrypt(b"x", key).replace(place, len(longer).to_bytes(2) + longer)
    with pytest.raises(KeyNotFound) as caught:
        envelope.decrypt(message, other)
    assert caught.value.hint.isprintable()
    assert len(caught.value.hint) < 400


def test_recipients_of_other_programs_are_passed_over(key, other):
    """Wherever they stand: the key behind one is found, and sees that the header was altered."""
    message = envelope.encrypt(b"x", key, other).replace(b"kmscore/cloud", b"aws-kms/cloud")
    with pytest.raises(KeyNotFound):
        envelope.decrypt(message, key)
    with pytest.raises(IntegrityError, match="header"):
        envelope.decrypt(message, other)


def test_a_recipient_out_of_reach_is_what_is_told(key, other, monkeypatch):
    """Who tries again later may succeed; that another recipient refused says nothing of that."""
    message = envelope.encrypt(b"x", key, other)
    real = type(key).decrypt

    def out_of_reach(this, *arguments, **named):
        if this is key:
            raise Unavailable("no answer")
        raise AccessDenied("not you")

    monkeypatch.setattr(type(key), "decrypt", out_of_reach)
    for openers in ((key, other), (other, key)):
        with pytest.raises(Unavailable, match="no answer"):
            envelope.decrypt(message, *openers)
    monkeypatch.setattr(type(key), "decrypt", real)
    assert envelope.decrypt(message, key) == b"x"


@pytest.mark.parametrize("name", ["kms://cloud/first", "kms://", "https://x", "two\nlines"])
def test_a_recipient_with_a_senseless_name_is_the_messages_fault(cloud, key, name):
    """Not that of who decrypts it, whatever whoever wrote it put there."""
    message = envelope.encrypt(b"x", key)
    field = len(key.key_id).to_bytes(2) + key.key_id.encode()
    altered = message.replace(field, len(name).to_bytes(2) + name.encode())
    with pytest.raises(CiphertextInvalid):
        envelope.decrypt(altered, cloud)


def test_a_recipient_without_a_ciphertext_is_the_messages_fault(key):
    """And no empty argument."""
    message = envelope.encrypt(b"x", key)
    sealed = message_header(message).recipients[0].ciphertext
    with pytest.raises(CiphertextInvalid):
        envelope.decrypt(message.replace(len(sealed).to_bytes(2) + sealed, b"\x00\x00"), key)


def test_a_provider_of_another_name_is_tried_when_no_name_fits(cloud, hsm, key):
    """Names are local to a configuration; the key id decides."""
    message = envelope.encrypt(b"x", key).replace(b"kmscore/cloud", b"kmscore/where")
    with pytest.raises(KeyNotFound):
        envelope.decrypt(message, hsm)
    with pytest.raises(IntegrityError, match="header"):
        envelope.decrypt(message, cloud)


@pytest.mark.parametrize("context", [None, {}, {"a": "2"}, {"a": "1", "b": "2"}, {"A": "1"}])
def test_another_context_is_refused(key, context):
    """Missing, wrong or longer: the same error as for a wrong ciphertext."""
    message = envelope.encrypt(b"x", key, context={"a": "1"})
    with pytest.raises(CiphertextInvalid):
        envelope.decrypt(message, key, context=context)


def test_reserved_context_keys_are_not_written(key):
    """The specification keeps them for itself."""
    with pytest.raises(InvalidRequest, match="reserved"):
        envelope.encrypt(b"x", key, context={"aws-crypto-public-key": "mine"})


def test_every_flipped_byte_is_found(key):
    """In the header, in frames, in tags: nothing of the message can be changed."""
    message = envelope.encrypt(b"p" * 40, key, context={"k": "v"})
    for place in range(len(message)):
        altered = bytearray(message)
        altered[place] ^= 0x01
        with pytest.raises(KmsError):
            envelope.decrypt(bytes(altered), key, context={"k": "v"})


def test_every_truncation_is_found(key):
    """A message that ends too early is never taken for whole."""
    message = envelope.encrypt(b"p" * 40, key)
    for size in range(1, len(message)):
        with pytest.raises(IntegrityError):
            envelope.decrypt(message[:size], key)


def test_what_follows_the_message_is_refused(key):
    """One byte, or another message."""
    message = envelope.encrypt(b"p", key)
    for extra in (b"\x00", message):
        with pytest.raises(IntegrityError, match="goes on"):
            envelope.decrypt(message + extra, key)


def _frames(key, frames=3):
    message = envelope.encrypt(bytes(FRAME_BYTES) * frames + b"end", key)
    width = FRAME_BYTES + FRAME_OVERHEAD
    start = len(message) - FINAL_OVERHEAD - 3 - frames * width
    pieces = [message[start + n * width :][:width] for n in range(frames)]
    return message[:start], pieces, message[start + frames * width :]


def test_frames_cannot_be_moved(key):
    """Swapped, dropped, repeated, taken from another message, or without the final one."""
    head, frames, end = _frames(key)
    _, foreign, foreign_end = _frames(key)
    forged = [
        [frames[1], frames[0], frames[2], end],
        [frames[0], frames[2], end],
        [frames[0], frames[0], frames[1], frames[2], end],
        [frames[0], foreign[1], frames[2], end],
        [*frames, foreign_end],
        [*frames],
        [*frames[:2], end],
        [end],
    ]
    for pieces in forged:
        with pytest.raises(IntegrityError):
            envelope.decrypt(head + b"".join(pieces), key)
    assert envelope.decrypt(head + b"".join([*frames, end]), key)


def test_only_authentic_frames_come_out_and_an_error_is_for_good(key):
    """What was given out before the error was right; after it nothing comes any more."""
    head, frames, end = _frames(key)
    altered = bytearray(frames[1])
    altered[100] ^= 1
    decryptor = EnvelopeDecryptor(key)
    assert decryptor.update(head + frames[0]) == bytes(FRAME_BYTES)
    for piece in (bytes(altered), frames[1], end):
        with pytest.raises(IntegrityError, match="frame 2 of the message was altered"):
            decryptor.update(piece)
    with pytest.raises(IntegrityError):
        decryptor.finalize()


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (b"\x01\x80\x00\x14", Unsupported),
        (b"\x02\x00\x14", Unsupported),
        (b"\x02\x01\x78", Unsupported),
        (b"\x03", IntegrityError),
        (b"PK\x03\x04", IntegrityError),
        (b"\x02\x04\x78" + bytes(32) + b"\xff\xff", IntegrityError),
        (b"\x02\x04\x78" + bytes(32) + b"\x00\x00\x00\x00", IntegrityError),
        (b"\x02\x04\x78" + bytes(32) + b"\x00\x00\xff\xff", IntegrityError),
        (b"\x02\x04\x78" + bytes(32) + b"\x00\x03\x00\x01\x00", IntegrityError),
    ],
)
def test_what_is_no_readable_message_is_refused(key, head, error):
    """Other versions and suites by name, nonsense and absurd lengths without allocating them."""
    with pytest.raises(error):
        envelope.decrypt(head + bytes(400), key)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_give_an_error_of_the_tree(key, data):
    """The reader of untrusted bytes raises nothing else."""
    for start in (b"", b"\x02\x04\x78" + bytes(32)):
        with pytest.raises(KmsError):
            envelope.decrypt(start + data, key)


def test_a_header_that_never_ends_is_given_up(key):
    """At 1 MiB, however it is sent."""
    decryptor = EnvelopeDecryptor(key)
    big = b"\xff\xff" + bytes(65535)
    head = b"\x02\x04\x78" + bytes(32) + b"\x00\x00\x00\x40" + big * 60
    with pytest.raises(IntegrityError, match="too long"):
        decryptor.update(head)


@pytest.mark.parametrize(("size", "told"), [(65480, None), (65481, "too long")])
def test_a_header_may_be_as_long_as_1_mib(key, size, told):
    """The last field that is waited for ends at its last byte."""
    head = b"\x02\x04\x78" + bytes(32) + b"\x00\x00\x00\x40"
    head += (b"\xff\xff" + bytes(65535)) * 15
    assert len(head) + 2 + 65480 == 1 << 20
    decryptor = EnvelopeDecryptor(key)
    if told is None:
        assert decryptor.update(head + size.to_bytes(2)) == b""
    else:
        with pytest.raises(IntegrityError, match=told):
            decryptor.update(head + size.to_bytes(2))


def _head(recipients=1, content=2, frame_bytes=4096):
    """A header as anybody could write it."""
    each = b"\x00\x01a\x00\x01b\x00\x01c"
    start = b"\x02\x04\x78" + bytes(32) + b"\x00\x00" + recipients.to_bytes(2)
    body = bytes([content]) + frame_bytes.to_bytes(4)
    return start + each * recipients + body + bytes(32 + 16)


@pytest.mark.parametrize(
    "fields", [{"recipients": 64}, {"content": 1, "frame_bytes": 0}, {"frame_bytes": 1 << 26}]
)
def test_the_last_header_that_is_read(fields):
    """64 recipients, no frames, or frames of 64 MiB."""
    shown = envelope.inspect(_head(**fields))
    assert len(shown["recipients"]) == fields.get("recipients", 1)
    assert shown["frame_bytes"] == fields.get("frame_bytes", 4096)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"recipients": 0}, "names 0 recipients"),
        ({"recipients": 65}, "names 65 recipients"),
        ({"content": 2, "frame_bytes": 0}, "contradicts itself"),
        ({"content": 1, "frame_bytes": 4096}, "contradicts itself"),
        ({"content": 3, "frame_bytes": 4096}, "contradicts itself"),
        ({"frame_bytes": (1 << 26) + 1}, "frames of 67108865 bytes"),
    ],
)
def test_headers_that_nobody_should_write_are_refused(fields, told):
    """Before any key is asked for."""
    with pytest.raises(KmsError, match=told):
        envelope.inspect(_head(**fields))


def test_a_field_of_a_header_has_at_most_65535_bytes():
    """A provider whose ciphertexts are longer cannot be a recipient."""

    def written(size):
        recipient = EncryptedDataKey("kmscore/cloud", b"id", b"c" * size)
        shared = shared_fields(EMPTY, [recipient])
        return write_header(AES_256_GCM, bytes(32), shared, 4096, bytes(32))

    shown = envelope.inspect(written(65535) + bytes(16))
    assert shown["recipients"][0]["key"] == "id"
    with pytest.raises(LimitExceeded, match="65536 bytes"):
        written(65536)


@pytest.mark.parametrize("point", [None, "", "A", "AAAA", "{point}\n", "{point}!"])
def test_a_signer_that_is_not_said_or_not_in_strict_base64_is_refused(key, point):
    """Whoever has the data key can write such a message, and it is a bad one all the same."""
    numbers = ec.generate_private_key(ec.SECP384R1()).public_key()
    encoded = numbers.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    good = {"aws-crypto-public-key": base64.b64encode(encoded).decode()}
    header = message_header(envelope.encrypt(b"x", key))
    header.context = EncryptionContext.of(good)
    Trailer(header)
    text = {} if point is None else {k: point.format(point=v) for k, v in good.items()}
    header.context = EncryptionContext.of(text)
    with pytest.raises(IntegrityError, match="who signed it"):
        Trailer(header)


def test_a_signer_without_a_signature_is_refused(key, monkeypatch):
    """As the specification asks: nobody shall take the message for a signed one."""
    with monkeypatch.context() as patch:
        patch.setattr("kmscore.envelope.header.RESERVED_PREFIX", "-")
        message = envelope.encrypt(b"x", key, context={"aws-crypto-public-key": "somebody"})
    with pytest.raises(IntegrityError, match="names a signer"):
        envelope.decrypt(message, key)


def test_frames_are_bounded():
    """No frame gets the number that marks the final one."""
    body = Body(AesGcm(bytes(32)), bytes(32), 1)
    out = memoryview(bytearray(body.sealed_bytes))
    assert body.seal(LAST_SEQUENCE - 1, memoryview(b"x"), out) == len(out)
    assert len(body.seal_final(LAST_SEQUENCE, b"")) == FINAL_OVERHEAD
    with pytest.raises(LimitExceeded):
        body.seal(LAST_SEQUENCE, memoryview(b"x"), out)
    with pytest.raises(LimitExceeded):
        body.seal_final(LAST_SEQUENCE + 1, b"")


def test_recipients_are_bounded(key):
    """None, one twice, too many."""
    with pytest.raises(InvalidRequest, match="at least one"):
        envelope.encrypt(b"x")
    with pytest.raises(InvalidRequest, match="twice"):
        envelope.encrypt(b"x", key, key)
    with pytest.raises(LimitExceeded):
        envelope.encrypt(b"x", *[key] * (MAX_RECIPIENTS + 1))


def test_64_recipients_are_the_most(cloud):
    """The last of them reads it as the first does."""
    keys = [cloud.create_key("AES_256") for _ in range(MAX_RECIPIENTS)]
    message = envelope.encrypt(b"for all", *keys)
    assert len(envelope.inspect(message)["recipients"]) == 64
    assert envelope.decrypt(message, keys[-1]) == b"for all"


@pytest.mark.parametrize("name", ["SM4_GCM", "sm4-gcm", "Sm4_Gcm"])
def test_suites_are_named_in_any_case_and_with_dashes(key, name):
    """By people who type."""
    assert envelope.inspect(envelope.encrypt(b"x", key, suite=name))["suite"] == "0x8478"


def test_an_unknown_suite_is_answered_with_the_known_ones(key):
    """AES_256_GCM and SM4_GCM."""
    with pytest.raises(InvalidRequest, match="SM4_GCM"):
        envelope.encrypt(b"x", key, suite="AES_128_ECB")


def test_a_finished_encryptor_takes_no_more(key):
    """A message has one end."""
    encryptor = EnvelopeEncryptor(key)
    encryptor.finalize()
    with pytest.raises(InvalidRequest, match="finished"):
        encryptor.update(b"x")


def test_rewrapping_changes_who_can_open_it(cloud, hsm, key, other):
    """Under a fresh data key and message id: who is dropped has nothing to go on."""
    message = envelope.encrypt(b"moving house", key, context={"a": "b"}, suite="SM4_GCM")
    moved = envelope.rewrap(message, [key], [other], context={"a": "b"})
    assert envelope.decrypt(moved, hsm, context={"a": "b"}) == b"moving house"
    with pytest.raises(KeyNotFound):
        envelope.decrypt(moved, key, context={"a": "b"})
    before, after = envelope.inspect(message), envelope.inspect(moved)
    assert before["message_id"] != after["message_id"]
    assert before["suite"] == after["suite"] == "0x8478"
    assert key.decrypt(_data_key(message), context={"a": "b"}) != other.decrypt(
        _data_key(moved), context={"a": "b"}
    )


@pytest.mark.parametrize("way", ["bytes", "stream", "file"])
def test_rewrapping_never_keeps_the_message_key(tmp_path, key, other, way):
    """Not even for the same recipients: two header tags under one key would give it away."""
    message = envelope.encrypt(b"moving house", key)
    for keys in ([key], [key, other]):
        if way == "bytes":
            moved = envelope.rewrap(message, [key], keys)
        elif way == "stream":
            out = io.BytesIO()
            envelope.rewrap_stream(io.BytesIO(message), out, [key], keys)
            moved = out.getvalue()
        else:
            (tmp_path / "message").write_bytes(message)
            envelope.rewrap_file(tmp_path / "message", None, [key], keys)
            moved = (tmp_path / "message").read_bytes()
        assert envelope.decrypt(moved, key) == b"moving house"
        for before, after in zip(_secrets(message, key), _secrets(moved, key), strict=True):
            assert before != after


def _secrets(message, key):
    """Data key, message key and commitment of a message, and its id."""
    header = message_header(message)
    data_key = key.decrypt(header.recipients[0].ciphertext)
    return [data_key, header.message_id, *header.suite.derive(data_key, header.message_id)]


def _data_key(message):
    return message_header(message).recipients[0].ciphertext


def test_inspection_needs_no_key(key):
    """All that is public, which is every field of the header."""
    message = envelope.encrypt(b"x", key, context={"file": "a"})
    shown = envelope.inspect(message)
    sealed = message_header(message).recipients[0].ciphertext
    assert shown == {
        "suite": "0x0478",
        "suite_name": "AES_256_GCM_HKDF_SHA512_COMMIT_KEY",
        "message_id": message[3:35].hex(),
        "commitment": message[shown["header_bytes"] - 48 :][:32].hex(),
        "header_bytes": len(message) - FINAL_OVERHEAD - 1,
        "context": {"file": "a"},
        "frame_bytes": FRAME_BYTES,
        "recipients": [{"provider": "kmscore/cloud", "key": key.key_id, "bytes": len(sealed)}],
    }
    with pytest.raises(IntegrityError, match="cut off"):
        envelope.inspect(message[:50])


@pytest.mark.parametrize("suite", ["AES_256_GCM", "SM4_GCM"])
@pytest.mark.parametrize("size", SIZES)
def test_messages_go_into_buffers_of_the_caller(key, size, suite):
    """Larger ones too; the rest of them stays as it was."""
    plaintext = bytes(range(256)) * (size // 256) + bytes(size % 256)
    out, back = bytearray(b"?" * (size + 2000)), bytearray(b"?" * (size + 10))
    written = envelope.encrypt_into(plaintext, out, key, suite=suite)
    assert envelope.decrypt(out[:written], key) == plaintext
    assert out[written:] == b"?" * (size + 2000 - written)
    assert envelope.decrypt_into(memoryview(out)[:written], back, key) == size
    assert bytes(back) == plaintext + b"?" * 10


def test_a_buffer_that_is_too_small_is_refused(key):
    """And the error says how large it must be."""
    message = envelope.encrypt(b"x" * 100, key)
    with pytest.raises(InvalidRequest, match="has 50 bytes") as caught:
        envelope.encrypt_into(b"x" * 100, bytearray(50), key)
    assert caught.value.hint == f"It takes {len(message)}"
    with pytest.raises(InvalidRequest) as caught:
        envelope.decrypt_into(message, bytearray(99), key)
    assert caught.value.hint == "It takes 100"
    with pytest.raises(InvalidRequest, match="cannot be written"):
        envelope.decrypt_into(message, bytes(200), key)


@pytest.mark.parametrize("size", [1, 300, 300_000])
def test_a_message_is_never_written_over_its_own_plaintext(key, size):
    """Nor the other way round; parts of one buffer that are apart are two buffers."""
    message = envelope.encrypt(b"y" * size, key)
    arena = bytearray(b"y" * size + bytes(2 * size + 2000))
    view = memoryview(arena)
    for plaintext in (view[:size], view[:size].toreadonly()):
        with pytest.raises(InvalidRequest, match="share memory"):
            envelope.encrypt_into(plaintext, view[size - 1 :], key)
    assert view[:size] == b"y" * size
    written = envelope.encrypt_into(view[:size], view[size:], key)
    assert envelope.decrypt(view[size : size + written], key) == b"y" * size
    arena[: len(message)] = message
    with pytest.raises(InvalidRequest, match="share memory"):
        envelope.decrypt_into(view[: len(message)], arena, key)
    assert view[: len(message)] == message


def test_a_buffer_holds_no_plaintext_after_an_error(key):
    """Not of the frame that was altered, nor of those before it."""
    head, frames, end = _frames(key)
    altered = bytearray(frames[2])
    altered[-1] ^= 1
    out = bytearray(b"?" * (4 * FRAME_BYTES))
    with pytest.raises(IntegrityError, match="frame 3"):
        envelope.decrypt_into(head + frames[0] + frames[1] + altered + end, out, key)
    assert not any(out[: 3 * FRAME_BYTES])


@pytest.mark.parametrize("data", ["text", 7, None, [1]])
def test_what_holds_no_bytes_is_refused(key, data):
    """Text is not encoded by guessing."""
    with pytest.raises(InvalidRequest, match=type(data).__name__):
        envelope.encrypt(data, key)
    with pytest.raises(InvalidRequest, match=type(data).__name__):
        envelope.decrypt(data, key)


def test_a_size_that_was_said_is_kept(key):
    """More or less plaintext is an error, and the message has no end."""
    encryptor = EnvelopeEncryptor(key, size=10)
    message = encryptor.update(b"12345") + encryptor.update(b"67890") + encryptor.finalize()
    assert envelope.decrypt(message, key) == b"1234567890"
    with pytest.raises(InvalidRequest, match="-1 bytes"):
        EnvelopeEncryptor(key, size=-1)
    numbers = memoryview(bytes(16)).cast("I")
    encryptor = EnvelopeEncryptor(key, size=16)
    message = encryptor.update(numbers) + encryptor.finalize()
    assert envelope.decrypt(message, key) == bytes(16)
    with pytest.raises(InvalidRequest, match="more"):
        EnvelopeEncryptor(key, size=4).update(numbers)
    for pieces, word in ((b"12345678901", "more"), (b"123456789", "less")):
        encryptor = EnvelopeEncryptor(key, size=10)
        with pytest.raises(InvalidRequest, match=word):
            encryptor.update(pieces) + encryptor.finalize()
        with pytest.raises(InvalidRequest, match="finished"):
            encryptor.finalize()


def test_the_data_key_is_overwritten(key, monkeypatch):
    """As soon as the message key is derived from it, on the way in and out."""
    from kmscore.envelope import suites

    seen = []
    real = suites.Suite.derive

    def derive(self, data_key, message_id):
        seen.append(data_key)
        assert any(data_key)
        return real(self, data_key, message_id)

    monkeypatch.setattr(suites.Suite, "derive", derive)
    message = envelope.encrypt(b"x", key)
    envelope.decrypt(message, key)
    assert [bytes(data_key) for data_key in seen] == [bytes(32)] * 2


def test_inspection_and_errors_show_no_secret(key):
    """Nothing of a data key is in what is shown of its holder."""
    cache = envelope.DataKeyCache()
    envelope.encrypt(b"x", key, cache=cache)
    (entry,) = cache._entries.values()
    assert any(entry.materials.data_key)
    assert repr(entry.materials) == "<Materials>"


@given(st.binary(max_size=128), st.binary(max_size=300), st.binary(max_size=80))
def test_keys_are_derived_with_hmac_as_python_knows_it(salt, secret, info):
    """Our few lines of RFC 2104, for every salt of at most a block."""
    extracted = hmac.digest(salt, secret, "sha512")
    expected = hmac.digest(extracted, info, "sha512"), hmac.digest(extracted, b"2", "sha512")
    assert AES_256_GCM.hkdf(salt, secret, info, b"2") == expected
    assert AES_256_GCM.hkdf(salt, bytearray(secret), info, b"2") == expected


@pytest.mark.parametrize("suite", ["AES_256_GCM", "SM4_GCM"])
def test_a_wrong_tag_leaves_zeros(suite):
    """The library below writes the plaintext before it looks at the tag."""
    from kmscore.envelope.suites import suite_named

    chosen = suite_named(suite)
    cipher = chosen.cipher(bytes(chosen.key_bytes))
    sealed = bytearray(cipher.seal(bytes(12), b"plaintext", b""))
    sealed[-1] ^= 1
    out = bytearray(b"?" * 9)
    with pytest.raises(IntegrityError):
        cipher.open_into(bytes(12), bytes(sealed), b"", memoryview(out))
    assert bytes(out) == bytes(9)
    with pytest.raises(IntegrityError):
        cipher.open(bytes(12), bytes(sealed), b"")


def test_a_message_is_bound_to_one_data_key(key):
    """Who has the data key can write any header; one that does not commit to the key is refused."""
    cache = envelope.DataKeyCache()
    message = envelope.encrypt(b"x", key, cache=cache)
    (entry,) = cache._entries.values()
    header = message_header(message)
    message_key, commitment = header.suite.derive(entry.materials.data_key, header.message_id)
    raw = header.raw.replace(commitment, bytes(32))
    tag = header.suite.cipher(message_key).seal(bytes(12), b"", raw)
    with pytest.raises(IntegrityError, match="another data key"):
        envelope.decrypt(raw + tag + message[header.size :], key)


def test_a_final_frame_of_4_gib_is_not_waited_for(key):
    """Its length is looked at before its content is."""
    head, _, end = _frames(key, frames=0)
    long = head + end[:20] + b"\xff\xff\xff\xff" + end[24:]
    with pytest.raises(IntegrityError, match="longer than the others"):
        EnvelopeDecryptor(key).update(long)
    with pytest.raises(IntegrityError, match="longer than the others"):
        envelope.decrypt_stream(io.BytesIO(long), io.BytesIO(), key)
    for content in (long, head + end[:22]):
        with pytest.raises(IntegrityError):
            envelope.decrypt(content, key)


def test_a_recipient_that_fails_fails_the_message(key, other, monkeypatch):
    """Nobody is left out in silence, and the data key is overwritten."""
    spare = other
    made = []
    real = type(key).generate_data_key

    def remember(this, *arguments, **named):
        made.append(real(this, *arguments, **named))
        return made[-1]

    def fail(this, *arguments, **named):
        raise KeyStateError("not now", state="DISABLED")

    monkeypatch.setattr(type(key), "generate_data_key", remember)
    monkeypatch.setattr(type(key), "encrypt", fail)
    with pytest.raises(KeyStateError):
        envelope.encrypt(b"x", key, spare)
    assert not any(made[0].plaintext)


def test_a_data_key_of_another_length_is_no_data_key(key):
    """Whatever a recipient's ciphertext holds, 32 bytes are what the suites take."""
    message = envelope.encrypt(b"x", key)
    sealed = message_header(message).recipients[0].ciphertext
    short = key.encrypt(b"s" * 16)
    shorter = (len(sealed).to_bytes(2) + sealed, len(short).to_bytes(2) + short)
    with pytest.raises(CiphertextInvalid):
        envelope.decrypt(message.replace(*shorter), key)


def test_a_key_id_that_is_no_text_is_refused(cloud, key):
    """By whoever would look for it."""
    message = envelope.encrypt(b"x", key).replace(key.key_id.encode(), b"\xff" * len(key.key_id))
    with pytest.raises(CiphertextInvalid):
        envelope.decrypt(message, cloud)
