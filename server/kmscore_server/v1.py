"""Signatures of version 1: HmacSHA1 and HmacSHA256 over the parameters of a form or a query."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from kmscore_server.tc3 import host_forms

if TYPE_CHECKING:
    from kmscore_server.message import Head

METHODS: Final = {"HmacSHA1": hashlib.sha1, "HmacSHA256": hashlib.sha256}


def is_signed(head: Head, parameters: dict[str, str], secret: bytes) -> bool:
    """Whether the parameter ``Signature`` is that of the others.

    Args:
        head: The request's head.
        parameters: All parameters, decoded.
        secret: The secret key.
    """
    digest = METHODS.get(parameters.get("SignatureMethod", "HmacSHA1"))
    if digest is None:
        return False
    signed = {name.replace("_", "."): value for name, value in parameters.items()}
    given = signed.pop("Signature", "").encode("utf-8", "replace")
    text = "&".join(f"{name}={signed[name]}" for name in sorted(signed)).encode("utf-8")
    for host in host_forms(head.fields.get("host", "")):
        # Fields of the head are Latin-1, parameters are UTF-8.
        start = f"{head.method}{host}/?".encode("latin-1")
        expected = base64.b64encode(hmac.new(secret, start + text, digest).digest())
        if hmac.compare_digest(expected, given):
            return True
    return False
