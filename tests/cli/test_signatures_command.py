"""Signing and verifying from the command line, with openssl as the other side."""

import hashlib
import json
import os

import pytest

from kmscore.cli.streams import MAX_INPUT

PSS = "dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32"


@pytest.fixture
def message(home):
    """A message in a file."""
    (home / "message").write_bytes(b"pay 100 to bob")
    return home / "message"


def create(cli, spec):
    """A signing key."""
    assert (
        cli("keys", "create", "--alias", "signer", "--spec", spec, "--usage", "SIGN_VERIFY").code
        == 0
    )
    assert cli("public-key", "signer", "-o", "signer.pem").code == 0


@pytest.mark.parametrize("spec", ["EC_P256", "EC_P384", "RSA_2048", "ED25519", "SM2"])
def test_a_signature_is_right_here_and_there(cli, message, spec):
    """Checked by the provider, and with the public key alone."""
    create(cli, spec)
    assert cli("sign", "--key", "signer", "-i", "message", "-o", "sig").code == 0
    for by in (["--key", "signer"], ["--public-key", "signer.pem"]):
        right = cli("verify", *by, "--signature", "sig", "-i", "message")
        assert (right.code, right.text) == (0, "signature is right")
        wrong = cli("verify", *by, "--signature", "sig", stdin=b"pay 900 to bob")
        assert (wrong.code, wrong.text) == (4, "")
        assert "WRONG" in wrong.err


@pytest.mark.parametrize(
    ("spec", "algorithm", "check"),
    [
        ("EC_P256", "ECDSA_SHA_256", "dgst -sha256 -verify signer.pem -signature sig message"),
        ("EC_P384", "ECDSA_SHA_384", "dgst -sha384 -verify signer.pem -signature sig message"),
        ("RSA_2048", "RSA_PKCS1_SHA_256", "dgst -sha256 -verify signer.pem -signature sig message"),
        (
            "RSA_2048",
            "RSA_PSS_SHA_256",
            PSS + " -verify signer.pem -signature sig message",
        ),
        (
            "ED25519",
            "ED25519",
            "pkeyutl -verify -rawin -pubin -inkey signer.pem -sigfile sig -in message",
        ),
        (
            "SM2",
            "SM2DSA",
            "dgst -sm3 -sigopt distid:1234567812345678 -verify signer.pem -signature sig message",
        ),
    ],
)
def test_openssl_agrees(cli, message, openssl, spec, algorithm, check):
    """With what we sign, and not when the message is another."""
    create(cli, spec)
    done = cli("sign", "--key", "signer", "--algorithm", algorithm, "-i", "message", "-o", "sig")
    assert done.code == 0
    assert openssl(check) == 0
    message.write_bytes(b"pay 900 to bob")
    assert openssl(check) != 0


def test_an_sm2_user_id_of_any_bytes(cli, message, openssl):
    """It is bytes, not text: what is no UTF-8 is taken as it is."""
    create(cli, "SM2")
    user = os.fsdecode(b"\xff\xfe")
    done = cli("sign", "--key", "signer", "--sm2-user-id", user, "-i", "message", "-o", "sig")
    assert done.code == 0, done.err
    check = "dgst -sm3 -sigopt hexdistid:fffe -verify signer.pem -signature sig message"
    assert openssl(check) == 0


def test_what_openssl_signs_is_verified(cli, message, home, openssl):
    """With its public key alone, in PEM or DER; by the message or its digest; no configuration."""
    openssl("ecparam -name prime256v1 -genkey -noout -out private.pem")
    openssl("pkey -in private.pem -pubout -out public.pem")
    openssl("pkey -in private.pem -pubout -outform DER -out public.der")
    assert openssl("dgst -sha256 -sign private.pem -out sig message") == 0
    (home / "digest").write_bytes(hashlib.sha256(message.read_bytes()).digest())
    (home / "kms.toml").unlink()
    for public in ("public.pem", "public.der"):
        check = ["verify", "--public-key", public, "--signature", "sig"]
        assert cli(*check, "-i", "message").code == 0
        assert cli(*check, "--digest", "-i", "digest").code == 0
        assert cli(*check, stdin=b"pay 900 to bob").code == 4


def test_a_digest_is_signed_as_its_message(cli, message, home):
    """With --digest the input is the digest."""
    create(cli, "EC_P256")
    (home / "digest").write_bytes(hashlib.sha256(message.read_bytes()).digest())
    cli("sign", "--key", "signer", "--digest", "-i", "digest", "-o", "sig")
    assert cli("verify", "--key", "signer", "--signature", "sig", "-i", "message").code == 0
    cli("sign", "--key", "signer", "-i", "message", "-o", "sig")
    done = cli("verify", "--key", "signer", "--digest", "--signature", "sig", "-i", "digest")
    assert done.code == 0
    refused = cli("sign", "--key", "signer", "--digest", stdin=b"short")
    assert refused.code == 1
    assert "32" in refused.err


def test_a_message_that_cannot_be_hashed_first_has_a_limit(cli, home):
    """Ed25519 needs all of it in memory."""
    (home / "large").touch()
    os.truncate("large", MAX_INPUT + 1)
    create(cli, "ED25519")
    done = cli("sign", "--key", "signer", "-i", "large")
    assert (done.code, done.out) == (1, b"")
    assert f"more than {MAX_INPUT} bytes" in done.err


@pytest.mark.parametrize("pss", [False, True])
def test_a_large_file_is_hashed_as_it_is_read(cli, home, openssl, pss):
    """It may be larger than what is read into memory; openssl agrees."""
    (home / "large").touch()
    os.truncate("large", MAX_INPUT + 1)
    create(cli, "RSA_2048")
    algorithm = "RSA_PSS_SHA_256" if pss else "RSA_PKCS1_SHA_256"
    arguments = ["--key", "signer", "--algorithm", algorithm, "-i", "large"]
    assert cli("sign", *arguments, "-o", "sig").code == 0
    assert cli("verify", *arguments, "--signature", "sig").code == 0
    assert openssl(f"{PSS if pss else 'dgst -sha256'} -verify signer.pem -signature sig large") == 0


def test_an_sm2_user_id(cli, message, openssl):
    """The verifier must know it, openssl too."""
    create(cli, "SM2")
    options = ["--sm2-user-id", "ALICE123@YAHOO.COM"]
    cli("sign", "--key", "signer", *options, "-i", "message", "-o", "sig")
    for by in (["--public-key", "signer.pem"], ["--key", "signer"]):
        check = ["verify", *by, "--signature", "sig", "-i", "message"]
        assert cli(*check, *options).code == 0
        assert cli(*check).code == 4
    line = "dgst -sm3 -sigopt distid:{} -verify signer.pem -signature sig message"
    assert openssl(line.format("ALICE123@YAHOO.COM")) == 0
    assert openssl(line.format("1234567812345678")) != 0


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["verify", "--signature", "sig"], 2, "either"),
        (["verify", "--key", "a", "--public-key", "b", "--signature", "sig"], 2, "either"),
        (["verify", "--key", "signer", "--signature", "-"], 2, "both"),
        (["verify", "--key", "signer", "--signature", "missing"], 1, "missing"),
        (["verify", "--public-key", "message", "--signature", "message"], 1, "public key"),
        (["sign", "--key", "signer", "--algorithm", "MD5"], 1, "unknown algorithm"),
        (["sign", "--key", "signer", "--algorithm", "SM2DSA"], 1, "SM2DSA"),
        (["sign", "--key", "signer", "--sm2-user-id", "x"], 2, "SM2DSA only"),
        (["sign", "--key", "signer", "-i", "missing"], 1, "missing"),
        (["sign", "--key", "aes", "-i", "message"], 1, "cannot"),
    ],
)
def test_what_is_refused(cli, message, arguments, code, text):
    """One clear error, and the right exit code."""
    create(cli, "EC_P256")
    cli("keys", "create", "--alias", "aes")
    done = cli(*arguments)
    assert done.code == code
    assert text in done.err


def test_ed25519_signs_no_digest(cli, message):
    """And SM2's id is part of a digest already."""
    create(cli, "ED25519")
    assert cli("sign", "--key", "signer", "--digest", "-i", "message").code == 1
    cli("keys", "create", "--alias", "sm2", "--spec", "SM2", "--usage", "SIGN_VERIFY")
    done = cli("sign", "--key", "sm2", "--digest", "--sm2-user-id", "x", "-i", "message")
    assert done.code == 2


def test_an_empty_signature_is_wrong(cli, message, home):
    """Not an error: it was checked."""
    create(cli, "EC_P256")
    (home / "empty").write_bytes(b"")
    for by in (["--key", "signer"], ["--public-key", "signer.pem"]):
        assert cli("verify", *by, "--signature", "empty", "-i", "message").code == 4


def test_public_keys_in_every_form(cli, home):
    """PEM, DER, JWK, JSON."""
    create(cli, "EC_P256")
    der = cli("public-key", "signer", "--format", "der").out
    assert der[0] == 0x30
    assert json.loads(cli("public-key", "signer", "--format", "jwk").out)["crv"] == "P-256"
    shown = json.loads(cli("public-key", "signer", "--json").out)
    assert shown["pem"] == (home / "signer.pem").read_text()
    signed = json.loads(cli("sign", "--key", "signer", "--json", stdin=b"m").out)
    assert signed["algorithm"] == "ECDSA_SHA_256"
    assert json.loads(
        cli("verify", "--key", "signer", "--signature", "signer.pem", "--json", stdin=b"m").out
    ) == {"valid": False}
