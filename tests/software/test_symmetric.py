"""Encryption under a key of the keystore: what opens, what does not, and under which key."""

import os
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kmscore.ciphertext import parse
from kmscore.errors import CiphertextInvalid, KeyNotFound, KeyStateError

SPECS = pytest.mark.parametrize(("spec", "size"), [("AES_128", 16), ("AES_256", 32), ("SM4", 16)])
DAY = 86400
CONTEXTS = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=4)


@pytest.fixture
def key_of(kms):
    """A key of that spec, the same one each time."""
    keys = {spec: kms.create_key(spec) for spec in ("AES_128", "AES_256", "SM4")}
    return keys.__getitem__


def by_hand(spec, material, ciphertext, context=b""):
    """Opens a ciphertext by the words of docs/ciphertext-format.md, without kmscore."""
    end = 7 + ciphertext[6] + 4
    head, nonce, sealed = ciphertext[:end], ciphertext[end : end + 12], ciphertext[end + 12 :]
    associated = head + len(context).to_bytes(4, "big") + context
    if spec != "SM4":
        return AESGCM(material).decrypt(nonce, sealed, associated)
    gcm = Cipher(algorithms.SM4(material), modes.GCM(nonce, sealed[-16:])).decryptor()
    gcm.authenticate_additional_data(associated)
    return gcm.update(sealed[:-16]) + gcm.finalize()


@SPECS
def test_what_is_encrypted_is_decrypted_in_its_context_alone(kms, spec, size):
    """From 1 to 4096 bytes, by the key and by the name in the ciphertext."""
    key = kms.create_key(spec)
    for plaintext in (b"x", b"card number", os.urandom(4096)):
        sealed = key.encrypt(plaintext, context={"table": "orders"})
        assert len(sealed) == len(plaintext) + 75
        assert key.decrypt(sealed, context={"table": "orders"}) == plaintext
        assert kms.decrypt(sealed, context={"table": "orders"}) == plaintext
        for context in (None, {"table": "order"}, {"table": "orders", "row": "1"}):
            with pytest.raises(CiphertextInvalid):
                key.decrypt(sealed, context=context)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    plaintext=st.binary(min_size=1, max_size=4096),
    context=CONTEXTS,
    other=CONTEXTS,
    spec=st.sampled_from(["AES_128", "AES_256", "SM4"]),
)
def test_any_plaintext_in_any_context(key_of, plaintext, context, other, spec):
    """Opens in that context, whatever the order of its pairs, and in no other."""
    assume(other != context)
    key = key_of(spec)
    sealed = key.encrypt(plaintext, context=context)
    assert key.decrypt(sealed, context=dict(reversed(context.items()))) == plaintext
    with pytest.raises(CiphertextInvalid):
        key.decrypt(sealed, context=other)


@SPECS
def test_a_ciphertext_is_made_without_kmscore(kms, owner, spec, size):
    """By the words of the format's page; it opens under a key with that material."""
    material, nonce = os.urandom(size), os.urandom(12)
    key = owner.key(kms, spec, material)
    suite = {"AES_128": 1, "AES_256": 2, "SM4": 3}[spec]
    context = '{"a":"ü","b":"2"}'.encode()
    for name in (key.key_id.encode(), b"another name"):
        head = b"KMSC\x01" + bytes([suite, len(name)]) + name + b"\0\0\0\x01"
        associated = head + len(context).to_bytes(4, "big") + context
        if spec == "SM4":
            gcm = Cipher(algorithms.SM4(material), modes.GCM(nonce)).encryptor()
            gcm.authenticate_additional_data(associated)
            body = gcm.update(b"card number") + gcm.finalize() + gcm.tag
        else:
            body = AESGCM(material).encrypt(nonce, b"card number", associated)
        sealed = head + nonce + body
        assert key.decrypt(sealed, context={"b": "2", "a": "ü"}) == b"card number"
    with pytest.raises(CiphertextInvalid):
        kms.decrypt(sealed, context={"b": "2", "a": "ü"})


def test_the_example_of_the_page(kms, owner):
    """The key whose material the page gives opens the ciphertext that the page shows."""
    page = (Path(__file__).parents[2] / "docs/ciphertext-format.md").read_text()
    [code] = re.findall(r"bytes\.fromhex\(([^)]+)\)", page)
    example = bytes.fromhex("".join(re.findall(r'"([0-9a-f]+)"', code)))
    key = owner.key(kms, "AES_256", bytes(range(32)))
    assert key.decrypt(example, context={"table": "orders"}) == b"card number"
    with pytest.raises(CiphertextInvalid):
        key.decrypt(example)


@SPECS
def test_a_ciphertext_opens_without_kmscore(kms, owner, spec, size):
    """By the words of the format's page, with the material that its owner knows."""
    material = os.urandom(size)
    key = owner.key(kms, spec, material)
    sealed = key.encrypt(b"card number", context={"b": "2", "a": "ü"})
    context = '{"a":"ü","b":"2"}'.encode()
    assert by_hand(spec, material, sealed, context) == b"card number"
    assert by_hand(spec, material, key.encrypt(b"x")) == b"x"


@SPECS
def test_every_byte_of_a_ciphertext_counts(kms, spec, size):
    """Whichever is changed, and wherever it is cut: the same answer."""
    key = kms.create_key(spec)
    sealed = key.encrypt(b"secret")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        for use in (key.decrypt, kms.decrypt):
            with pytest.raises(CiphertextInvalid) as failed:
                use(bytes(changed))
            assert failed.value.message == CiphertextInvalid().message
            assert not failed.value.hint
    for length in range(1, len(sealed)):
        for use in (key.decrypt, kms.decrypt):
            with pytest.raises(CiphertextInvalid) as failed:
                use(sealed[:length])
            assert failed.value.message == CiphertextInvalid().message


def test_no_two_ciphertexts_are_alike(kms):
    """Equal plaintexts cannot be recognised: every nonce is new."""
    key = kms.create_key("AES_256")
    assert len({parse(key.encrypt(b"x")).nonce for _ in range(1000)}) == 1000


def test_keys_do_not_open_each_others_ciphertexts(kms):
    """Neither of the same spec nor of another, nor a key pair."""
    sealed = kms.create_key("AES_256").encrypt(b"x")
    for spec in ("AES_256", "AES_128", "SM4"):
        with pytest.raises(CiphertextInvalid):
            kms.create_key(spec).decrypt(sealed)
    pair = kms.create_key("EC_P256")
    renamed = sealed[:7] + pair.key_id.encode() + sealed[43:]
    with pytest.raises(CiphertextInvalid):
        kms.decrypt(renamed)


def test_a_key_that_is_not_there(kms):
    """Named by a ciphertext, that is a bad ciphertext; named by the caller, it is not found."""
    sealed = kms.create_key("AES_256").encrypt(b"x")
    gone = "00000000-0000-4000-8000-000000000000"
    for name in (gone.encode(), b"../../../../../../../../etc/passwd\0 "):
        with pytest.raises(CiphertextInvalid):
            kms.decrypt(sealed[:7] + name.ljust(36) + sealed[43:])
    with pytest.raises(KeyNotFound):
        kms.key(gone)


def test_a_disabled_key_says_so(kms):
    """Also when only the ciphertext names it: to enable it is what helps."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"x")
    key.disable()
    for use in (key.decrypt, kms.decrypt, key.encrypt):
        with pytest.raises(KeyStateError, match="DISABLED"):
            use(sealed)
    key.enable()
    assert kms.decrypt(sealed) == b"x"


def test_a_version_that_is_not_there_yet(kms):
    """A ciphertext that names it was not made here."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"x")
    for version in (2, 2**31, 2**32 - 1):
        with pytest.raises(CiphertextInvalid):
            key.decrypt(sealed[:43] + version.to_bytes(4, "big") + sealed[47:])


@SPECS
def test_rotation_keeps_what_was_encrypted_before(kms, spec, size):
    """Each version opens its own, after any number of rotations, in this process and the next."""
    key = kms.create_key(spec)
    sealed = [key.encrypt(b"1")]
    for number in (b"2", b"3"):
        key.rotate()
        sealed.append(key.encrypt(number))
    assert [parse(each).key_version for each in sealed] == [1, 2, 3]
    assert [key.decrypt(each) for each in sealed] == [b"1", b"2", b"3"]
    exchanged = sealed[0][:43] + (2).to_bytes(4, "big") + sealed[0][47:]
    with pytest.raises(CiphertextInvalid):
        key.decrypt(exchanged)


def test_versions_have_material_of_their_own(kms, connect):
    """After a rotation and a restart nothing of the old key is in the new one."""
    key = kms.create_key("AES_256")
    old = key.encrypt(b"x")
    key.rotate()
    again = connect().key(key.key_id)
    assert again.decrypt(old) == b"x"
    assert again.decrypt(again.encrypt(b"y")) == b"y"
    assert parse(again.encrypt(b"y")).key_version == 2


def test_a_key_rotates_by_itself_when_it_encrypts(kms, connect, clock):
    """The first encryption after the period is under a new version; decryption rotates nothing."""
    key = kms.create_key("AES_256")
    key.set_rotation(7)
    sealed = key.encrypt(b"x")
    clock.now += 7 * DAY - 1
    assert parse(key.encrypt(b"x")).key_version == 1
    clock.now += 1
    assert key.decrypt(sealed) == b"x"
    assert key.describe().version == 1
    other = connect().key(key.key_id)
    assert parse(key.encrypt(b"x")).key_version == 2
    assert parse(other.encrypt(b"x")).key_version == 2
    clock.now += 7 * DAY
    with other.generate_data_key() as data_key:
        assert parse(data_key.ciphertext).key_version == 3
    assert key.decrypt(sealed) == b"x"


def test_two_processes_find_a_rotation_due_at_once(kms, connect, clock, monkeypatch):
    """One of them makes the new version, and the other uses it."""
    key = kms.create_key("AES_256")
    other = connect().key(key.key_id)
    key.set_rotation(7)
    clock.now += 7 * DAY
    registry = kms.provider.registry
    really = registry.rotation_due
    overtaken: list[bytes] = []

    def slowly(record):
        due = really(record)
        if not overtaken:
            overtaken.append(other.encrypt(b"x"))
        return due

    monkeypatch.setattr(registry, "rotation_due", slowly)
    assert parse(key.encrypt(b"x")).key_version == 2
    assert parse(overtaken[0]).key_version == 2


@pytest.mark.parametrize("length", [1, 16, 32, 1024])
def test_a_data_key(kms, length):
    """In clear in a buffer that is wiped, and encrypted under the key in its context."""
    key = kms.create_key("SM4")
    with key.generate_data_key(length=length, context={"file": "1"}) as data_key:
        plaintext = bytes(data_key.plaintext)
        assert len(plaintext) == length
        assert key.decrypt(data_key.ciphertext, context={"file": "1"}) == plaintext
        held = data_key.plaintext
    assert held == bytes(length)
    with pytest.raises(CiphertextInvalid):
        key.decrypt(data_key.ciphertext)


def test_random_numbers_of_the_operating_system(kms):
    """As many bytes as asked for, and others each time."""
    assert {len(kms.generate_random(length)) for length in (1, 1024)} == {1, 1024}
    assert kms.generate_random(32) != kms.generate_random(32)


def test_one_material_under_two_names(kms, owner, tmp_path, connect):
    """The key that is given opens what the other encrypted; the name in it is still checked."""
    material = os.urandom(32)
    one, two = (owner.key(kms, "AES_256", material) for _ in range(2))
    sealed = one.encrypt(b"x", context={"a": "1"})
    assert two.decrypt(sealed, context={"a": "1"}) == b"x"
    renamed = sealed[:7] + two.key_id.encode() + sealed[43:]
    for use in (kms.decrypt, two.decrypt, one.decrypt):
        with pytest.raises(CiphertextInvalid):
            use(renamed, context={"a": "1"})
    one.delete_material()
    assert two.decrypt(sealed, context={"a": "1"}) == b"x"
    with pytest.raises(KeyStateError):
        kms.decrypt(sealed, context={"a": "1"})


def test_one_material_in_two_keystores(kms, owner, tmp_path):
    """What one encrypts opens in the other, once the key is named there."""
    import kmscore

    table = {
        "type": "software",
        "path": str(tmp_path / "other.db"),
        "root_key": lambda: b"o" * 32,
    }
    material = os.urandom(16)
    sealed = owner.key(kms, "SM4", material).encrypt(b"x")
    with kmscore.connect(config={"providers": {"other": table}}) as other:
        key = owner.key(other, "SM4", material)
        assert key.decrypt(sealed) == b"x"
        with pytest.raises(CiphertextInvalid):
            other.decrypt(sealed)


def test_an_archived_key_decrypts_only(kms):
    """And encrypts again when it is restored."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"x")
    key.archive()
    assert kms.decrypt(sealed) == b"x"
    with pytest.raises(KeyStateError):
        key.encrypt(b"x")
    assert key.decrypt(sealed) == b"x"
    key.restore()
    assert key.decrypt(key.encrypt(b"y")) == b"y"


def test_a_key_that_was_destroyed(kms, clock):
    """After the waiting time nothing opens, and a ciphertext is a bad one."""
    key = kms.create_key("AES_256")
    sealed = key.encrypt(b"x")
    key.disable()
    key.schedule_deletion(7)
    with pytest.raises(KeyStateError):
        kms.decrypt(sealed)
    clock.now += 7 * DAY
    with pytest.raises(CiphertextInvalid):
        kms.decrypt(sealed)
    with pytest.raises(KeyNotFound):
        key.decrypt(sealed)
