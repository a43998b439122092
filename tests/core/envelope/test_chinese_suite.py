"""The suite of Chinese algorithms, read by hand with gmssl, which shares no code with us."""

import hmac
from typing import Any

import pytest
from gmssl.sm3 import sm3_hash
from gmssl.sm4 import SM4_ENCRYPT, CryptSM4

from kmscore import envelope
from kmscore.envelope import DataKeyCache
from kmscore.envelope.suites import SM4_GCM

POLYNOMIAL = 0xE1 << 120


class SM3:
    """gmssl's SM3 as hashlib would have it, for Python's own HMAC."""

    digest_size, block_size, name = 32, 64, "sm3"

    def __init__(self, data=b""):
        self._data = bytes(data)

    def update(self, data):
        self._data += bytes(data)

    def copy(self):
        return SM3(self._data)

    def digest(self):
        return bytes.fromhex(sm3_hash(list(self._data)))


def hkdf(key, salt, info, size):
    """RFC 5869 over SM3, for at most 32 bytes."""
    new: Any = SM3
    extracted = hmac.new(salt, key, new).digest()
    return hmac.new(extracted, info + b"\x01", new).digest()[:size]


def times(x, y):
    """Multiplication in GCM's field (NIST SP 800-38D, 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (POLYNOMIAL if y & 1 else 0)
    return product


def gcm_open(key, iv, sealed, aad):
    """GCM over gmssl's SM4 (RFC 8998)."""
    cipher = CryptSM4()
    cipher.set_key(key, SM4_ENCRYPT)

    def block(data):
        return bytes(cipher.one_round(cipher.sk, list(data)))

    content, tag = sealed[:-16], sealed[-16:]
    h = int.from_bytes(block(bytes(16)))
    state = 0
    lengths = (len(aad) * 8).to_bytes(8) + (len(content) * 8).to_bytes(8)
    for part in (aad, content, lengths):
        for place in range(0, len(part), 16):
            state = times(state ^ int.from_bytes(part[place : place + 16].ljust(16, b"\0")), h)
    mask = int.from_bytes(block(iv + (1).to_bytes(4)))
    assert (state ^ mask).to_bytes(16) == tag
    stream = b"".join(
        block(iv + (number + 2).to_bytes(4)) for number in range(-(-len(content) // 16))
    )
    return bytes(a ^ b for a, b in zip(content, stream, strict=False))


@pytest.mark.parametrize("plaintext", [b"", b"x", bytes(range(100))])
def test_gmssl_reads_a_message_byte_by_byte(key, plaintext):
    """Keys, commitment, header tag and final frame are what the page says."""
    cache = DataKeyCache()
    message = envelope.encrypt(plaintext, key, context={"a": "1"}, suite="SM4_GCM", cache=cache)
    (entry,) = cache._entries.values()
    data_key = bytes(entry.materials.data_key)
    message_id = message[3:35]
    sm4_key = hkdf(data_key, message_id, b"\x84\x78DERIVEKEY", 16)
    commitment = hkdf(data_key, message_id, b"COMMITKEY", 32)
    place = message.index(commitment)
    header, tag = message[: place + 32], message[place + 32 : place + 48]
    assert gcm_open(sm4_key, bytes(12), tag, header) == b""
    frame = message[place + 48 :]
    size = len(plaintext).to_bytes(4)
    assert frame[:24] == b"\xff" * 4 + b"\0\0\0\1" + bytes(11) + b"\1" + size
    aad = message_id + b"AWSKMSEncryptionClient Final Frame" + b"\0\0\0\1" + bytes(4) + size
    assert gcm_open(sm4_key, frame[8:20], frame[24:], aad) == plaintext


def test_a_data_key_never_serves_two_suites(key):
    """The suite id goes into the message key, so that no key is used with two ciphers."""
    data_key, message_id = bytes(range(32)), bytes(32)
    from kmscore.envelope.suites import AES_256_GCM

    mine, _ = SM4_GCM.derive(data_key, message_id)
    others, _ = AES_256_GCM.derive(data_key, message_id)
    assert len(mine) == 16
    assert mine != others[:16]
