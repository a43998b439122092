"""The footer of signed messages (suite 0x0578): read, never written.

Source: AWS Encryption SDK specification, "data-format/message-footer". The message carries the
signer's public key in its context, so the signature proves that header and body belong together,
not who wrote them.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any, Final

from kmscore.envelope.header import PUBLIC_KEY, Header
from kmscore.errors import IntegrityError

MAX_SIGNATURE: Final = 112


class Trailer:
    """Collects what was signed, then the signature, and checks it at the end."""

    def __init__(self, header: Header) -> None:
        from cryptography.hazmat.primitives.hashes import SHA384, Hash

        self._key = _public_key(header)
        self._hash = Hash(SHA384())
        self._footer = bytearray()

    def sign_over(self, data: bytes | bytearray | memoryview) -> None:
        """Add to what was signed."""
        self._hash.update(data)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Add to the footer.

        Raises:
            IntegrityError: The message goes on after it.
        """
        self._footer += data
        if len(self._footer) > 2 + self._size():
            raise IntegrityError("the message goes on after its signature")

    def verify(self) -> None:
        """Check the signature.

        Raises:
            IntegrityError: It is missing or wrong.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
        from cryptography.hazmat.primitives.hashes import SHA384

        if len(self._footer) < 2 or len(self._footer) != 2 + self._size():
            raise IntegrityError("the signature of the message is cut off")
        try:
            self._key.verify(
                bytes(self._footer[2:]), self._hash.finalize(), ECDSA(Prehashed(SHA384()))
            )
        except InvalidSignature as error:
            raise IntegrityError("the signature of the message is wrong") from error

    def _size(self) -> int:
        if len(self._footer) < 2:
            return MAX_SIGNATURE
        return int.from_bytes(self._footer[:2])


def _public_key(header: Header) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey

    text = dict(header.context.items).get(PUBLIC_KEY, "")
    try:
        return EllipticCurvePublicKey.from_encoded_point(
            SECP384R1(), b64decode(text, validate=True)
        )
    except (ValueError, binascii.Error) as error:
        raise IntegrityError("the message does not say who signed it") from error
