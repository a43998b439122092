"""Known answers for SM2: the standard's examples, and keys and bytes made to break things."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kmscore.algorithms import KeySpec
from kmscore.encodings import (
    SM2CiphertextFormat,
    signature_from_raw,
    signature_to_raw,
    sm2_ciphertext_convert,
    sm2_public_key,
)
from kmscore.encodings.spki import EC_ALGORITHMS, spki_encode
from kmscore.errors import CiphertextInvalid, InvalidRequest
from kmscore.sm2 import Engine, message_digest

GM = Path(__file__).parents[3] / "conformance/kmscore_conformance/vectors"
STANDARD: dict[str, Any] = json.loads((GM / "sm2_gbt32918_5.json").read_text())
GENERATED: dict[str, Any] = json.loads((GM / "sm2_generated.json").read_text())
KEYS: dict[str, dict[str, str]] = {row["id"]: row for row in GENERATED["keys"]}

pytestmark = pytest.mark.vectors


def rows(name: str, having: str = "comment") -> pytest.MarkDecorator:
    """One test for each row of a list of the generated vectors that has a certain value."""
    listed: list[dict[str, Any]] = [row for row in GENERATED[name] if row.get(having) is not None]
    return pytest.mark.parametrize("row", listed, ids=[row["comment"] for row in listed])


def spki_of(key: str) -> bytes:
    """The public key of that name."""
    return bytes.fromhex(KEYS[key]["spki_der"])


def d_of(key: str) -> bytes:
    """The private key of that name."""
    return bytes.fromhex(KEYS[key]["private"])


def test_digest_of_the_standard() -> None:
    """Annex A.2: e for the message, the default id and the example's key."""
    signature = STANDARD["signature"]
    e = message_digest(
        bytes.fromhex(signature["message"]),
        signature["user_id_ascii"].encode(),
        bytes.fromhex(STANDARD["key"]["spki_der"]),
    )
    assert e.hex() == signature["e"]


def test_signature_of_the_standard(engine: Engine) -> None:
    """Annex A.2: the example's signature is right, and wrong for another digest."""
    key = engine.public_key(bytes.fromhex(STANDARD["key"]["spki_der"]))
    signature = bytes.fromhex(STANDARD["signature"]["signature_der"])
    e = bytes.fromhex(STANDARD["signature"]["e"])
    assert key.verify(e, signature)
    assert not key.verify(bytes([e[0] ^ 1, *e[1:]]), signature)


def test_ciphertext_of_the_standard(engine: Engine) -> None:
    """Annex C.2: the example's ciphertext opens."""
    key = engine.private_key(bytes.fromhex(STANDARD["key"]["private"]))
    plaintext = key.decrypt(bytes.fromhex(STANDARD["encryption"]["ciphertext_der"]))
    assert plaintext == b"encryption standard"


@rows("keys")
def test_awkward_keys(engine: Engine, row: dict[str, Any]) -> None:
    """Coordinates with zeros, fours and high bits, and the ends of the range: all are keys."""
    key = engine.private_key(bytes.fromhex(row["private"]), bytes.fromhex(row["spki_der"]))
    assert key.public_key.hex() == row["spki_der"]
    assert sm2_public_key(bytes.fromhex(row["public"])).hex() == row["spki_der"]
    public = engine.public_key(key.public_key)
    e = bytes(range(32))
    assert public.verify(e, key.sign(e))
    assert key.decrypt(public.encrypt(b"plaintext")) == b"plaintext"


@rows("signatures")
def test_valid_signatures(engine: Engine, row: dict[str, Any]) -> None:
    """Short integers, ids of every kind, messages of every length; DER and r ‖ s."""
    spki = spki_of(row["key"])
    e = message_digest(bytes.fromhex(row["message"]), bytes.fromhex(row["user_id"]), spki)
    signature = bytes.fromhex(row["signature_der"])
    assert engine.public_key(spki).verify(e, signature)
    assert signature_to_raw(signature, 32).hex() == row["signature_raw_rs"]
    assert signature_from_raw(bytes.fromhex(row["signature_raw_rs"])) == signature


@rows("invalid_signatures")
def test_invalid_signatures(engine: Engine, row: dict[str, Any]) -> None:
    """Out of range, not DER, of another message: False, never an error."""
    spki = spki_of(row["key"])
    e = message_digest(bytes.fromhex(row["message"]), bytes.fromhex(row["user_id"]), spki)
    assert engine.public_key(spki).verify(e, bytes.fromhex(row["signature_der"])) is False


@rows("invalid_signatures", having="signature_raw_rs")
def test_invalid_raw_signatures(engine: Engine, row: dict[str, Any]) -> None:
    """As r ‖ s they are refused by the converter, or still wrong."""
    spki = spki_of(row["key"])
    e = message_digest(bytes.fromhex(row["message"]), bytes.fromhex(row["user_id"]), spki)
    raw = bytes.fromhex(row["signature_raw_rs"])
    try:
        signature = signature_from_raw(raw, 32)
    except InvalidRequest:
        assert len(raw) != 64
    else:
        assert engine.public_key(spki).verify(e, signature) is False


@rows("ciphertexts")
def test_valid_ciphertexts(engine: Engine, row: dict[str, Any]) -> None:
    """1 to 1000 bytes, short coordinates: all open, and convert between all forms."""
    ciphertext = bytes.fromhex(row["ciphertext_der"])
    plaintext = engine.private_key(d_of(row["key"])).decrypt(ciphertext)
    assert plaintext.hex() == row["plaintext"]


@rows("ciphertexts")
def test_ciphertext_forms(row: dict[str, Any]) -> None:
    """The vectors' DER, C1C3C2 and C1C2C3 become each other, with and without the 04."""
    with_04 = {
        SM2CiphertextFormat.DER: bytes.fromhex(row["ciphertext_der"]),
        SM2CiphertextFormat.C1C3C2: bytes.fromhex(row["ciphertext_c1c3c2_with_04"]),
        SM2CiphertextFormat.C1C2C3: bytes.fromhex(row["ciphertext_c1c2c3_with_04"]),
    }
    forms = with_04 | {
        SM2CiphertextFormat.C1C3C2_BARE: with_04[SM2CiphertextFormat.C1C3C2][1:],
        SM2CiphertextFormat.C1C2C3_BARE: with_04[SM2CiphertextFormat.C1C2C3][1:],
    }
    for source, data in forms.items():
        for target, expected in forms.items():
            assert sm2_ciphertext_convert(data, source, target) == expected


@rows("invalid_ciphertexts")
def test_invalid_ciphertexts(engine: Engine, row: dict[str, Any]) -> None:
    """Whatever is wrong with a ciphertext, the answer is the same."""
    key = engine.private_key(d_of(row["key"]))
    with pytest.raises(CiphertextInvalid) as caught:
        key.decrypt(bytes.fromhex(row["ciphertext_der"]))
    assert str(caught.value) == str(CiphertextInvalid())


@rows("invalid_ciphertexts", having="ciphertext_c1c3c2_with_04")
def test_invalid_raw_ciphertexts(engine: Engine, row: dict[str, Any]) -> None:
    """In the raw form they are refused by the converter, or still do not open."""
    raw = row["ciphertext_c1c3c2_with_04"]
    key = engine.private_key(d_of(row["key"]))
    with pytest.raises((CiphertextInvalid, InvalidRequest)):
        key.decrypt(
            sm2_ciphertext_convert(
                bytes.fromhex(raw), SM2CiphertextFormat.C1C3C2, SM2CiphertextFormat.DER
            )
        )


@rows("invalid_keys", having="private")
def test_invalid_private_keys(engine: Engine, row: dict[str, Any]) -> None:
    """0, n - 1 and n are no private keys."""
    with pytest.raises(InvalidRequest, match="out of range"):
        engine.private_key(bytes.fromhex(row["private"]))


@rows("invalid_keys", having="public")
def test_invalid_public_keys(row: dict[str, Any]) -> None:
    """Points off the curve, out of range or at infinity are no public keys."""
    with pytest.raises(InvalidRequest):
        sm2_public_key(bytes.fromhex(row["public"]))


@rows("invalid_keys", having="public")
def test_invalid_public_keys_in_der(engine: Engine, row: dict[str, Any]) -> None:
    """Nor are they when they come as SubjectPublicKeyInfo."""
    spki = spki_encode(EC_ALGORITHMS[KeySpec.SM2], bytes.fromhex(row["public"]))
    with pytest.raises(InvalidRequest):
        engine.public_key(spki)


def test_n_minus_1_does_not_hang() -> None:
    """OpenSSL signs for ever with d = n - 1; here that key is refused at once."""
    program = (
        "from kmscore.sm2 import load_engine\n"
        "from kmscore.encodings.curves import SM2_ORDER\n"
        "load_engine().private_key((SM2_ORDER - 1).to_bytes(32, 'big')).sign(bytes(32))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], timeout=60, capture_output=True, text=True, check=False
    )
    assert "InvalidRequest: the SM2 private key is out of range" in run.stderr
