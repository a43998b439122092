"""Certificate signing requests from the command line, judged by openssl and by cryptography."""

import ipaddress
import json
import subprocess

import pytest
from cryptography import x509

SUBJECT = "CN=www.example.com,O=Example\\, Ltd,C=CN"
NAMES = ["www.example.com", "dns:example.com", "IP:192.0.2.1", "email:a@example.com", "URI:a:b"]


@pytest.fixture
def signer(cli):
    """Makes a signing key named signer."""

    def make(spec):
        done = cli("keys", "create", "--alias", "signer", "--spec", spec, "--usage", "SIGN_VERIFY")
        assert done.code == 0, done.err

    return make


def verified(home, *options):
    """What openssl says of the request, its signature checked."""
    done = subprocess.run(
        ["openssl", "req", "-verify", "-noout", "-subject", "-in", "request", *options],
        cwd=home,
        capture_output=True,
        check=False,
        text=True,
    )
    assert "verify OK" in done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("spec", ["RSA_2048", "EC_P256", "EC_P384", "ED25519", "SM2"])
def test_openssl_verifies_the_request_of_every_kind_of_key(cli, home, signer, spec):
    """It is signed by the key that it is for, which never left the provider."""
    signer(spec)
    done = cli("csr", "signer", "--subject", SUBJECT, "--san", "www.example.com", "-o", "request")
    assert (done.code, done.out) == (0, b"")
    user_id = ["-vfyopt", "distid:1234567812345678"] if spec == "SM2" else []
    assert 'C = CN, O = "Example, Ltd", CN = www.example.com' in verified(home, *user_id)
    openssl = ["openssl", "req", "-in", "request", "-noout", "-pubkey"]
    done = subprocess.run(openssl, cwd=home, capture_output=True, check=True)
    assert done.stdout == cli("public-key", "signer").out


@pytest.mark.parametrize("algorithm", ["RSA_PKCS1_SHA_256", "RSA_PSS_SHA_256"])
def test_the_scheme_of_an_rsa_request_can_be_chosen(cli, home, signer, algorithm):
    """Not only what most authorities take."""
    signer("RSA_2048")
    options = ["--subject", "CN=x", "--algorithm", algorithm, "-o", "request"]
    assert cli("csr", "signer", *options).code == 0
    verified(home)
    request = x509.load_pem_x509_csr((home / "request").read_bytes())
    assert request.is_signature_valid
    padding = type(request.signature_algorithm_parameters).__name__
    assert padding == ("PSS" if "PSS" in algorithm else "PKCS1v15")


def test_subject_and_alternative_names_are_those_that_were_asked_for(cli, home, signer):
    """As another parser reads them."""
    signer("EC_P256")
    options = [part for name in NAMES for part in ("--san", name)]
    done = cli("csr", "signer", "--subject", SUBJECT, *options, "--format", "der")
    request = x509.load_der_x509_csr(done.out)
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == SUBJECT
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["www.example.com", "example.com"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("192.0.2.1")]
    assert names.get_values_for_type(x509.RFC822Name) == ["a@example.com"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["a:b"]


def test_a_request_without_alternative_names_asks_for_no_extensions(cli, signer):
    """And JSON carries the PEM."""
    signer("ED25519")
    done = cli("csr", "signer", "--subject", "CN=x", "--json")
    request = x509.load_pem_x509_csr(json.loads(done.out)["pem"].encode())
    assert request.is_signature_valid
    assert list(request.extensions) == []


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ([], 2, "--subject"),
        (["--subject", ""], 1, "subject is empty"),
        (["--subject", "www.example.com"], 1, "Write it like CN="),
        (["--subject", "/CN=www.example.com"], 1, "Write it like CN="),
        (["--subject", "C=China"], 1, "length must be"),
        (["--subject", "CN=a\nb"], 1, "cannot be printed"),
        (["--subject", "CN=\udcff"], 1, "cannot be printed"),
        (["--subject", "CN=" + "x" * 4097], 1, "4100 characters"),
        (["--subject", "CN=x", "--san", ""], 1, "no alternative name"),
        (["--subject", "CN=x", "--san", "IP:www"], 1, "'IP:www' is no alternative name"),
        (["--subject", "CN=x", "--san", "DNS:bücher.example"], 1, "in ASCII"),
        (["--subject", "CN=x", "--san", "RID:1.2.3"], 1, "no alternative name"),
        (["--subject", "CN=x", "--algorithm", "ED25519"], 1, "Its algorithms: ECDSA_SHA_256"),
        (["--subject", "CN=x", "--algorithm", "MD5"], 1, "unknown algorithm"),
    ],
)
def test_a_request_that_cannot_be_made(cli, home, signer, options, code, text):
    """What is wrong and how it is written right; no file."""
    signer("EC_P256")
    done = cli("csr", "signer", *options, "-o", "request")
    assert done.code == code
    assert text in done.err
    assert not (home / "request").exists()


def test_a_key_that_does_not_sign(cli, key):
    """Is refused by name."""
    done = cli("csr", "orders", "--subject", "CN=x")
    assert done.code == 1
    assert "It encrypts and decrypts" in done.err
