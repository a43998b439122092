"""Encodings of keys, signatures and ciphertexts, and converters between them.

At its boundary kmscore speaks one form of each: public keys are SubjectPublicKeyInfo in DER, ECDSA
and SM2 signatures DER, SM2 ciphertexts DER. Other forms are converted here, and a form is always
said, never guessed. Whatever bytes come in, the decoders raise InvalidRequest or Unsupported.
"""

from __future__ import annotations

from kmscore.encodings.pem import pem_decode, pem_encode
from kmscore.encodings.signature import signature_from_raw, signature_to_raw
from kmscore.encodings.sm2_ciphertext import SM2CiphertextFormat, sm2_ciphertext_convert
from kmscore.encodings.spki import sm2_point, sm2_public_key, spec_of_public_key

__all__ = [
    "SM2CiphertextFormat",
    "pem_decode",
    "pem_encode",
    "signature_from_raw",
    "signature_to_raw",
    "sm2_ciphertext_convert",
    "sm2_point",
    "sm2_public_key",
    "spec_of_public_key",
]
