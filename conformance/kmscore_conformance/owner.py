"""The owner of key material, who wraps it for its journey with somebody else's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kmscore.algorithms import WrappingAlgorithm
from kmscore_conformance.outcome import Violation

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding

    from kmscore.key import Key
    from kmscore.spi import ImportParameters

_SHA_1: Final = hashes.SHA1()  # noqa: S303 - sound in OAEP (RFC 8017, B.1)

PADDINGS: Final[dict[str, AsymmetricPadding]] = {
    "RSAES_OAEP_SHA_256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSAES_OAEP_SHA_1": padding.OAEP(padding.MGF1(_SHA_1), _SHA_1, None),
    "RSAES_PKCS1_V1_5": padding.PKCS1v15(),
}
"""RFC 8017; MGF1 has the hash of the scheme."""


def wrapping_key(parameters: ImportParameters) -> rsa.RSAPublicKey:
    """The wrapping key, if it is RSA of 2048 bits or more.

    Raises:
        Violation: It is something else.
    """
    try:
        key = load_der_public_key(parameters.public_key)
    except ValueError as error:
        raise Violation("the wrapping key is no SubjectPublicKeyInfo in DER") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise Violation("the wrapping key is not RSA of 2048 bits or more")
    return key


def wrap(
    parameters: ImportParameters, material: bytes, wrapping: WrappingAlgorithm | None = None
) -> bytes:
    """Material under the wrapping key, as the parameters ask for, or in another way."""
    return wrapping_key(parameters).encrypt(material, PADDINGS[wrapping or parameters.wrapping])


def deliver(
    key: Key,
    material: bytes,
    wrapping: WrappingAlgorithm | None = None,
    *,
    valid_to: datetime | None = None,
) -> ImportParameters:
    """Fetch parameters, wrap, and hand in; what was used comes back."""
    chosen = wrapping or WrappingAlgorithm.RSAES_OAEP_SHA_256
    parameters = key.import_parameters(chosen)
    key.import_material(wrap(parameters, material), parameters.token, valid_to=valid_to)
    return parameters
