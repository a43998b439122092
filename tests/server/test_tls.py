"""TLS with a certificate of an authority of one's own."""

import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from kmscore_server.settings import Settings
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import kms_client, models

DRAW = {"NumberOfBytes": 8}
YEAR = dt.timedelta(days=365)


def certificate(name, key, issuer, signer, *, authority):
    """A certificate for localhost, or for an authority."""
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - YEAR)
        .not_valid_after(now + YEAR)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture
def authority(home):
    """Files of an authority and of a server: ca.pem, server.pem, server.key."""
    ca, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (home / "ca.pem").write_bytes(certificate("CA", ca, "CA", ca, authority=True))
    (home / "server.pem").write_bytes(certificate("server", own, "CA", ca, authority=False))
    key = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (home / "server.key").write_bytes(key)
    (home / "server.key").chmod(0o600)
    return home / "ca.pem"


TLS = ("--tls-cert", "server.pem", "--tls-key", "server.key")


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_are_served_by_tls(serve, authority, workers):
    """TLS 1.2 and newer; several requests over one connection."""
    running = serve(*TLS, "--workers", workers)
    assert running.url.startswith("https://")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=authority)
        context.minimum_version = context.maximum_version = version
        with running.wire(context) as wire:
            for _ in range(3):
                wire.send(running.bytes("GenerateRandom", DRAW))
                assert wire.answer().code == "ok"


def test_the_sdk_checks_the_certificate(serve, authority):
    """With the authority it works; without, the SDK refuses."""
    running = serve(*TLS)

    def draw(certification):
        http = HttpProfile(endpoint=f"localhost:{running.port}", certification=certification)
        credential = Credential("AKIDtest", "topsecretkey")
        sdk = kms_client.KmsClient(credential, "ap-guangzhou", ClientProfile(httpProfile=http))
        request = models.GenerateRandomRequest()
        request.NumberOfBytes = 8
        return sdk.GenerateRandom(request).Plaintext

    assert draw(str(authority))
    with pytest.raises(TencentCloudSDKException, match="CERTIFICATE_VERIFY_FAILED"):
        draw(None)


def test_what_is_not_tls_is_dropped(serve, authority):
    """Plain requests, and bytes that are nothing; others are served all the same."""
    running = serve(*TLS)
    for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 99):
        with running.wire() as wire:
            wire.send(data)
            assert wire.is_closed()
    context = ssl.create_default_context(cafile=authority)
    with running.wire(context) as wire:
        wire.send(running.bytes("GenerateRandom", DRAW))
        assert wire.answer().code == "ok"
    assert running.stop() == (0, "")


def test_other_machines_may_be_served_with_tls(home, authority):
    """With --allow-remote, all addresses of this machine are listened on."""
    settings = Settings(
        config=None,
        provider=None,
        credentials=home / "cred.toml",
        host="0.0.0.0",  # noqa: S104 - that is what is allowed
        port=0,
        allow_remote=True,
        tls_cert=home / "server.pem",
        tls_key=home / "server.key",
    )
    assert settings.tls() is not None
    with settings.listen() as listening:
        assert listening.getsockname()[0] == settings.host


@pytest.mark.parametrize("spoil", ["mode", "other", "text", "missing"])
def test_a_key_that_cannot_be_used_is_refused(serve, authority, home, spoil):
    """One that others can read, that belongs to another certificate, or is none."""
    key = home / "server.key"
    if spoil == "mode":
        key.chmod(0o640)
    elif spoil == "other":
        other = ec.generate_private_key(ec.SECP256R1())
        key.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    elif spoil == "text":
        key.write_text("secret text")
    else:
        key.unlink()
    with pytest.raises(RuntimeError, match="server") as caught:
        serve(*TLS)
    assert "secret text" not in str(caught.value)
