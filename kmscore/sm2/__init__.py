"""SM2: digital signatures and public-key encryption on the Chinese national curve (GM/T 0003-2012).

Keys are parsed once and used from any thread::

    engine = load_engine()
    key = engine.private_key(engine.generate())
    e = message_digest(b"message", DEFAULT_SM2_USER_ID, key.public_key)
    engine.public_key(key.public_key).verify(e, key.sign(e))
"""

from __future__ import annotations

from functools import cache

from kmscore.errors import ConfigError
from kmscore.sm2.digest import message_digest
from kmscore.sm2.engine import Engine, SM2PrivateKey, SM2PublicKey

__all__ = ["Engine", "SM2PrivateKey", "SM2PublicKey", "load_engine", "message_digest"]


def load_engine(name: str = "openssl", *, allow_insecure: bool = False) -> Engine:
    """The SM2 engine of that name; it has passed its self-test, and every call gives the same one.

    Args:
        name: ``openssl``, the libcrypto of this process, or ``gmssl``, the pure Python package:
            slow, and its timing depends on the private key.
        allow_insecure: Must be True for gmssl.

    Raises:
        ConfigError: There is no such engine, or it is insecure and that was not allowed.
        Unsupported: It does not work on this machine.
    """
    if name == "openssl":
        return _openssl()
    if name != "gmssl":
        raise ConfigError(f"there is no SM2 engine {name!r}", hint="Use openssl or gmssl")
    if not allow_insecure:
        raise ConfigError(
            "the SM2 engine gmssl is not safe: its timing gives private keys away",
            hint="Use openssl, or for tests say allow_insecure = true",
        )
    return _gmssl()


@cache
def _openssl() -> Engine:
    from kmscore.sm2.openssl import OpenSSLEngine
    from kmscore.sm2.selftest import check

    return check(OpenSSLEngine())


@cache
def _gmssl() -> Engine:
    from kmscore.sm2.gmssl import GmsslEngine
    from kmscore.sm2.selftest import check

    return check(GmsslEngine())
