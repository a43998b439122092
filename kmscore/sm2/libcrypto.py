"""The process's own libcrypto through ctypes: what SM2 needs of it, each function with its types.

It is the library that Python's `ssl` is linked with, so that no second OpenSSL comes into the
process and the system's updates apply. (`cryptography` carries an OpenSSL of its own, which it does
not let others use.)
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from collections.abc import Iterator
from ctypes import c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p
from importlib.util import find_spec
from typing import Any, Final

from kmscore.errors import Unsupported

HINT: Final = (
    "SM2 needs OpenSSL 3.0 or newer built with SM2, as Debian and Ubuntu have it; RHEL and Alpine "
    "leave it out. Use such a system, or a key store that does SM2 itself"
)

_CURSOR: Final = ctypes.POINTER(c_char_p)
_SIZE: Final = ctypes.POINTER(c_size_t)

# Result and arguments, as declared in crypto.h, err.h, evp.h and x509.h of OpenSSL 3.0. Some came
# with 3.0 (those with a library context), so that an older or other library is known by its lack.
FUNCTIONS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "OpenSSL_version": (c_char_p, (c_int,)),
    "ERR_clear_error": (None, ()),
    "ERR_peek_last_error": (c_ulong, ()),
    "EVP_PKEY_free": (None, (c_void_p,)),
    "EVP_PKEY_is_a": (c_int, (c_void_p, c_char_p)),
    "EVP_PKEY_get_octet_string_param": (c_int, (c_void_p, c_char_p, c_char_p, c_size_t, _SIZE)),
    "EVP_PKEY_CTX_new_from_pkey": (c_void_p, (c_void_p, c_void_p, c_char_p)),
    "EVP_PKEY_CTX_free": (None, (c_void_p,)),
    "EVP_PKEY_sign_init": (c_int, (c_void_p,)),
    "EVP_PKEY_sign": (c_int, (c_void_p, c_char_p, _SIZE, c_char_p, c_size_t)),
    "EVP_PKEY_verify_init": (c_int, (c_void_p,)),
    "EVP_PKEY_verify": (c_int, (c_void_p, c_char_p, c_size_t, c_char_p, c_size_t)),
    "EVP_PKEY_encrypt_init": (c_int, (c_void_p,)),
    "EVP_PKEY_encrypt": (c_int, (c_void_p, c_char_p, _SIZE, c_char_p, c_size_t)),
    "EVP_PKEY_decrypt_init": (c_int, (c_void_p,)),
    "EVP_PKEY_decrypt": (c_int, (c_void_p, c_char_p, _SIZE, c_char_p, c_size_t)),
    "d2i_AutoPrivateKey_ex": (c_void_p, (c_void_p, _CURSOR, c_long, c_void_p, c_char_p)),
    "d2i_PUBKEY_ex": (c_void_p, (c_void_p, _CURSOR, c_long, c_void_p, c_char_p)),
}


def load_libcrypto() -> tuple[ctypes.CDLL, str]:
    """The library, with the types of its functions set, and its version, as ``OpenSSL 3.0.19``.

    Raises:
        Unsupported: There is none of OpenSSL 3.0 or newer.
    """
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
            for name, (result, arguments) in FUNCTIONS.items():
                function = getattr(library, name)
                function.restype = result
                function.argtypes = arguments
        except (OSError, AttributeError):
            continue
        version: str = library.OpenSSL_version(0).decode()
        return library, " ".join(version.split()[:2])
    raise Unsupported("there is no OpenSSL 3.0 or newer on this machine", hint=HINT)


def _candidates() -> Iterator[str]:
    # The extension module behind `ssl` leads to the very libcrypto that Python is linked with.
    extension = find_spec("_ssl")
    if extension is not None and extension.origin is not None:
        yield extension.origin
    # Some builds of Python hide theirs inside. macOS ends a process that opens the system's.
    if sys.platform == "linux":
        system = ctypes.util.find_library("crypto")
        if system is not None:
            yield system
