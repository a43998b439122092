"""Wrong material, again and again: it is refused, and nothing of it stays on the token.

3,000 times by `make stress`, a few here.
"""

import os
import sys

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kmscore.errors import CiphertextInvalid, ImportMaterialInvalid, ImportTokenExpired, KmsError
from tests.pkcs11.conftest import WITH_AES
from tests.pkcs11.other import ask

TRIES = int(os.environ.get("KMSCORE_STRESS_IMPORTS", "24"))
SHA_1 = hashes.SHA1()  # noqa: S303 - sound in OAEP
PADDINGS = {
    "RSAES_OAEP_SHA_256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSAES_OAEP_SHA_1": padding.OAEP(padding.MGF1(SHA_1), SHA_1, None),
    "RSAES_PKCS1_V1_5": padding.PKCS1v15(),
}


def wrapped(parameters, number):
    """Garbage of one kind or another; what is wrapped well is no AES-256 key."""
    public = load_der_public_key(parameters.public_key)
    assert isinstance(public, rsa.RSAPublicKey)
    size = (0, 1, 5, 15, 16, 17, 20, 24, 31, 33, 64, 150)[number % 12]
    return (
        b"\0" + os.urandom(255),
        public.encrypt(os.urandom(size), PADDINGS[parameters.wrapping]),
        os.urandom(number % 300),
    )[number % 3]


@pytest.mark.parametrize("token", WITH_AES, indirect=True)
def test_garbage_leaves_nothing_on_the_token(kms, token):
    """Whatever it is wrapped with; a wrapping key that saw too much of it goes, too."""
    before = ask(token, "objects")
    key = kms.create_key("AES_256", origin="EXTERNAL")
    wrappings = sorted(kms.capabilities.wrapping)
    parameters = key.import_parameters(wrappings[0])
    refused = 0
    for number in range(TRIES):
        try:
            key.import_material(wrapped(parameters, number), parameters.token)
        except ImportMaterialInvalid:
            refused += 1
        except ImportTokenExpired:
            parameters = key.import_parameters(wrappings[number % len(wrappings)])
        except KmsError as error:
            # Empty or far too long: told apart before it reaches the token.
            assert type(error).__name__ in ("InvalidRequest", "LimitExceeded"), repr(error)  # noqa: PT017
    assert refused > TRIES // 2
    assert key.describe().state == "PENDING_IMPORT"
    left = [each for each in ask(token, "objects") if each not in before]
    assert [each["label"] for each in left] in ([], [f"kms:{key.key_id}:wrapping"])
    material = os.urandom(32)
    parameters = key.import_parameters(wrappings[0])
    public = load_der_public_key(parameters.public_key)
    assert isinstance(public, rsa.RSAPublicKey)
    key.import_material(public.encrypt(material, PADDINGS[parameters.wrapping]), parameters.token)
    assert key.decrypt(key.encrypt(b"mine")) == b"mine"
    with pytest.raises(CiphertextInvalid):
        key.decrypt(b"garbage")
    left = [each for each in ask(token, "objects") if each not in before]
    # Import parameters are good for 24 hours, so their wrapping key stays.
    assert {each["label"] for each in left} == {f"kms:{key.key_id}:{n}" for n in (1, "wrapping")}
    assert not any(each["extractable"] for each in left)
    sys.stderr.write(f"{token.kind}: {refused} of {TRIES} refused\n")
