"""SM2 and SM4 by a vendor's numbers: used only if what comes of them is SM2 and SM4."""

import pytest
from kmscore_pkcs11._schemes import schemes_of

from kmscore.errors import Unsupported

AES_AS_SM4 = {"key_type": 0x1F, "key_generation": 0x1080, "gcm": 0x1087}
ECDSA_AS_SM2 = {"key_generation": 0x1040, "signing": 0x1041, "decryption": 0x1}
UNKNOWN_SM4 = {"key_type": 0x80000111, "key_generation": 0x80000111, "gcm": 0x80000117}
UNKNOWN_SM2 = {"key_generation": 0x80008001, "signing": 0x80008002}


@pytest.mark.parametrize("fixture", ["softhsm", "nss"])
@pytest.mark.parametrize("profile", [(ECDSA_AS_SM2, AES_AS_SM4), (UNKNOWN_SM2, UNKNOWN_SM4)])
def test_other_ciphers_are_not_taken_for_sm(connect, request, tmp_path, fixture, profile):
    """SoftHSM signs with a key on the SM2 curve, but it is ECDSA that it does."""
    sm2, sm4 = profile
    token = request.getfixturevalue(fixture)
    kms = connect(token, sm2=sm2, sm4=sm4)
    assert not {"SM2", "SM4"} & {str(kind.spec) for kind in kms.capabilities.keys}
    with pytest.raises(Unsupported):
        kms.create_key("SM4")
    details = kms.health().details
    assert details["SM4"].startswith("no: ")
    assert details["SM2DSA"].startswith("no: ")
    assert "profile of the vendor" not in details["SM2DSA"]
    assert kms.create_key("AES_256").encrypt(b"x")


def test_the_numbers_are_those_of_the_profile():
    """Also such as the binding has no name for; forms have the usual defaults."""
    schemes = schemes_of(
        {"key_type": 3, "decryption": None, "signature": "der", "ciphertext": "C1C2C3"}
        | UNKNOWN_SM2,
        UNKNOWN_SM4,
    )
    assert schemes.sm2 is not None
    assert int(schemes.sm2.generation) == 0x80008001
    assert schemes.sm2.decryption is None
    assert schemes.sm2.ciphertext == "C1C2C3"
    (sm2,) = (scheme for name, scheme in schemes.signing.items() if name == "SM2DSA")
    assert (int(sm2.mechanism), sm2.coordinate) == (0x80008002, 0)
    (sm4,) = (scheme for spec, scheme in schemes.secret.items() if spec == "SM4")
    assert (int(sm4.kind), sm4.gcm) == (0x80000111, 0x80000117)
