"""Key pairs: signatures and decryption, checked with somebody else's code."""

import os
import subprocess
from hashlib import sha256, sha384

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from kmscore_software import _pairs

from kmscore import Digest, DigestAlgorithm, Message, PublicKey
from kmscore.algorithms import EncryptionAlgorithm, KeySpec, SigningAlgorithm, WrappingAlgorithm
from kmscore.errors import (
    CiphertextInvalid,
    ConfigError,
    IntegrityError,
    InvalidRequest,
    KeyStateError,
    Unsupported,
)
from kmscore.sm2 import load_engine, message_digest

RSA = ["RSA_2048", "RSA_3072", "RSA_4096"]
OAEP = ["RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A provider for tests that only read; RSA keys are slow to make."""
    import kmscore

    path = tmp_path_factory.mktemp("pairs") / "keystore.db"
    table = {"type": "software", "path": str(path), "root_key": lambda: b"r" * 32}
    with kmscore.connect(config={"providers": {"dev": table}}) as kms:
        yield kms


@pytest.fixture(scope="module")
def pair(shared):
    """A key of that spec and usage, the same one each time."""
    made = {}

    def pair(spec, usage="SIGN_VERIFY"):
        if (spec, usage) not in made:
            made[spec, usage] = shared.create_key(spec, usage=usage)
        return made[spec, usage]

    return pair


def openssl(folder, *arguments):
    """Runs the openssl command; True when it is content."""
    return not subprocess.run(
        ["openssl", *arguments], cwd=folder, capture_output=True, check=False
    ).returncode


# --- Signatures ------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", RSA)
@pytest.mark.parametrize("algorithm", ["RSA_PSS_SHA_256", "RSA_PKCS1_SHA_256"])
def test_rsa_signatures(pair, spec, algorithm):
    """Of the message and of its digest; the salt of PSS has 32 bytes."""
    key = pair(spec)
    public = load_der_public_key(key.public_key().der)
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == int(spec[4:])
    assert public.public_numbers().e == 65537
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    scheme = pss if algorithm == "RSA_PSS_SHA_256" else padding.PKCS1v15()
    for data in (Message(b"m"), Digest(sha256(b"m").digest())):
        signature = key.sign(data, algorithm=algorithm)
        public.verify(signature, b"m", scheme, hashes.SHA256())
        assert key.verify(Message(b"m"), signature, algorithm=algorithm)
        assert key.verify(Digest(sha256(b"m").digest()), signature, algorithm=algorithm)
        assert not key.verify(Message(b"n"), signature, algorithm=algorithm)


@pytest.mark.parametrize(
    ("spec", "curve", "hashed"),
    [
        ("EC_P256", "secp256r1", Digest(sha256(b"m").digest())),
        ("EC_P384", "secp384r1", Digest(sha384(b"m").digest(), DigestAlgorithm.SHA_384)),
    ],
)
def test_ecdsa_signatures(pair, spec, curve, hashed):
    """With the hash of the curve, in DER."""
    key = pair(spec)
    public = load_der_public_key(key.public_key().der)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == curve
    digest = hashes.SHA256() if spec == "EC_P256" else hashes.SHA384()
    for data in (Message(b"m"), hashed):
        signature = key.sign(data)
        public.verify(signature, b"m", ec.ECDSA(digest))
        assert key.verify(Message(b"m"), signature)
        assert key.verify(hashed, signature)
        assert not key.verify(Message(b"n"), signature)


def test_ed25519_signatures(pair):
    """Of whole messages, and the same each time (RFC 8032)."""
    key = pair("ED25519")
    public = load_der_public_key(key.public_key().der)
    assert isinstance(public, ed25519.Ed25519PublicKey)
    signature = key.sign(Message(b"m"))
    public.verify(signature, b"m")
    assert key.sign(Message(b"m")) == signature
    assert key.verify(Message(b"m"), signature)
    with pytest.raises(InvalidRequest, match="whole messages"):
        key.sign(Digest(sha256(b"m").digest()))


@pytest.mark.parametrize("user_id", [b"1234567812345678", b"ALICE123@YAHOO.COM"])
def test_sm2_signatures(pair, tmp_path, user_id):
    """Of the message and of e = SM3(Z ‖ M), with any user id, as the openssl command sees it."""
    key = pair("SM2")
    public = key.public_key()
    (tmp_path / "public.pem").write_text(public.pem())
    (tmp_path / "message").write_bytes(b"m")
    message = Message(b"m", sm2_user_id=user_id)
    e = message_digest(b"m", user_id, public.der)
    for data in (message, Digest(e, DigestAlgorithm.SM3)):
        signature = key.sign(data)
        (tmp_path / "signature").write_bytes(signature)
        verify = f"pkeyutl -verify -pubin -inkey public.pem -rawin -digest sm3 -pkeyopt \
            distid:{user_id.decode()} -in message -sigfile signature"
        assert openssl(tmp_path, *verify.split())
        assert key.verify(message, signature)
        assert not key.verify(Message(b"m", sm2_user_id=b"BOB"), signature)


def test_the_provider_itself_honours_a_user_id(shared, pair):
    """Asked without the core in between, it signs what it was given, not something else."""
    key = pair("SM2")
    message = Message(b"m", sm2_user_id=b"ALICE123@YAHOO.COM")
    signature = shared.provider.sign(key.key_id, SigningAlgorithm.SM2DSA, message)
    assert key.public_key().verify(message, signature)
    assert shared.provider.verify(key.key_id, SigningAlgorithm.SM2DSA, message, signature)


@pytest.mark.parametrize("spec", ["RSA_2048", "EC_P256", "EC_P384", "ED25519", "SM2"])
def test_a_malformed_signature_is_wrong(pair, spec):
    """False, never an error: cut, extended, changed, empty, or of another key."""
    key = pair(spec)
    good = key.sign(Message(b"m"))
    wrong = [b"", b"\0", good[:-1], good + b"\0", bytes(len(good)), b"\x30\x06\x02\x01\x00\x02\x01"]
    wrong += [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in (0, -5)]
    wrong += [os.urandom(len(good)), b"\x30\x06\x02\x01\x00\x02\x01\x00", b"\xff" * 1000]
    assert [key.verify(Message(b"m"), signature) for signature in wrong] == [False] * len(wrong)
    assert key.verify(Message(b"m"), good)


@pytest.mark.parametrize(("leave", "come_back"), [("disable", "enable"), ("archive", "restore")])
def test_a_disabled_or_archived_key_signs_and_verifies_nothing(kms, leave, come_back):
    """Nor does it give its public key; in use again it does."""
    key = kms.create_key("ED25519")
    signature = key.sign(Message(b"m"))
    getattr(key, leave)()
    for use in (
        lambda: key.sign(Message(b"m")),
        lambda: key.verify(Message(b"m"), signature),
        key.public_key,
    ):
        with pytest.raises(KeyStateError):
            use()
    getattr(key, come_back)()
    assert key.verify(Message(b"m"), signature)


def test_key_pairs_survive_a_restart(kms, connect):
    """All kinds of them, from the file."""
    keys = [kms.create_key(spec, usage="SIGN_VERIFY") for spec in ("RSA_2048", "SM2", "EC_P384")]
    keys += [kms.create_key(spec) for spec in ("EC_P256", "ED25519")]
    again = connect()
    for key in keys:
        signature = again.key(key.key_id).sign(Message(b"m"))
        assert key.verify(Message(b"m"), signature)
        assert key.public_key() == again.key(key.key_id).public_key()


def test_sm2_by_gmssl(connect):
    """Where it was asked for, all of SM2 is done by it, and OpenSSL agrees."""
    kms = connect(sm2_engine="gmssl", allow_insecure=True)
    assert kms.health().details["sm2_engine"] == "gmssl 3.2.2"
    key = kms.create_key("SM2", usage="SIGN_VERIFY")
    signature = key.sign(Message(b"m"))
    assert key.public_key().verify(Message(b"m"), signature)
    assert key.verify(Message(b"m"), signature)
    assert not key.verify(Message(b"n"), signature)
    cipher = kms.create_key("SM2", usage="ASYMMETRIC_DECRYPT")
    assert cipher.decrypt(cipher.public_key().encrypt(b"secret")) == b"secret"


def test_sm2_by_gmssl_needs_no_other_engine(connect, monkeypatch):
    """On a machine whose libcrypto has no SM2 the provider still verifies."""

    def only_gmssl(name="openssl", *, allow_insecure=False):
        if name == "openssl":
            raise Unsupported("libcrypto has no SM2")
        return load_engine(name, allow_insecure=allow_insecure)

    monkeypatch.setattr("kmscore.sm2.load_engine", only_gmssl)
    key = connect(sm2_engine="gmssl", allow_insecure=True).create_key("SM2", usage="SIGN_VERIFY")
    assert key.verify(Message(b"m"), key.sign(Message(b"m")))
    with pytest.raises(Unsupported):
        key.public_key().verify(Message(b"m"), b"signature")


def test_gmssl_must_be_allowed(connect, path):
    """Its timing gives keys away; nobody gets it by mistake."""
    with pytest.raises(ConfigError, match="not safe"):
        connect(sm2_engine="gmssl")
    assert not path.exists()


# --- Decryption ------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", RSA)
@pytest.mark.parametrize("algorithm", [*OAEP, "RSAES_PKCS1_V1_5"])
def test_rsa_decryption(pair, tmp_path, spec, algorithm):
    """Of what the openssl command encrypted for the public key."""
    key = pair(spec, "ASYMMETRIC_DECRYPT")
    (tmp_path / "public.pem").write_text(key.public_key().pem())
    (tmp_path / "plain").write_bytes(b"secret")
    options = "-pkeyopt rsa_padding_mode:pkcs1"
    if algorithm in OAEP:
        digest = "sha256" if algorithm == "RSAES_OAEP_SHA_256" else "sha1"
        options = f"-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:{digest}"
    encrypt = f"pkeyutl -encrypt -pubin -inkey public.pem -in plain -out sealed {options}"
    assert openssl(tmp_path, *encrypt.split())
    sealed = (tmp_path / "sealed").read_bytes()
    assert key.decrypt(sealed, algorithm=algorithm) == b"secret"


@pytest.mark.parametrize("algorithm", OAEP)
def test_a_bad_rsa_ciphertext(pair, algorithm):
    """One error, for whatever reason; the length is that of the modulus, leading zeros included."""
    key = pair("RSA_2048", "ASYMMETRIC_DECRYPT")
    public = key.public_key()
    good = public.encrypt(b"x", algorithm)
    other = next(each for each in OAEP if each != algorithm)
    bad = [
        good[:-1],
        good + b"\0",
        b"\0" + good,
        good[:-1] + bytes([good[-1] ^ 1]),
        bytes(256),
        b"\xff" * 256,
        b"x",
        public.encrypt(b"x", other),
        pair("RSA_3072", "ASYMMETRIC_DECRYPT").public_key().encrypt(b"x", algorithm),
    ]
    for sealed in bad:
        with pytest.raises(CiphertextInvalid) as failed:
            key.decrypt(sealed, algorithm=algorithm)
        assert failed.value.message == CiphertextInvalid().message


def test_bad_pkcs1_padding_tells_nothing(pair):
    """Random bytes or the one error, and for the same ciphertext always the same."""
    key = pair("RSA_2048", "ASYMMETRIC_DECRYPT")

    def attempt(sealed):
        try:
            return key.decrypt(sealed, algorithm="RSAES_PKCS1_V1_5")
        except CiphertextInvalid as error:
            return error.message

    for _ in range(8):
        sealed = b"\0" + os.urandom(255)
        first = attempt(sealed)
        assert first == attempt(sealed)
        assert isinstance(first, bytes) or first == CiphertextInvalid().message
    for sealed in (b"\0" * 255, b"\0" * 257, b"x"):
        assert attempt(sealed) == CiphertextInvalid().message


def test_sm2_decryption(pair, tmp_path):
    """Of what the openssl command encrypted; every changed byte is noticed."""
    key = pair("SM2", "ASYMMETRIC_DECRYPT")
    (tmp_path / "public.pem").write_text(key.public_key().pem())
    (tmp_path / "plain").write_bytes(b"secret key")
    encrypt = "pkeyutl -encrypt -pubin -inkey public.pem -in plain -out sealed"
    assert openssl(tmp_path, *encrypt.split())
    sealed = (tmp_path / "sealed").read_bytes()
    assert key.decrypt(sealed) == b"secret key"
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(CiphertextInvalid):
            key.decrypt(bytes(changed))


# --- Pairs themselves ------------------------------------------------------------------------


def test_what_a_pair_is_not_for(shared, pair):
    """Asked without the core in between, a provider refuses instead of guessing."""
    ec_key, ed_key = pair("EC_P256"), pair("ED25519")
    with pytest.raises(InvalidRequest):
        shared.provider.asymmetric_decrypt(
            ec_key.key_id, EncryptionAlgorithm.RSAES_OAEP_SHA_256, b"x"
        )
    with pytest.raises(InvalidRequest):
        shared.provider.sign(ed_key.key_id, SigningAlgorithm.ED25519, Digest(bytes(32)))


def test_a_key_of_another_kind_is_noticed():
    """Should a seal ever hold one, it is not used as what it is not."""
    from cryptography.hazmat.primitives.asymmetric import x25519
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    other = x25519.X25519PrivateKey.generate().private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )
    with pytest.raises(IntegrityError):
        _pairs.load(KeySpec.ED25519, other, b"", load_engine)
    with pytest.raises(IntegrityError):
        _pairs.unwrap(other, WrappingAlgorithm.RSAES_OAEP_SHA_256, b"x")


def test_the_public_key_alone_encrypts_for_the_pair(pair):
    """The two halves meet again, in every scheme."""
    key = pair("RSA_2048", "ASYMMETRIC_DECRYPT")
    public = PublicKey.from_pem(key.public_key().pem())
    for algorithm in (*OAEP, "RSAES_PKCS1_V1_5"):
        assert key.decrypt(public.encrypt(b"x", algorithm), algorithm=algorithm) == b"x"
