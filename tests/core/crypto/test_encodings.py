"""The converters: exact on good input, and nothing but InvalidRequest or Unsupported on bad."""

from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st

from kmscore.algorithms import KeySpec
from kmscore.encodings import (
    SM2CiphertextFormat,
    der,
    pem_decode,
    pem_encode,
    signature_from_raw,
    signature_to_raw,
    sm2_ciphertext_convert,
    sm2_point,
    sm2_public_key,
    spec_of_public_key,
)
from kmscore.encodings.curves import SM2_GENERATOR
from kmscore.encodings.signature import signature_integers
from kmscore.encodings.spki import EC_ALGORITHMS, EC_CURVES, ED25519, RSA_ENCRYPTION, spki_encode
from kmscore.errors import InvalidRequest, KmsError, Unsupported

NUMBERS = st.integers(min_value=0, max_value=2**400)
SM2_SPKI = sm2_public_key(SM2_GENERATOR)


@asn1.sequence
class Pair:
    """SEQUENCE {INTEGER, INTEGER}, for somebody else's DER."""

    r: int
    s: int


@asn1.sequence
class Cipher:
    """SM2Cipher of GM/T 0009-2012, for somebody else's DER."""

    x: int
    y: int
    c3: bytes
    c2: bytes


def spki(key: Any) -> bytes:
    """SubjectPublicKeyInfo of a private key of `cryptography`."""
    encoded: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def damaged(valid: bytes) -> st.SearchStrategy[bytes]:
    """A valid encoding with some bytes replaced, cut out or put in."""

    def damage(edits: list[tuple[int, int, bytes]]) -> bytes:
        data = bytearray(valid)
        for start, length, new in edits:
            at = start % (len(data) + 1)
            data[at : at + length] = new
        return bytes(data)

    edit = st.tuples(st.integers(0, len(valid)), st.integers(0, 2), st.binary(max_size=2))
    return st.lists(edit, max_size=3).map(damage)


class TestSignatures:
    """DER and r ‖ s."""

    @given(NUMBERS, NUMBERS)
    def test_der_is_what_others_write(self, r: int, s: int) -> None:
        """DER of any two integers is byte for byte that of `cryptography`."""
        size = max(r.bit_length(), s.bit_length(), 1) // 8 + 1
        raw = r.to_bytes(size, "big") + s.to_bytes(size, "big")
        encoded = signature_from_raw(raw)
        assert encoded == encode_dss_signature(r, s)
        assert signature_to_raw(encoded, size) == raw

    @given(st.one_of(damaged(encode_dss_signature(2**255, 127)), st.binary(max_size=80)))
    @example(bytes.fromhex("30060201ff020101"))
    @example(bytes.fromhex("300702020001020101"))
    def test_der_is_read_as_strictly_as_by_others(self, data: bytes) -> None:
        """What `cryptography` accepts is accepted, without negative numbers; all else is not."""
        expected: tuple[int, int] | None
        try:
            pair = asn1.decode_der(Pair, data)
            expected = (pair.r, pair.s) if min(pair.r, pair.s) >= 0 else None
        except ValueError:
            expected = None
        try:
            found = signature_integers(data)
        except InvalidRequest:
            found = None
        assert found == expected

    @pytest.mark.parametrize("size", [32, 48])
    def test_sizes(self, size: int) -> None:
        """The largest integers of a curve fit; one more bit does not."""
        most = 2 ** (8 * size) - 1
        assert signature_to_raw(encode_dss_signature(most, 0), size) == b"\xff" * size + bytes(size)
        with pytest.raises(InvalidRequest, match=f"more than {size} bytes"):
            signature_to_raw(encode_dss_signature(1, most + 1), size)

    @pytest.mark.parametrize("length", [0, 1, 63, 65, 96])
    def test_raw_of_another_length(self, length: int) -> None:
        """Raw signatures are as long as the curve says."""
        with pytest.raises(InvalidRequest):
            signature_from_raw(bytes(length), 32)

    def test_raw_of_the_right_length(self) -> None:
        """The size may be said, and is half of the length."""
        raw = bytes(31) + b"\x01" + bytes(31) + b"\x02"
        assert signature_from_raw(raw, 32) == signature_from_raw(raw) == encode_dss_signature(1, 2)

    def test_raw_of_odd_length(self) -> None:
        """Without a size, both halves must still be the same."""
        with pytest.raises(InvalidRequest, match="63 bytes"):
            signature_from_raw(bytes(63))

    def test_a_size_that_is_no_number(self) -> None:
        """By callers without a type checker."""
        sizes: list[Any] = ["32", 32.0, {}]
        for wrong in sizes:
            with pytest.raises(InvalidRequest, match="size is a"):
                signature_from_raw(bytes(64), wrong)
            with pytest.raises(InvalidRequest, match="size is a"):
                signature_to_raw(signature_from_raw(bytes(64)), wrong)

    def test_text_is_refused(self) -> None:
        """Hex is not decoded by guess."""
        with pytest.raises(InvalidRequest, match="is a str"):
            signature_to_raw("3006020101020101", 32)  # type: ignore[arg-type]  # a caller's mistake


class TestDer:
    """The writer's lengths and object identifiers."""

    @pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
    def test_lengths(self, size: int) -> None:
        """Short and long lengths are those of `cryptography`, and are read back."""
        encoded = der.octet_string(bytes(size))
        assert encoded == asn1.encode_der(bytes(size))
        reader = der.Reader(encoded, "octets")
        assert reader.octet_string() == bytes(size)
        reader.end()

    @pytest.mark.parametrize(
        "data",
        ["0480", "04810100", "04820080" + 128 * "00", "0484ffffffff", "04ff", "0405aa", "04", "02"],
        ids=["indefinite", "long", "padded", "huge", "reserved", "short", "tag", "other"],
    )
    def test_other_lengths(self, data: str) -> None:
        """Indefinite, long, padded and false lengths are no DER."""
        with pytest.raises(InvalidRequest, match="strict DER"):
            der.Reader(bytes.fromhex(data), "octets").octet_string()

    @pytest.mark.parametrize(
        ("dotted", "encoded"),
        [
            ("1.2.840.113549", "06062a864886f70d"),
            ("2.5.4.3", "0603550403"),
            ("1.2.156.10197.1.301", "06082a811ccf5501822d"),
            ("1.2.128.16384", "06062a8100818000"),
        ],
    )
    def test_object_identifiers(self, dotted: str, encoded: str) -> None:
        """Each arc in as few groups of seven bits as possible, the first two in one."""
        assert der.object_identifier(dotted) == bytes.fromhex(encoded)

    def test_nothing_left_to_read(self) -> None:
        """An element that is not there is not read."""
        with pytest.raises(InvalidRequest):
            der.Reader(b"", "key").element()

    @pytest.mark.parametrize("data", ["0300", "03020780"], ids=["empty", "unused bits"])
    def test_bit_strings(self, data: str) -> None:
        """Bit strings hold whole bytes."""
        with pytest.raises(InvalidRequest):
            der.Reader(bytes.fromhex(data), "key").bit_string()


class TestSM2Ciphertext:
    """Five forms, and no guessing."""

    x, y = int.from_bytes(SM2_GENERATOR[:32], "big"), int.from_bytes(SM2_GENERATOR[32:], "big")
    bare = SM2_GENERATOR + b"3" * 32 + b"two"
    encoded = asn1.encode_der(Cipher(x=x, y=y, c3=b"3" * 32, c2=b"two"))

    @given(st.binary(min_size=1, max_size=4096))
    def test_der_is_what_others_write(self, c2: bytes) -> None:
        """DER is byte for byte that of `cryptography`, for every length of C2."""
        raw = SM2_GENERATOR + b"3" * 32 + c2
        found = sm2_ciphertext_convert(
            raw, SM2CiphertextFormat.C1C3C2_BARE, SM2CiphertextFormat.DER
        )
        assert found == asn1.encode_der(Cipher(x=self.x, y=self.y, c3=b"3" * 32, c2=c2))

    @given(st.one_of(damaged(encoded), damaged(b"\x04" + bare), damaged(bare)))
    def test_bad_bytes(self, data: bytes) -> None:
        """Damaged bytes are refused in every form, or are a ciphertext that comes back the same."""
        for source in SM2CiphertextFormat:
            for target in SM2CiphertextFormat:
                try:
                    converted = sm2_ciphertext_convert(data, source, target)
                except InvalidRequest:
                    continue
                assert sm2_ciphertext_convert(converted, target, source) == data

    def test_layout(self) -> None:
        """C3 and C2 change places, and the 04 comes and goes."""
        forms = {
            SM2CiphertextFormat.DER: self.encoded,
            SM2CiphertextFormat.C1C3C2: b"\x04" + self.bare,
            SM2CiphertextFormat.C1C2C3: b"\x04" + SM2_GENERATOR + b"two" + b"3" * 32,
            SM2CiphertextFormat.C1C3C2_BARE: self.bare,
            SM2CiphertextFormat.C1C2C3_BARE: SM2_GENERATOR + b"two" + b"3" * 32,
        }
        for form, data in forms.items():
            assert sm2_ciphertext_convert(self.encoded, SM2CiphertextFormat.DER, form) == data
            assert sm2_ciphertext_convert(data, form, SM2CiphertextFormat.DER) == self.encoded

    def test_names_of_forms(self) -> None:
        """Forms go by name too, and other names are refused."""
        assert sm2_ciphertext_convert(self.bare, "c1c3c2-bare", "DER") == self.encoded
        with pytest.raises(InvalidRequest, match="form of an SM2 ciphertext 'C1'"):
            sm2_ciphertext_convert(self.bare, "C1", "DER")

    def test_the_form_is_not_guessed(self) -> None:
        """The same bytes under another name of form are refused."""
        with pytest.raises(InvalidRequest, match="begins with the byte 04"):
            sm2_ciphertext_convert(self.bare, SM2CiphertextFormat.C1C3C2, SM2CiphertextFormat.DER)

    @pytest.mark.parametrize("size", [0, 4097])
    def test_sizes(self, size: int) -> None:
        """C2 has 1 to 4096 bytes."""
        data = SM2_GENERATOR + bytes(32) + bytes(size)
        with pytest.raises(InvalidRequest):
            sm2_ciphertext_convert(data, SM2CiphertextFormat.C1C3C2_BARE, SM2CiphertextFormat.DER)

    def test_no_c2_in_der(self) -> None:
        """DER could hold an empty C2, and is refused with it."""
        data = asn1.encode_der(Cipher(x=self.x, y=self.y, c3=bytes(32), c2=b""))
        with pytest.raises(InvalidRequest, match="wrong length"):
            sm2_ciphertext_convert(data, SM2CiphertextFormat.DER, SM2CiphertextFormat.C1C3C2)

    def test_the_longest(self) -> None:
        """4096 bytes of C2 are there and come back."""
        data = SM2_GENERATOR + bytes(32) + bytes(4096)
        found = sm2_ciphertext_convert(data, SM2CiphertextFormat.C1C3C2_BARE, "DER")
        assert sm2_ciphertext_convert(found, "DER", SM2CiphertextFormat.C1C3C2_BARE) == data

    @pytest.mark.parametrize("size", [0, 31, 33])
    def test_size_of_c3(self, size: int) -> None:
        """C3 has 32 bytes, also in DER, where it could have others."""
        data = asn1.encode_der(Cipher(x=self.x, y=self.y, c3=bytes(size), c2=b"two"))
        with pytest.raises(InvalidRequest, match="wrong length"):
            sm2_ciphertext_convert(data, SM2CiphertextFormat.DER, SM2CiphertextFormat.C1C3C2)

    def test_empty(self) -> None:
        """No bytes are no ciphertext."""
        with pytest.raises(InvalidRequest, match="empty"):
            sm2_ciphertext_convert(b"", SM2CiphertextFormat.C1C3C2, SM2CiphertextFormat.DER)


class TestSM2PublicKeys:
    """Points and SubjectPublicKeyInfo."""

    def test_64_and_65_bytes(self) -> None:
        """A point is taken with and without the 04, and comes back without."""
        assert sm2_public_key(b"\x04" + SM2_GENERATOR) == SM2_SPKI
        assert sm2_point(SM2_SPKI) == SM2_GENERATOR

    @pytest.mark.parametrize(
        "point",
        [SM2_GENERATOR[:63], b"\x06" + SM2_GENERATOR, b"\x02" + SM2_GENERATOR[:32], bytes(64)],
        ids=["short", "hybrid", "compressed", "off the curve"],
    )
    def test_other_points(self, point: bytes) -> None:
        """Short, hybrid, compressed and off-curve points are refused."""
        with pytest.raises(InvalidRequest):
            sm2_public_key(point)

    def test_another_kind(self) -> None:
        """A P-256 key is no SM2 key."""
        key = spki(ec.generate_private_key(ec.SECP256R1()))
        with pytest.raises(InvalidRequest, match="not an SM2 key"):
            sm2_point(key)


class TestKindsOfPublicKeys:
    """`spec_of_public_key`."""

    @pytest.mark.parametrize(
        ("key", "spec"),
        [
            (rsa.generate_private_key(65537, 2048), KeySpec.RSA_2048),
            (rsa.generate_private_key(3, 3072), KeySpec.RSA_3072),
            (ec.generate_private_key(ec.SECP256R1()), KeySpec.EC_P256),
            (ec.generate_private_key(ec.SECP384R1()), KeySpec.EC_P384),
            (ed25519.Ed25519PrivateKey.generate(), KeySpec.ED25519),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_kinds(self, key: Any, spec: KeySpec) -> None:
        """Keys of `cryptography` are known for what they are."""
        assert spec_of_public_key(spki(key)) is spec

    def test_sm2(self) -> None:
        """So are SM2 keys."""
        assert spec_of_public_key(SM2_SPKI) is KeySpec.SM2

    @pytest.mark.parametrize(
        ("key", "told"),
        [
            (rsa.generate_private_key(65537, 2560), "2560 bits"),
            (ec.generate_private_key(ec.SECP521R1()), "not supported"),
            (ec.generate_private_key(ec.SECP256K1()), "not supported"),
            (ed448.Ed448PrivateKey.generate(), "not supported"),
            (x25519.X25519PrivateKey.generate(), "not supported"),
        ],
        ids=["RSA-2560", "P-521", "secp256k1", "Ed448", "X25519"],
    )
    def test_other_kinds(self, key: Any, told: str) -> None:
        """Weak and unused kinds are unsupported, and that is said."""
        with pytest.raises(Unsupported, match=told):
            spec_of_public_key(spki(key))

    @pytest.mark.parametrize(
        ("modulus", "exponent", "error"),
        [
            (2**2047, 65537, InvalidRequest),
            (2**2047 + 1, 65536, InvalidRequest),
            (2**2047 + 1, 1, InvalidRequest),
            (2**2047 + 1, 2**64 + 1, Unsupported),
            (2**2046 + 1, 65537, Unsupported),
            (2**1023 + 1, 65537, Unsupported),
        ],
        ids=["even modulus", "even exponent", "exponent 1", "huge exponent", "2047", "1024"],
    )
    def test_rsa_numbers(self, modulus: int, exponent: int, error: type[KmsError]) -> None:
        """RSA numbers that cannot be or cost the verifier dear are refused."""
        numbers = der.sequence(der.integer(modulus), der.integer(exponent))
        with pytest.raises(error):
            spec_of_public_key(spki_encode(RSA_ENCRYPTION, numbers))

    def test_the_largest_exponent(self) -> None:
        """A public exponent of 64 bits is the last that is taken."""
        numbers = der.sequence(der.integer(2**2047 + 1), der.integer(2**64 - 1))
        assert spec_of_public_key(spki_encode(RSA_ENCRYPTION, numbers)) is KeySpec.RSA_2048

    @pytest.mark.parametrize("spec", EC_ALGORITHMS)
    def test_points_off_the_curve(self, spec: KeySpec) -> None:
        """A point of no curve, or of another one, is refused."""
        size = 48 if spec is KeySpec.EC_P384 else 32
        for point in (b"\x04" + bytes(2 * size), b"\x04" + b"\xff" * 2 * size):
            with pytest.raises(InvalidRequest, match="not on the curve"):
                spec_of_public_key(spki_encode(EC_ALGORITHMS[spec], point))

    @pytest.mark.parametrize("spec", EC_ALGORITHMS)
    def test_a_coordinate_that_is_written_as_the_modulus(self, spec: KeySpec) -> None:
        """A coordinate has one way to be written: 0 is not also p."""
        curve = EC_CURVES[spec]
        root = pow(curve.b, (curve.p + 1) // 4, curve.p)  # y where x is 0; p is 3 modulo 4
        point = b"\x04" + bytes(curve.size) + root.to_bytes(curve.size, "big")
        assert spec_of_public_key(spki_encode(EC_ALGORITHMS[spec], point)) is spec
        point = b"\x04" + curve.p.to_bytes(curve.size, "big") + root.to_bytes(curve.size, "big")
        with pytest.raises(InvalidRequest, match="not on the curve"):
            spec_of_public_key(spki_encode(EC_ALGORITHMS[spec], point))

    @pytest.mark.parametrize(
        "key",
        [
            bytes(31),
            b"\xff" * 32,
            b"\x02" + bytes(31),
            bytes(32),
            b"\x01" + bytes(31),
            (2**255 - 19).to_bytes(32, "little"),
        ],
        ids=["short", "too large", "no point", "order 4", "order 1", "order 4, written as p"],
    )
    def test_ed25519_points(self, key: bytes) -> None:
        """Bytes that are no point, and points of small order, are no Ed25519 keys."""
        with pytest.raises(InvalidRequest, match="Ed25519"):
            spec_of_public_key(spki_encode(ED25519, key))

    @pytest.mark.parametrize("sign", [0, 0x80])
    @pytest.mark.parametrize(
        "key",
        [
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        ],
    )
    def test_ed25519_points_of_both_signs(self, key: str, sign: int) -> None:
        """The public keys of RFC 8032, 7.1, and their negatives, which differ in the last bit."""
        point = bytearray.fromhex(key)
        point[31] |= sign
        assert spec_of_public_key(spki_encode(ED25519, bytes(point))) is KeySpec.ED25519

    @pytest.mark.parametrize(
        "valid",
        [
            SM2_SPKI,
            spki(rsa.generate_private_key(65537, 2048)),
            spki(ec.generate_private_key(ec.SECP384R1())),
            spki(ed25519.Ed25519PrivateKey.generate()),
        ],
        ids=["SM2", "RSA", "P-384", "Ed25519"],
    )
    @given(data=st.data())
    def test_bad_bytes(self, valid: bytes, data: st.DataObject) -> None:
        """Damaged keys raise nothing but errors of the tree."""
        with suppress(InvalidRequest, Unsupported):
            spec_of_public_key(data.draw(damaged(valid)))

    @given(st.binary(max_size=100))
    def test_any_bytes(self, data: bytes) -> None:
        """Bytes that never were a key are refused as no key."""
        with pytest.raises(InvalidRequest):
            spec_of_public_key(data)


class TestPem:
    """PEM."""

    @given(st.binary(min_size=1, max_size=500))
    def test_round_trip(self, data: bytes) -> None:
        """Any bytes survive, also with CR LF and white space around."""
        text = pem_encode(data)
        assert pem_decode(text) == data
        assert pem_decode(text.encode()) == data
        assert pem_decode("\n" + text.replace("\n", "\r\n") + "\n") == data

    def test_is_what_others_write(self) -> None:
        """The text is that of `cryptography`."""
        key = rsa.generate_private_key(65537, 2048)
        text = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        assert pem_encode(spki(key)).encode() == text
        assert pem_decode(text) == spki(key)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "not one PEM block"),
            ("MAA=", "not one PEM block"),
            ("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----", "not one PEM block"),
            ("hello\n-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----", "not one"),
            ("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", "empty"),
            ("-----BEGIN PUBLIC KEY-----", "not one PEM block"),
            ("-----BEGIN PUBLIC KEY-----\nMAA\n-----END PUBLIC KEY-----", "not base64"),
            ("-----BEGIN PUBLIC KEY-----\nM A A=\n-----END PUBLIC KEY-----", "not base64"),
            ("-----BEGIN PUBLIC KEY-----\nMAAé\n-----END PUBLIC KEY-----", "not base64"),
            ("-----BEGIN PUBLIC KEY-----\nMAB=\n-----END PUBLIC KEY-----", "not canonical"),
            (pem_encode(b"1") + pem_encode(b"2"), "not base64"),
            (b"\xff\xfe", "not one PEM block"),
        ],
    )
    def test_refused(self, text: str | bytes, told: str) -> None:
        """Other labels, other text, several blocks and sloppy base64 are refused."""
        with pytest.raises(InvalidRequest, match=told):
            pem_decode(text)

    def test_other_types(self) -> None:
        """A path is no PEM."""
        with pytest.raises(InvalidRequest, match="is a NoneType"):
            pem_decode(None)  # type: ignore[arg-type]  # a caller's mistake

    @given(st.one_of(st.text(max_size=200), damaged(pem_encode(b"data").encode())))
    def test_bad_text(self, text: str | bytes) -> None:
        """Any text is PEM, or refused."""
        with suppress(InvalidRequest):
            assert pem_decode(text)
