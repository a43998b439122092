"""What goes wrong in a call to a token, and what it means."""

from __future__ import annotations

from typing import Final

from pkcs11.exceptions import PKCS11Error

from kmscore.errors import KmsError, Unavailable
from kmscore_pkcs11._errors import code_of, from_code, needs_self_check, translate
from kmscore_pkcs11._native import NativeError

FAILURES: Final = (PKCS11Error, NativeError)
"""What a call to a token fails with."""

_OF_INIT: Final = frozenset({0x07, 0x63, 0x68, 0x70, 0x71})
"""What a token says when an operation begins, rather than later: of the mechanism and the key."""

_INIT_OF: Final = {
    "C_Decrypt": "C_DecryptInit",
    "C_Encrypt": "C_EncryptInit",
    "C_Sign": "C_SignInit",
}


class Doubtful(Unavailable):
    """A token failed to open something and does not say why: a trial tells whose fault it is.

    It never leaves the provider.
    """

    def judged(self, *, token_works: bool, fault: KmsError) -> KmsError:
        """What it means: the fault of what was to be opened when the token works."""
        return fault if token_works else Unavailable(self.message, hint=self.hint, code=self.code)


def code_of_failure(error: BaseException) -> int | None:
    """The CK_RV behind a failure."""
    return error.code if isinstance(error, NativeError) else code_of(error)


def explain(error: BaseException, function: str) -> KmsError:
    """The error of kmscore for a failure; to be raised from it.

    Args:
        error: What the binding raised, or a function returned.
        function: The function that was called, where the binding does not say. It means the one
            that begins the operation, too.
    """
    code = code_of_failure(error)
    if code is None:
        return translate(error, function)
    if isinstance(error, NativeError):
        function = error.function
    is_doubtful = needs_self_check(code, function)
    if not isinstance(error, NativeError) and code in _OF_INIT:
        function = _INIT_OF.get(function, function)
    meant = from_code(code, function)
    if is_doubtful:
        return Doubtful(meant.message, hint=meant.hint, code=meant.code)
    return meant
