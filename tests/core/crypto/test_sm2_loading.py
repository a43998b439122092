"""Where an SM2 engine cannot be used, or its library fails: errors that say so."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm

from kmscore.encodings.curves import SM2_GENERATOR
from kmscore.encodings.signature import signature_der
from kmscore.encodings.sm2_ciphertext import (
    SM2CiphertextFormat,
    decode_ciphertext,
    encode_ciphertext,
)
from kmscore.encodings.spki import sm2_public_key
from kmscore.errors import (
    CiphertextInvalid,
    ConfigError,
    InternalError,
    Unsupported,
)
from kmscore.sm2 import SM2PrivateKey, load_engine
from kmscore.sm2.gmssl import GmsslEngine
from kmscore.sm2.libcrypto import FUNCTIONS
from kmscore.sm2.openssl import OpenSSLEngine
from kmscore.sm2.selftest import check

E = bytes(range(32))


def always(value: object) -> Callable[..., object]:
    """A function that gives this, whatever it is asked."""

    def answer(*arguments: object) -> object:
        return value

    return answer


class TestLoading:
    """`load_engine`."""

    def test_openssl_is_the_default(self) -> None:
        """Without a name it is the process's own OpenSSL, loaded once."""
        engine = load_engine()
        assert engine.name == "openssl"
        assert engine.description.startswith("OpenSSL 3.")
        assert repr(engine) == f"<SM2 engine {engine.description}>"
        assert load_engine("openssl") is engine

    def test_gmssl_only_when_allowed(self) -> None:
        """Gmssl must be allowed every time, loaded or not."""
        assert load_engine("gmssl", allow_insecure=True).description == "gmssl 3.2.2"
        with pytest.raises(ConfigError, match="not safe") as caught:
            load_engine("gmssl")
        assert "allow_insecure" in caught.value.hint

    def test_unknown_name(self) -> None:
        """Another name is an error of the configuration."""
        with pytest.raises(ConfigError, match="no SM2 engine 'botan'"):
            load_engine("botan")

    def test_no_libcrypto(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no libcrypto is new enough, that is said with what to do."""
        monkeypatch.setitem(FUNCTIONS, "EVP_of_OpenSSL_9", (None, ()))
        with pytest.raises(Unsupported, match=r"no OpenSSL 3\.0") as caught:
            OpenSSLEngine()
        assert "RHEL" in caught.value.hint

    def test_python_with_libcrypto_inside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A Python that hides its libcrypto uses the system's."""
        monkeypatch.setattr("kmscore.sm2.libcrypto.find_spec", always(None))
        assert check(OpenSSLEngine()).description.startswith("OpenSSL 3.")

    def test_no_libcrypto_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without any libcrypto SM2 is unsupported."""
        monkeypatch.setattr("kmscore.sm2.libcrypto.find_spec", always(None))
        monkeypatch.setattr("ctypes.util.find_library", always(None))
        with pytest.raises(Unsupported, match=r"no OpenSSL 3\.0"):
            OpenSSLEngine()

    def test_libcrypto_without_sm2(self, tmp_path: Path) -> None:
        """Where the system allows FIPS algorithms alone, SM2 is unsupported, and that is said."""
        config = tmp_path / "openssl.cnf"
        config.write_text(
            "openssl_conf = start\n[start]\nalg_section = rules\n"
            "[rules]\ndefault_properties = fips=yes\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", "from kmscore.sm2 import load_engine; load_engine()"],
            env=os.environ | {"OPENSSL_CONF": str(config)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "kmscore.errors.Unsupported: the OpenSSL of this machine has no SM2" in run.stderr

    def test_gmssl_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without gmssl the hint says how to install it."""

        def missing(name: str) -> str:
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr("kmscore.sm2.gmssl.version", missing)
        with pytest.raises(Unsupported, match="not installed") as caught:
            GmsslEngine()
        assert "kmscore[sm]" in caught.value.hint

    def test_another_gmssl(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A version of gmssl that nobody examined is not used."""
        monkeypatch.setattr("kmscore.sm2.gmssl.version", always("3.2.3"))
        with pytest.raises(Unsupported, match=r"gmssl 3\.2\.3"):
            GmsslEngine()


class Forgetful(OpenSSLEngine):
    """An engine whose keys are all the same."""

    def _private_key(self, d: bytes) -> SM2PrivateKey:
        return super()._private_key(bytes(31) + b"\x01")


class Broken(OpenSSLEngine):
    """An engine that cannot even read a key."""

    def _private_key(self, d: bytes) -> SM2PrivateKey:
        raise InternalError("broken")


class TestSelfTest:
    """No engine is used that gets the standard's examples wrong."""

    def test_wrong_results(self) -> None:
        """An engine with wrong results is refused, and the step is named."""
        with pytest.raises(Unsupported, match=r"OpenSSL 3.*cannot derive a public key"):
            check(Forgetful())

    def test_another_sm3(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A wrong digest is found before anything is signed."""
        monkeypatch.setattr("kmscore.sm2.selftest.sm3", always(bytes(32)))
        with pytest.raises(Unsupported, match="cannot digest with SM3"):
            check(OpenSSLEngine())

    def test_no_sm3(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As in FIPS mode: SM2 is unsupported, and the reason is told."""

        def refuse(_: object) -> None:
            raise UnsupportedAlgorithm("sm3 is not supported by this backend")

        monkeypatch.setattr("kmscore.sm2.digest.Hash", refuse)
        with pytest.raises(Unsupported, match="has no SM3"):
            check(OpenSSLEngine())

    def test_errors(self) -> None:
        """An engine that fails is refused."""
        with pytest.raises(Unsupported, match="self-test of SM2: broken"):
            check(Broken())


class TestOpenSSLTrouble:
    """What OpenSSL reports becomes an error of the tree, and its queue stays empty."""

    @pytest.mark.parametrize("function", ["EVP_PKEY_sign_init", "EVP_PKEY_sign"])
    def test_sign(self, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
        """A function that has no reason to fail is named, with OpenSSL's code."""
        engine = OpenSSLEngine()
        private = engine.private_key(engine.generate())
        monkeypatch.setattr(engine.library, function, always(0))
        with pytest.raises(InternalError, match=f"{function} failed") as caught:
            private.sign(E)
        assert caught.value.code

    def test_verify(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A signature that could not be checked is neither right nor wrong."""
        engine = OpenSSLEngine()
        public = engine.public_key(sm2_public_key(SM2_GENERATOR))
        monkeypatch.setattr(engine.library, "EVP_PKEY_verify", always(-1))
        with pytest.raises(InternalError, match="EVP_PKEY_verify failed"):
            public.verify(E, signature_der(1, 1))

    def test_encrypt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also when it encrypts."""
        engine = OpenSSLEngine()
        public = engine.public_key(sm2_public_key(SM2_GENERATOR))
        monkeypatch.setattr(engine.library, "EVP_PKEY_encrypt", always(0))
        with pytest.raises(InternalError, match="EVP_PKEY_encrypt failed"):
            public.encrypt(b"plaintext")

    def test_public_point_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So is the one that gives the public key."""
        engine = OpenSSLEngine()
        name = "EVP_PKEY_get_octet_string_param"
        monkeypatch.setattr(engine.library, name, always(0))
        with pytest.raises(InternalError, match=name):
            engine.private_key(engine.generate())

    def test_queue_is_empty_after_failures(self) -> None:
        """A failed decryption leaves no error behind for the next user of OpenSSL."""
        engine = OpenSSLEngine()
        private = engine.private_key(engine.generate())
        public = engine.public_key(private.public_key)
        parts = decode_ciphertext(public.encrypt(b"plaintext"), SM2CiphertextFormat.DER)
        with pytest.raises(CiphertextInvalid):
            private.decrypt(
                encode_ciphertext(parts._replace(c3=bytes(32)), SM2CiphertextFormat.DER)
            )
        assert engine.library.ERR_peek_last_error() == 0

    def test_unreadable_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key that libcrypto does not read is unsupported; nothing is freed that is not there."""
        engine = OpenSSLEngine()
        monkeypatch.setattr(engine.library, "d2i_PUBKEY_ex", always(None))
        with pytest.raises(Unsupported, match="has no SM2"):
            engine.public_key(sm2_public_key(SM2_GENERATOR))
