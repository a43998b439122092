"""What every SM2 engine must pass before its first use: known answers, then round trips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kmscore.errors import KmsError, Unsupported
from kmscore.sm2.digest import sm3
from kmscore.sm2.engine import Engine

# GM/T 0004-2012, annex A.1.
_SM3_OF_ABC: Final = bytes.fromhex(
    "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
)

# GM/T 0003.5-2012 (= GB/T 32918.5-2017), annexes A.2 and C.2, in the layouts of GM/T 0009-2012.
_D: Final = bytes.fromhex("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8")
_PUBLIC: Final = bytes.fromhex(
    "3059301306072a8648ce3d020106082a811ccf5501822d03420004"
    "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
_E: Final = bytes.fromhex("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640")
_SIGNATURE: Final = bytes.fromhex(
    "3046022100f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "022100b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)
_PLAINTEXT: Final = b"encryption standard"
_CIPHERTEXT: Final = bytes.fromhex(
    "307c022004ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e149a73"
    "022100e858f9d81e5430a57b36daab8f950a3c64e6ee6a63094d99283aff767e124df0"
    "042059983c18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd8766"
    "041321886ca989ca9c7d58087307ca93092d651efa"
)


def check(engine: Engine) -> Engine:
    """Run the test; returns the engine.

    Raises:
        Unsupported: The engine is not fit for use.
    """
    try:
        for step, passed in _steps(engine):
            if not passed:
                raise _unfit(engine, f"it cannot {step}")
    except Unsupported:
        raise
    except KmsError as error:
        raise _unfit(engine, error.message) from error
    return engine


def _steps(engine: Engine) -> Iterator[tuple[str, bool]]:
    private, public = engine.private_key(_D), engine.public_key(_PUBLIC)
    yield "derive a public key", private.public_key == _PUBLIC
    yield "digest with SM3", sm3(b"abc") == _SM3_OF_ABC
    yield "verify", public.verify(_E, _SIGNATURE)
    yield "refuse a wrong signature", not public.verify(_E[::-1], _SIGNATURE)
    yield "decrypt", private.decrypt(_CIPHERTEXT) == _PLAINTEXT
    yield "sign", public.verify(_E, private.sign(_E))
    yield "encrypt", private.decrypt(public.encrypt(_PLAINTEXT)) == _PLAINTEXT


def _unfit(engine: Engine, reason: str) -> Unsupported:
    return Unsupported(
        f"{engine.description} failed the self-test of SM2: {reason}",
        hint="It is not used; another version may be better",
    )
