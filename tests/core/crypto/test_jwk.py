"""JSON Web Keys: there and back, and strict about what comes in."""

from base64 import urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from kmscore.encodings import sm2_public_key
from kmscore.encodings.curves import SM2_GENERATOR
from kmscore.encodings.jwk import jwk_decode, jwk_encode
from kmscore.encodings.spki import ED25519, spki_encode
from kmscore.errors import InvalidRequest, KmsError, Unsupported


def spki(key: Any) -> bytes:
    """SubjectPublicKeyInfo of a private key of `cryptography`."""
    encoded: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def base64url(number: int, size: int) -> str:
    """A number as members of a JWK carry it, by somebody else's code."""
    return urlsafe_b64encode(number.to_bytes(size, "big")).decode().rstrip("=")


class TestJwk:
    """JSON Web Keys."""

    rsa_jwk = jwk_encode(spki(rsa.generate_private_key(65537, 2048)))
    ec_jwk = jwk_encode(spki(ec.generate_private_key(ec.SECP256R1())))

    def test_rfc_8037_example(self) -> None:
        """The example of RFC 8037, appendix A.2."""
        jwk = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }
        key = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        assert jwk_decode(jwk) == spki_encode(ED25519, key)
        assert jwk_encode(jwk_decode(jwk)) == jwk

    @pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
    def test_ec(self, curve: ec.EllipticCurve) -> None:
        """Curve and coordinates are those of the key."""
        key = ec.generate_private_key(curve)
        jwk = jwk_encode(spki(key))
        assert jwk["crv"] == f"P-{curve.key_size}"
        assert jwk_decode(jwk) == spki(key)

    @pytest.mark.parametrize(("exponent", "size"), [(3, 1), (65537, 3), (65559, 3), (2**55 - 1, 7)])
    def test_rsa(self, exponent: int, size: int) -> None:
        """Modulus and exponent are those of the key, in as many bytes as they need."""
        modulus = 2**2048 - 1
        numbers = rsa.RSAPublicNumbers(exponent, modulus)
        encoded = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        jwk = jwk_encode(encoded)
        assert jwk == {
            "kty": "RSA",
            "n": base64url(modulus, 256),
            "e": base64url(exponent, size),
        }
        assert jwk_decode(jwk) == encoded

    def test_sm2_has_none(self) -> None:
        """No curve name is registered for SM2, and none is made up."""
        with pytest.raises(Unsupported, match="no curve name is registered"):
            jwk_encode(sm2_public_key(SM2_GENERATOR))

    @pytest.mark.parametrize(
        ("changes", "error", "told"),
        [
            ({"d": "AQ"}, InvalidRequest, "private key"),
            ({"kty": "oct", "k": "AQ"}, InvalidRequest, "private key"),
            ({"kty": "oct"}, Unsupported, "kind of JWK"),
            ({"crv": "P-521"}, Unsupported, "kind of JWK"),
            ({"crv": ["P-256"]}, Unsupported, "kind of JWK"),
            ({"crv": "Ed25519"}, Unsupported, "kind of JWK"),
            ({"kty": "OKP", "crv": "Ed448"}, Unsupported, "kind of JWK"),
            (
                {"kty": "OKP", "crv": "Ed25519", "x": "A" * 42},
                InvalidRequest,
                "'x' of the JWK has 31",
            ),
            ({"y": "A" * 42}, InvalidRequest, "'y' of the JWK has 31 bytes"),
            ({"crv": "P-384"}, InvalidRequest, "has 32 bytes"),
            ({"x": None}, InvalidRequest, "missing or no string"),
            ({"x": "A" * 43}, InvalidRequest, "not on the curve"),
            ({"x": ec_jwk["x"] + "="}, InvalidRequest, "base64url"),
            ({"x": ec_jwk["x"] + "\n"}, InvalidRequest, "base64url"),
            ({"x": "é" * 43}, InvalidRequest, "base64url"),
            ({"x": "A"}, InvalidRequest, "base64url"),
            ({"x": "AB"}, InvalidRequest, "canonical"),
        ],
    )
    def test_refused(self, changes: dict[str, object], error: type[KmsError], told: str) -> None:
        """Private keys, other kinds and sloppy encodings are refused."""
        with pytest.raises(error, match=told):
            jwk_decode({**self.ec_jwk, **changes})

    @pytest.mark.parametrize("size", [31, 33])
    def test_coordinates_that_share_their_bytes_otherwise(self, size: int) -> None:
        """Each coordinate has its own length, also where both together have the right one."""
        key = ec.generate_private_key(ec.SECP256R1())
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
        x, y = (
            urlsafe_b64encode(part).decode().rstrip("=") for part in (point[:size], point[size:])
        )
        with pytest.raises(InvalidRequest, match=f"'x' of the JWK has {size} bytes"):
            jwk_decode({"kty": "EC", "crv": "P-256", "x": x, "y": y})

    @pytest.mark.parametrize("number", ["", "AAEAAQ"])
    def test_rsa_numbers(self, number: str) -> None:
        """Numbers have no leading zeros (RFC 7518, 2)."""
        with pytest.raises(InvalidRequest, match="zero byte"):
            jwk_decode({**self.rsa_jwk, "e": number})

    def test_optional_members(self) -> None:
        """What the key is for is ignored."""
        key = {**self.rsa_jwk, "use": "sig", "kid": "1", "alg": "PS256", "key_ops": ["verify"]}
        assert jwk_decode(key) == jwk_decode(self.rsa_jwk)

    def test_other_types(self) -> None:
        """JSON text is no mapping."""
        with pytest.raises(InvalidRequest, match="is a str"):
            jwk_decode("{}")  # type: ignore[arg-type]  # a caller's mistake

    @given(st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e"]), st.text()))
    def test_bad_members(self, jwk: dict[str, str]) -> None:
        """Any members are a key, or refused."""
        for kind in ("RSA", "EC", "OKP"):
            with pytest.raises((InvalidRequest, Unsupported)):
                jwk_decode({**jwk, "kty": kind})
