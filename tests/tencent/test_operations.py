"""Every operation against the local server, witnessed by OpenSSL and by `cryptography`."""

import os
import secrets
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

import kmscore
from kmscore import Digest, DigestAlgorithm, KeyState, Message, Origin
from kmscore.errors import (
    AlreadyExists,
    AuthenticationFailed,
    CiphertextInvalid,
    ConfigError,
    ImportMaterialInvalid,
    ImportTokenExpired,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
    KmsError,
    LimitExceeded,
    MaterialMismatch,
)

SHA_1 = hashes.SHA1()  # noqa: S303 - sound in OAEP
PADDINGS = {
    "RSAES_OAEP_SHA_256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSAES_OAEP_SHA_1": padding.OAEP(padding.MGF1(SHA_1), SHA_1, None),
    "RSAES_PKCS1_V1_5": padding.PKCS1v15(),
}


def opened(table):
    """A provider without retries on a server."""
    return kmscore.connect(config={"providers": {"cloud": table}, "retry": {"max_attempts": 1}})


@pytest.fixture(scope="module")
def tables(serve):
    """A server of each edition, where keys may rotate at any time."""
    options = ("--rotation-interval", "0", "--region", "ap-guangzhou")
    return {
        "FIPS": serve(*options),
        "SM": serve(*options, "--edition", "SM") | {"edition": "SM"},
    }


@pytest.fixture(scope="module", params=["FIPS", "SM"])
def edition(request):
    """Of the region."""
    return request.param


@pytest.fixture
def kms(tables, edition):
    """The provider on a server of either edition."""
    with opened(tables[edition]) as kms:
        yield kms


@pytest.fixture
def fips(tables):
    """The provider on a server of the FIPS edition."""
    with opened(tables["FIPS"]) as kms:
        yield kms


@pytest.fixture
def spec(edition):
    """What symmetric keys are."""
    return "SM4" if edition == "SM" else "AES_256"


def name():
    """An alias that nobody has."""
    return f"t-{secrets.token_hex(6)}"


# --- Keys -------------------------------------------------------------------------------------


def test_every_kind_of_key_of_the_table_is_made_as_it_is_described(kms):
    """What creating a key tells is what asking for it tells."""
    for kind in kms.capabilities.keys:
        for origin in kind.origins:
            alias = name()
            made = kms.provider.create_key(
                kmscore.spi.NewKey(kind.spec, kind.usage, origin, alias, "d")
            )
            described = kms.provider.describe_key(made.key_id)
            assert described._replace(native={}) == made
            assert kms.provider.describe_key(alias) == described


def test_a_key_is_listed_once_among_hundreds(fips):
    """Over several pages, the oldest first."""
    made = [fips.create_key("AES_256", alias=name()).key_id for _ in range(205)]
    listed = [info.key_id for info in list(fips.keys())]
    assert [key_id for key_id in listed if key_id in set(made)] == made
    assert len(listed) == len(set(listed))


def test_names_are_unique_and_can_change(fips):
    """A key keeps its own name; that of another is taken."""
    first, second = fips.create_key("AES_256", alias=name()), fips.create_key("AES_256")
    taken = first.describe().alias
    with pytest.raises(AlreadyExists):
        fips.create_key("AES_256", alias=taken)
    with pytest.raises(AlreadyExists):
        second.set_alias(taken)
    first.set_alias(taken)
    other = name()
    second.set_alias(other)
    second.set_description("for orders")
    assert fips.key(other).describe().description == "for orders"


@pytest.mark.parametrize("ref", ["none", "no such key", "11111111-2222-4333-8444-555555555555"])
def test_what_is_not_there_is_not_found(fips, ref):
    """By id, by alias, by what could be neither."""
    with pytest.raises(KeyNotFound):
        fips.key(ref)


@pytest.mark.parametrize("alias", ["-x", "a b", "x" * 61, "kms-mine"])
def test_a_name_that_the_service_does_not_allow_is_refused(fips, alias):
    """And no key is made."""
    before = len(list(fips.keys()))
    with pytest.raises(InvalidRequest):
        fips.create_key("AES_256", alias=alias)
    assert len(list(fips.keys())) == before


def test_a_key_goes_through_its_life(fips):
    """Disabled, pending deletion, back, archived, restored."""
    key = fips.create_key("AES_256")
    blob = key.encrypt(b"p")
    key.enable()
    key.disable()
    key.disable()
    for use in (lambda: key.encrypt(b"p"), lambda: key.decrypt(blob)):
        with pytest.raises(KeyStateError) as failure:
            use()
        assert failure.value.state == KeyState.DISABLED
    when = key.schedule_deletion(7)
    info = key.describe()
    assert (info.state, info.deletion_at) == (KeyState.PENDING_DELETION, when)
    assert timedelta(days=6.9) < when - datetime.now(UTC) < timedelta(days=8.1)
    for use in (key.enable, lambda: key.encrypt(b"p"), lambda: key.decrypt(blob)):
        with pytest.raises(KeyStateError) as failure:
            use()
        assert failure.value.state == KeyState.PENDING_DELETION
    key.cancel_deletion()
    assert key.describe().state is KeyState.DISABLED
    with pytest.raises(KeyStateError):
        key.cancel_deletion()
    key.enable()
    with pytest.raises(KeyStateError) as failure:
        key.schedule_deletion(7)
    assert failure.value.state == KeyState.ENABLED
    key.archive()
    assert key.decrypt(blob) == b"p"
    with pytest.raises(KeyStateError) as failure:
        key.encrypt(b"p")
    assert failure.value.state == KeyState.ARCHIVED
    key.restore()
    assert key.decrypt(key.encrypt(b"q")) == b"q"


def test_rotation_keeps_what_was_encrypted_before(kms, spec):
    """By hand, and by a period."""
    key = kms.create_key(spec)
    blob = key.encrypt(b"before")
    key.rotate()
    assert key.decrypt(blob) == b"before"
    assert key.decrypt(key.encrypt(b"after")) == b"after"
    assert key.describe().rotated_at is not None
    key.set_rotation(30)
    info = key.describe()
    assert info.rotation_days == 30
    assert info.next_rotation_at is not None
    key.set_rotation(None)
    assert key.describe().rotation_days is None
    assert key.describe().next_rotation_at is None


# --- Symmetric --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 16, 4096])
def test_small_secrets_are_encrypted(kms, spec, size):
    """With a context or without; the ciphertext is text, and each is another."""
    key = kms.create_key(spec)
    text = secrets.token_bytes(size)
    first, second = key.encrypt(text), key.encrypt(text, context={"a": "1", "b": "ü"})
    assert first != key.encrypt(text)
    assert first.isascii()
    assert key.decrypt(first) == kms.decrypt(first) == text
    assert kms.decrypt(second, context={"b": "ü", "a": "1"}) == text


@pytest.mark.parametrize("context", [None, {"a": "2"}, {"a": "1", "b": "2"}])
def test_another_context_opens_nothing(kms, spec, context):
    """With the same error as for a wrong ciphertext."""
    blob = kms.create_key(spec).encrypt(b"p", context={"a": "1"})
    with pytest.raises(CiphertextInvalid) as failure:
        kms.decrypt(blob, context=context)
    assert failure.value.message == CiphertextInvalid().message


def test_a_changed_ciphertext_opens_nothing(kms, spec):
    """Cut, flipped, lengthened, or something else altogether."""
    blob = kms.create_key(spec).encrypt(b"p")
    changed = [blob[:-1], blob + b"A", blob[4:], b"x", b"-k-", b"{}", b"\x00", b" "]
    changed += [blob[:n] + bytes([blob[n] ^ 1]) + blob[n + 1 :] for n in range(0, len(blob), 9)]
    for wrong in changed:
        with pytest.raises(CiphertextInvalid):
            kms.decrypt(wrong)


def test_a_ciphertext_of_another_key_is_refused(kms, spec):
    """Though the service could open it."""
    blob = kms.create_key(spec).encrypt(b"p")
    with pytest.raises(CiphertextInvalid):
        kms.create_key(spec).decrypt(blob)


@pytest.mark.parametrize("length", [1, 16, 32, 1024])
def test_data_keys_of_any_length(kms, spec, length):
    """In clear, and encrypted under the key."""
    key = kms.create_key(spec)
    with key.generate_data_key(length=length, context={"a": "1"}) as data_key:
        assert len(data_key.plaintext) == length
        assert kms.decrypt(data_key.ciphertext, context={"a": "1"}) == data_key.plaintext


def test_a_ciphertext_moves_to_another_key_context_and_version(kms, spec):
    """Each alone, and nothing at all."""
    old, new = kms.create_key(spec), kms.create_key(spec)
    blob = old.encrypt(b"p", context={"a": "1"})
    moved = kms.re_encrypt(blob, new, source_context={"a": "1"}, context={"a": "1"})
    assert new.decrypt(moved, context={"a": "1"}) == b"p"
    moved = kms.re_encrypt(blob, old, source_context={"a": "1"}, context={"a": "2"})
    assert old.decrypt(moved, context={"a": "2"}) == b"p"
    same = kms.re_encrypt(blob, old, source_context={"a": "1"}, context={"a": "1"})
    assert old.decrypt(same, context={"a": "1"}) == b"p"
    old.rotate()
    moved = kms.re_encrypt(blob, old, source_context={"a": "1"}, context={"a": "1"})
    assert moved != blob
    assert old.decrypt(moved, context={"a": "1"}) == b"p"
    with pytest.raises(CiphertextInvalid):
        kms.re_encrypt(b"x", old)
    with pytest.raises(CiphertextInvalid):
        kms.re_encrypt(blob, new)


@pytest.mark.parametrize("length", [1, 1024])
def test_random_bytes(fips, length):
    """From the service."""
    assert len(fips.generate_random(length)) == length
    with pytest.raises(LimitExceeded):
        fips.generate_random(1025)


# --- Key pairs --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", PADDINGS)
def test_rsa_decryption(fips, scheme):
    """Of what `cryptography` encrypted for the public key; anything else is one error."""
    key = fips.create_key("RSA_2048", usage="ASYMMETRIC_DECRYPT")
    public = load_der_public_key(key.public_key().der)
    assert isinstance(public, rsa.RSAPublicKey)
    ciphertext = public.encrypt(b"p", PADDINGS[scheme])
    assert key.decrypt(ciphertext, algorithm=scheme) == b"p"
    for wrong in (b"x", bytes(255), bytes(256), bytes(257), b"\xff" * 256):
        # PKCS#1 v1.5 may open garbage as garbage, so that padding is no oracle.
        with suppress(CiphertextInvalid):
            assert key.decrypt(wrong, algorithm=scheme) != b"p"


def openssl(*arguments, data=b""):
    """What the command prints, and whether it succeeded."""
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False)
    return done.stdout, done.returncode == 0


@pytest.mark.parametrize("size", [1, 32, 140])
def test_sm2_decryption(fips, tmp_path, size):
    """Of what the openssl command encrypted for the public key."""
    key = fips.create_key("SM2", usage="ASYMMETRIC_DECRYPT")
    file = tmp_path / "public.pem"
    file.write_text(key.public_key().pem())
    text = secrets.token_bytes(size)
    arguments = ("pkeyutl", "-encrypt", "-pubin", "-inkey", str(file))
    ciphertext, encrypted = openssl(*arguments, data=text)
    assert encrypted
    assert key.decrypt(ciphertext) == text
    for wrong in (b"x", ciphertext[:-1], ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])):
        with pytest.raises(CiphertextInvalid):
            key.decrypt(wrong)


MESSAGES = [b"", b"m", bytes(4096), bytes(4097), secrets.token_bytes(100_000)]


@pytest.mark.parametrize("message", MESSAGES, ids=len)
@pytest.mark.parametrize("spec", ["RSA_2048", "RSA_3072"])
@pytest.mark.parametrize("scheme", ["RSA_PSS_SHA_256", "RSA_PKCS1_SHA_256"])
def test_rsa_signatures(pairs, spec, scheme, message):
    """Checked by `cryptography`, with a salt of 32 bytes, and by the service."""
    key, public = pairs(spec)
    signature = key.sign(Message(message), algorithm=scheme)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    used = pss if scheme == "RSA_PSS_SHA_256" else padding.PKCS1v15()
    public.verify(signature, message, used, hashes.SHA256())
    check_both_ways(key, scheme, message, signature)


@pytest.mark.parametrize("message", MESSAGES, ids=len)
def test_ecdsa_signatures(pairs, message):
    """The same for P-256."""
    key, public = pairs("EC_P256")
    signature = key.sign(Message(message))
    public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    check_both_ways(key, "ECDSA_SHA_256", message, signature)


@pytest.mark.parametrize("message", MESSAGES, ids=len)
def test_sm2_signatures(pairs, tmp_path, message):
    """Checked by the openssl command, with the usual user id."""
    key, _ = pairs("SM2")
    signature = key.sign(Message(message))
    (tmp_path / "public.pem").write_text(key.public_key().pem())
    (tmp_path / "signature").write_bytes(signature)
    arguments = ["dgst", "-sm3", "-sigopt", "distid:1234567812345678"]
    arguments += ["-verify", str(tmp_path / "public.pem")]
    arguments += ["-signature", str(tmp_path / "signature")]
    said, good = openssl(*arguments, data=message)
    assert good, said
    check_both_ways(key, "SM2DSA", message, signature)


def test_an_sm2_signature_under_another_user_id(pairs):
    """The service knows the usual one alone: the digest is made here."""
    key, _ = pairs("SM2")
    message = Message(b"m", sm2_user_id=b"alice@example.com")
    signature = key.sign(message)
    assert key.verify(message, signature)
    assert key.public_key().verify(message, signature, algorithm="SM2DSA")
    assert not key.verify(Message(b"m"), signature)


def check_both_ways(key, scheme, message, signature):
    """The service verifies by message and by digest, and refuses what is wrong."""
    native = key.public_key()
    digest = kmscore.signing.hash_message(
        Message(message), kmscore.SigningAlgorithm(scheme), native.der
    )
    assert key.verify(Message(message), signature, algorithm=scheme) is True
    assert key.verify(digest, signature, algorithm=scheme) is True
    assert native.verify(digest, key.sign(digest, algorithm=scheme), algorithm=scheme)
    assert key.verify(Message(message + b"x"), signature, algorithm=scheme) is False
    other = Digest(bytes(32), DigestAlgorithm.SM3 if scheme == "SM2DSA" else digest.algorithm)
    assert key.verify(other, signature, algorithm=scheme) is False
    broken = [b"x", signature[:-1], signature + b"x", bytes(len(signature)), bytes(384), bytes(256)]
    broken.append(signature[:-1] + bytes([signature[-1] ^ 1]))
    for wrong in broken:
        assert key.verify(Message(message), wrong, algorithm=scheme) is False


@pytest.fixture(scope="module")
def pairs(tables):
    """A key of a kind that signs, made once; and its public half for `cryptography`."""
    made = {}
    with opened(tables["FIPS"]) as kms:

        def pairs(spec):
            if spec not in made:
                key = kms.create_key(spec, usage="SIGN_VERIFY")
                der = key.public_key().der
                made[spec] = key, None if spec == "SM2" else load_der_public_key(der)
            return made[spec]

        yield pairs


@pytest.mark.parametrize("spec", ["RSA_2048", "EC_P256", "SM2"])
def test_a_disabled_pair_does_nothing(fips, spec):
    """Nor does it show its public half."""
    key = fips.create_key(spec, usage="SIGN_VERIFY")
    signature = key.sign(Message(b"m"))
    key.disable()
    uses = (
        lambda: key.sign(Message(b"m")),
        lambda: key.verify(Message(b"m"), signature),
        lambda: fips.key(key.key_id).public_key(),
    )
    for use in uses:
        with pytest.raises(KeyStateError) as failure:
            use()
        assert failure.value.state == KeyState.DISABLED


# --- A key of one's own -----------------------------------------------------------------------


def wrap(parameters, material):
    """The material under the wrapping key, by `cryptography`."""
    public = load_der_public_key(parameters.public_key)
    assert isinstance(public, rsa.RSAPublicKey)
    return public.encrypt(material, PADDINGS[parameters.wrapping])


def send(key, material, wrapping="RSAES_OAEP_SHA_256", **more):
    """Fetch parameters, wrap, hand in."""
    parameters = key.import_parameters(wrapping)
    key.import_material(wrap(parameters, material), parameters.token, **more)


@pytest.mark.parametrize("wrapping", PADDINGS)
def test_a_key_of_ones_own(kms, spec, wrapping):
    """Imported, used, deleted, imported again: 32 bytes in FIPS regions, 16 in SM regions."""
    key = kms.create_key(spec, origin="EXTERNAL")
    assert key.origin is Origin.EXTERNAL
    with pytest.raises(KeyStateError):
        key.encrypt(b"p")
    material = secrets.token_bytes(16 if spec == "SM4" else 32)
    send(key, material, wrapping)
    blob = key.encrypt(b"p")
    key.delete_material()
    assert key.describe().state is KeyState.PENDING_IMPORT
    with pytest.raises(KeyStateError):
        key.decrypt(blob)
    with pytest.raises(MaterialMismatch):
        send(key, bytes(len(material)), wrapping)
    send(key, material, wrapping)
    assert key.decrypt(blob) == b"p"


def test_imported_material_has_its_end(fips):
    """A time in whole seconds, which the service tells."""
    key = fips.create_key("AES_256", origin="EXTERNAL")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    send(key, bytes(32), valid_to=end)
    assert key.describe().valid_to == end
    send(key, bytes(32))
    assert key.describe().valid_to is None
    with pytest.raises(InvalidRequest):
        send(key, bytes(32), valid_to=datetime.now(UTC) - timedelta(days=1))


def test_material_that_cannot_be_used_is_refused(kms, spec):
    """Of the wrong length, not wrapped, wrapped otherwise."""
    key = kms.create_key(spec, origin="EXTERNAL")
    for length in (1, 15, 24, 33):
        with pytest.raises(ImportMaterialInvalid):
            send(key, bytes(length))
    parameters = key.import_parameters()
    for wrapped in (b"x", bytes(256), wrap(parameters._replace(wrapping="RSAES_OAEP_SHA_1"), b"x")):
        with pytest.raises(ImportMaterialInvalid):
            key.import_material(wrapped, parameters.token)
    assert key.describe().state is KeyState.PENDING_IMPORT


def test_only_the_newest_import_token_counts(fips):
    """And a token of another key, or none at all, never does."""
    key, other = (fips.create_key("AES_256", origin="EXTERNAL") for _ in range(2))
    first, second = key.import_parameters(), key.import_parameters()
    for token in (first.token, other.import_parameters().token):
        with pytest.raises(ImportTokenExpired):
            key.import_material(wrap(second, bytes(32)), token)
    with pytest.raises((ImportTokenExpired, InvalidRequest)):
        key.import_material(wrap(second, bytes(32)), b"nonsense \xff")
    key.import_material(wrap(second, bytes(32)), second.token)
    assert key.describe().state is KeyState.ENABLED


def test_a_generated_key_imports_nothing(fips):
    """The service says so too, if it is asked past the core."""
    key = fips.create_key("AES_256")
    with pytest.raises(InvalidRequest):
        fips.provider.get_import_parameters(
            key.key_id, kmscore.WrappingAlgorithm.RSAES_OAEP_SHA_256
        )


# --- Who asks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["secret_id", "secret_key", "token"])
def test_wrong_credentials_are_told(tables, wrong):
    """Never repeated, and never shown."""
    table = tables["FIPS"]
    credentials = table["credentials"] | {wrong: lambda: b"somethingelse"}
    with opened(table | {"credentials": credentials}) as kms:
        with pytest.raises(AuthenticationFailed) as failure:
            kms.generate_random(1)
        health = kms.health()
    assert failure.value.request_id
    assert not health.ok
    assert isinstance(health.error, AuthenticationFailed)
    assert "somethingelse" not in str(failure.value) + str(health)


def test_the_health_of_a_good_server(kms, edition):
    """Its edition is the configured one."""
    health = kms.health()
    assert health.ok, health.message
    assert health.details["edition"] == edition


def test_the_health_tells_of_the_wrong_edition(tables):
    """As found by the service's algorithms."""
    with opened(tables["SM"] | {"edition": "FIPS"}) as kms:
        health = kms.health()
    assert not health.ok
    assert 'edition = "SM"' in health.message
    assert isinstance(health.error, ConfigError)


def test_a_server_that_has_gone_is_unavailable(serve, tmp_path):
    """The health says so and raises nothing."""
    from kmscore.demo.local_server import local_server

    with local_server(tmp_path) as table, opened(table) as kms:
        kms.generate_random(1)
    with opened(table) as kms:
        assert not kms.health().ok
        with pytest.raises(KmsError) as failure:
            kms.generate_random(1)
    assert failure.value.retryable


@pytest.mark.parametrize("source", ["references", "environment", "profile"])
def test_doctor_says_which_credentials_won(tables, home, tmp_path, source):
    """The command a user would run, in a process of its own."""
    table = tables["FIPS"]
    secret_id, secret_key = (table["credentials"][n]() for n in ("secret_id", "secret_key"))
    environment = os.environ | {"HOME": str(home)}
    credentials, shown = '"auto"', ""
    if source == "references":
        for name, value in (("id", secret_id), ("key", secret_key)):
            (tmp_path / name).write_bytes(value)
            (tmp_path / name).chmod(0o600)
        credentials = '{ secret_id = { file = "id" }, secret_key = { file = "key" } }'
        shown = f"configuration (file {tmp_path / 'id'})"
    elif source == "environment":
        environment["TENCENTCLOUD_SECRET_ID"] = secret_id.decode()
        environment["TENCENTCLOUD_SECRET_KEY"] = secret_key.decode()
        shown = "environment (TENCENTCLOUD_SECRET_ID)"
    else:
        file = home / ".tencentcloud" / "credentials"
        file.parent.mkdir()
        file.touch(mode=0o600)
        file.write_bytes(b"[default]\nsecret_id=%b\nsecret_key=%b\n" % (secret_id, secret_key))
        shown = f"profile 'default' in {file}"
    config = tmp_path / "kms.toml"
    config.write_text(
        f'[providers.cloud]\ntype = "tencent"\nregion = "ap-guangzhou"\n'
        f'endpoint = "{table["endpoint"]}"\ncredentials = {credentials}\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "kmscore", "--config", str(config), "doctor"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"credentials: {shown}" in done.stdout
    assert secret_key.decode() not in done.stdout
