"""Key pairs: public keys, decryption, signatures."""

from __future__ import annotations

from typing import Any, Final

from kmscore.algorithms import KeySpec, KeyUsage, SigningAlgorithm
from kmscore.errors import KeyUsageMismatch
from kmscore.signing import Digest, Message, Signable
from kmscore_server import errors
from kmscore_server.actions.symmetric import encoded
from kmscore_server.api import ApiError, Call
from kmscore_server.fields import KEY, Field, base64_data, choice
from kmscore_server.keyring import Held
from kmscore_server.service import Context, table
from kmscore_server.vocabulary import RSA_ENCRYPTION, SIGNING_ALGORITHMS

MAX_MESSAGE: Final = 4096
MAX_SM2_CIPHERTEXT: Final = 256
RAW: Final = "RAW"


def public_key(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """The public half of a key pair, as DER and as PEM."""
    held = api.keys.use(call, given["KeyId"])
    key = held.key.public_key()
    return {"KeyId": held.row.key_id, "PublicKey": encoded(key.der), "PublicKeyPem": key.pem()}


def _decrypting(api: Context, call: Call, given: dict[str, Any], *, sm2: bool) -> Held:
    held = api.keys.use(call, given["KeyId"])
    key = held.key
    if key.usage is not KeyUsage.ASYMMETRIC_DECRYPT or (key.spec is KeySpec.SM2) is not sm2:
        raise KeyUsageMismatch(f"a key for {held.usage} cannot do that")
    return held


def rsa_decrypt(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Decrypt what was encrypted for an RSA key."""
    held = _decrypting(api, call, given, sm2=False)
    algorithm = RSA_ENCRYPTION[given["Algorithm"]]
    plaintext = held.key.decrypt(given["Ciphertext"], algorithm=algorithm)
    return {"KeyId": held.row.key_id, "Plaintext": encoded(plaintext)}


def sm2_decrypt(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Decrypt what was encrypted for an SM2 key, in DER."""
    held = _decrypting(api, call, given, sm2=True)
    plaintext = held.key.decrypt(given["Ciphertext"])
    return {"KeyId": held.row.key_id, "Plaintext": encoded(plaintext)}


def sign(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Sign a message or its digest."""
    held, algorithm, data = _signing(api, call, given)
    return {"Signature": encoded(held.key.sign(data, algorithm=algorithm))}


def verify(api: Context, call: Call, given: dict[str, Any]) -> dict[str, Any]:
    """Whether a signature is right; one of the wrong form is not."""
    held, algorithm, data = _signing(api, call, given)
    signature: bytes = given["SignatureValue"]
    return {"SignatureValid": held.key.verify(data, signature, algorithm=algorithm)}


def _signing(
    api: Context, call: Call, given: dict[str, Any]
) -> tuple[Held, SigningAlgorithm, Signable]:
    held = api.keys.use(call, given["KeyId"])
    held.key.require_usage(KeyUsage.SIGN_VERIFY, "sign")
    algorithm = SIGNING_ALGORITHMS[given["Algorithm"]]
    kind = api.kms.capabilities.find(held.key.spec, held.key.usage)
    if kind is None or algorithm not in kind.algorithms:
        raise ApiError(
            errors.value_code(call.action),
            f"Algorithm {given['Algorithm']} is none of a key for {held.usage}",
        )
    content: bytes = given["Message"]
    if given["MessageType"] in ("", RAW):
        return held, algorithm, Message(content)
    digest = algorithm.digest
    if digest is None or len(content) != digest.size:
        raise ApiError(
            errors.value_code(call.action),
            f"Message must be a digest of {digest.size if digest else 32} bytes",
        )
    return held, algorithm, Digest(content, digest)


_SIGNING: Final = (
    KEY,
    Field("Algorithm", choice(SIGNING_ALGORITHMS), required=True),
    Field("Message", base64_data(0, MAX_MESSAGE), required=True),
    Field("MessageType", choice(("", RAW, "DIGEST")), default=RAW),
)

ACTIONS: Final = table(
    ("GetPublicKey", [KEY], public_key),
    (
        "AsymmetricRsaDecrypt",
        [
            KEY,
            Field("Ciphertext", base64_data(1, 1024), required=True),
            Field("Algorithm", choice(RSA_ENCRYPTION), required=True),
        ],
        rsa_decrypt,
    ),
    (
        "AsymmetricSm2Decrypt",
        [KEY, Field("Ciphertext", base64_data(1, MAX_SM2_CIPHERTEXT), required=True)],
        sm2_decrypt,
    ),
    ("SignByAsymmetricKey", _SIGNING, sign),
    (
        "VerifyByAsymmetricKey",
        [*_SIGNING, Field("SignatureValue", base64_data(0, 1024), required=True)],
        verify,
    ),
)
