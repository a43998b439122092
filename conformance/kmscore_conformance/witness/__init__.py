"""Somebody else's code: what verifies a provider's signatures, and encrypts for its keys.

A provider's own `verify` proves nothing: one that signs the wrong thing verifies the wrong thing.
"""

from __future__ import annotations

from functools import cache

from kmscore_conformance.witness.base import Witness

__all__ = ["Witness", "all_witnesses"]


@cache
def all_witnesses() -> tuple[Witness, ...]:
    """Every implementation of this machine, kmscore's own public-key code among them."""
    from kmscore_conformance.witness.core import Core
    from kmscore_conformance.witness.cryptography import Cryptography
    from kmscore_conformance.witness.gmssl import Gmssl
    from kmscore_conformance.witness.openssl import OpenSSL

    return (Core(), Cryptography(), OpenSSL(), Gmssl())
