"""PKCS#11 as it comes: a thin layer that the tests use to see what a module really does.

It shares nothing with the provider, so that one of them can be wrong without the other.
"""

import ctypes
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ctypes import POINTER, Structure, byref, c_char_p, c_ubyte, c_ulong, c_void_p, cast
from pathlib import Path
from typing import Any, Self

OK = 0
USER, SO = 1, 0
CLASS, TOKEN, PRIVATE, LABEL, VALUE, KEY_TYPE, ID = 0x0, 0x1, 0x2, 0x3, 0x11, 0x100, 0x102
SENSITIVE, ENCRYPT, DECRYPT, WRAP, UNWRAP, SIGN = 0x103, 0x104, 0x105, 0x106, 0x107, 0x108
VERIFY, MODULUS_BITS, PUBLIC_EXPONENT, VALUE_LEN = 0x10A, 0x121, 0x122, 0x161
EXTRACTABLE, LOCAL, NEVER_EXTRACTABLE, EC_PARAMS, EC_POINT = 0x162, 0x163, 0x164, 0x180, 0x181
ALLOWED_MECHANISMS = 0x40000600
PUBLIC_KEY, PRIVATE_KEY, SECRET_KEY = 2, 3, 4
AES = 0x1F
RSA_KEY_PAIR_GEN, RSA_PKCS, RSA_X_509, RSA_OAEP, RSA_PSS = 0x0, 0x1, 0x3, 0x9, 0xD
SHA_1, SHA256, EC_KEY_PAIR_GEN, ECDSA = 0x220, 0x250, 0x1040, 0x1041
EC_EDWARDS_KEY_PAIR_GEN, EDDSA = 0x1055, 0x1057
AES_KEY_GEN, AES_GCM, AES_CBC_PAD, AES_KEY_WRAP = 0x1080, 0x1087, 0x1085, 0x2109

_FLAGS = frozenset(
    {TOKEN, PRIVATE, SENSITIVE, ENCRYPT, DECRYPT, WRAP, UNWRAP, SIGN, VERIFY, EXTRACTABLE, LOCAL}
    | {NEVER_EXTRACTABLE}
)
_NUMBERS = frozenset({CLASS, KEY_TYPE, VALUE_LEN, MODULUS_BITS})

# The function list: a version, then pointers in the order of pkcs11f.h (PKCS#11 2.40).
_ORDER = re.findall(
    r"\w+",
    """
Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo GetMechanismList
GetMechanismInfo InitToken InitPIN SetPIN OpenSession CloseSession CloseAllSessions GetSessionInfo
GetOperationState SetOperationState Login Logout CreateObject CopyObject DestroyObject GetObjectSize
GetAttributeValue SetAttributeValue FindObjectsInit FindObjects FindObjectsFinal EncryptInit Encrypt
EncryptUpdate EncryptFinal DecryptInit Decrypt DecryptUpdate DecryptFinal DigestInit Digest
DigestUpdate DigestKey DigestFinal SignInit Sign SignUpdate SignFinal SignRecoverInit SignRecover
VerifyInit Verify VerifyUpdate VerifyFinal VerifyRecoverInit VerifyRecover DigestEncryptUpdate
DecryptDigestUpdate SignEncryptUpdate DecryptVerifyUpdate GenerateKey GenerateKeyPair WrapKey
UnwrapKey DeriveKey SeedRandom GenerateRandom
""",
)


class Version(Structure):
    """CK_VERSION."""

    _fields_ = [("major", c_ubyte), ("minor", c_ubyte)]


class FunctionList(Structure):
    """CK_FUNCTION_LIST, as far as it is used."""

    _fields_ = [("version", Version), *((name, c_void_p) for name in _ORDER)]


GENERAL_ERROR = 0x05
BUSY_TRIES = 50
"""NSS does not open its database while another process is in the middle of a write."""


class InitArgs(Structure):
    """CK_C_INITIALIZE_ARGS with the string that NSS wants before the reserved pointer."""

    _fields_ = [
        *((name, c_void_p) for name in ("create", "destroy", "lock", "unlock")),
        ("flags", c_ulong),
        ("parameters", c_char_p),
        ("reserved", c_void_p),
    ]


class Info(Structure):
    """CK_INFO."""

    _fields_ = [
        ("cryptoki", Version),
        ("manufacturer", ctypes.c_char * 32),
        ("flags", c_ulong),
        ("description", ctypes.c_char * 32),
        ("version", Version),
    ]


class TokenInfo(Structure):
    """CK_TOKEN_INFO."""

    _fields_ = [
        ("label", c_ubyte * 32),
        ("manufacturer", c_ubyte * 32),
        ("model", c_ubyte * 16),
        ("serial", c_ubyte * 16),
        ("flags", c_ulong),
        *((f"count{number}", c_ulong) for number in range(10)),
        ("hardware", Version),
        ("firmware", Version),
        ("time", c_ubyte * 16),
    ]


class Attribute(Structure):
    """CK_ATTRIBUTE."""

    _fields_ = [("type", c_ulong), ("value", c_void_p), ("length", c_ulong)]


class Mechanism(Structure):
    """CK_MECHANISM."""

    _fields_ = [("type", c_ulong), ("parameter", c_void_p), ("length", c_ulong)]


class GcmParams(Structure):
    """CK_GCM_PARAMS."""

    _fields_ = [
        ("iv", c_char_p),
        ("iv_length", c_ulong),
        ("iv_bits", c_ulong),
        ("aad", c_char_p),
        ("aad_length", c_ulong),
        ("tag_bits", c_ulong),
    ]


class OaepParams(Structure):
    """CK_RSA_PKCS_OAEP_PARAMS; the source is "data specified"."""

    _fields_ = [
        *((name, c_ulong) for name in ("hash", "mgf", "source")),
        ("label", c_char_p),
        ("label_length", c_ulong),
    ]


class PssParams(Structure):
    """CK_RSA_PKCS_PSS_PARAMS."""

    _fields_ = [(name, c_ulong) for name in ("hash", "mgf", "salt_length")]


class Refused(Exception):
    """What a function returned instead of CKR_OK.

    Attributes:
        code: The number.
    """

    def __init__(self, function: str, code: int) -> None:
        super().__init__(f"C_{function}: {code:#x}")
        self.code = code


def gcm(iv: bytes = bytes(12), aad: bytes = b"", tag_bits: int = 128) -> tuple[int, Structure]:
    """AES-GCM."""
    return AES_GCM, GcmParams(iv, len(iv), len(iv) * 8, aad, len(aad), tag_bits)


def oaep(digest: int, mgf: int) -> tuple[int, Structure]:
    """RSAES-OAEP without a label."""
    return RSA_OAEP, OaepParams(digest, mgf, 1, None, 0)


def pss(digest: int = SHA256, mgf: int = 2, salt_length: int = 32) -> tuple[int, Structure]:
    """RSASSA-PSS over a digest."""
    return RSA_PSS, PssParams(digest, mgf, salt_length)


class Cryptoki:
    """A module, initialised with locking.

    Args:
        module: The library.
        init_args: The module's own string, for NSS.
        join: Use the module that the process has initialised already, and leave it so.
    """

    def __init__(self, module: str | Path, init_args: str = "", *, join: bool = False) -> None:
        library = ctypes.CDLL(os.path.realpath(module))
        pointer = POINTER(FunctionList)()
        self._check("GetFunctionList", library.C_GetFunctionList(byref(pointer)))
        self._list = pointer.contents
        self._functions: dict[str, Any] = {}
        self._join = join
        if not join:
            arguments = InitArgs(flags=2, parameters=init_args.encode() or None)
            for _ in range(BUSY_TRIES):
                code = self.code("Initialize", byref(arguments))
                if code != GENERAL_ERROR:
                    break
            self._check("Initialize", code)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._join:
            self.code("Finalize", None)

    def code(self, name: str, *arguments: Any) -> int:
        """Call a function; what it returned."""
        if name not in self._functions:
            prototype = ctypes.CFUNCTYPE(c_ulong)
            self._functions[name] = prototype(getattr(self._list, name))
        plain = [c_ulong(each) if isinstance(each, int) else each for each in arguments]
        return int(self._functions[name](*plain))

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that must succeed."""
        self._check(name, self.code(name, *arguments))

    @staticmethod
    def _check(name: str, code: int) -> None:
        if code != OK:
            raise Refused(name, code)

    # --- Slots and sessions ------------------------------------------------------------------

    def version(self) -> str:
        """The library's version."""
        info = Info()
        self.call("GetInfo", byref(info))
        return f"{info.version.major}.{info.version.minor}"

    def token_info(self, slot: int) -> TokenInfo:
        """What the token says of itself."""
        info = TokenInfo()
        self.call("GetTokenInfo", slot, byref(info))
        return info

    def slot(self, label: str) -> int:
        """The slot of the token with that label."""
        count = c_ulong()
        self.call("GetSlotList", c_ubyte(1), None, byref(count))
        slots = (c_ulong * count.value)()
        self.call("GetSlotList", c_ubyte(1), slots, byref(count))
        for slot in slots[: count.value]:
            if bytes(self.token_info(slot).label).decode().rstrip() == label:
                return int(slot)
        raise LookupError(f"there is no token {label}")

    def open(self, label: str, pin: str | None = None, *, write: bool = True) -> int:
        """A session; with a PIN, the user is logged in unless he was."""
        session = c_ulong()
        flags = 6 if write else 4
        self.call("OpenSession", self.slot(label), flags, None, None, byref(session))
        if pin is not None:
            self.login(session.value, pin)
        return session.value

    def login(self, session: int, pin: str, user: int = USER) -> None:
        """Log in, unless that has been done."""
        code = self.code("Login", session, user, pin.encode(), len(pin))
        if code != 0x100:
            self._check("Login", code)

    def set_first_pin(self, label: str, so_pin: str, pin: str) -> None:
        """Give a token its user PIN."""
        session = self.open(label)
        self.login(session, so_pin, SO)
        self.call("InitPIN", session, pin.encode(), len(pin))
        self.call("CloseSession", session)

    # --- Objects -----------------------------------------------------------------------------

    def find(self, session: int, template: Mapping[int, Any], most: int = 1000) -> list[int]:
        """Handles of the objects that fit."""
        with _template(template) as (pointer, count):
            self.call("FindObjectsInit", session, pointer, count)
        found, handles = c_ulong(), (c_ulong * most)()
        try:
            self.call("FindObjects", session, handles, most, byref(found))
        finally:
            self.code("FindObjectsFinal", session)
        return list(handles[: found.value])

    def get(self, session: int, handle: int, kind: int) -> Any:
        """An attribute: a bool, a number or bytes, whichever it is."""
        attribute = Attribute(kind, None, 0)
        self.call("GetAttributeValue", session, handle, byref(attribute), 1)
        buffer = ctypes.create_string_buffer(attribute.length or 1)
        attribute.value = cast(buffer, c_void_p)
        self.call("GetAttributeValue", session, handle, byref(attribute), 1)
        value = buffer.raw[: attribute.length]
        if kind in _FLAGS:
            return value != b"\0"
        return int.from_bytes(value, "little") if kind in _NUMBERS else value

    def set(self, session: int, handle: int, template: Mapping[int, Any]) -> None:
        """Change attributes."""
        with _template(template) as (pointer, count):
            self.call("SetAttributeValue", session, handle, pointer, count)

    def create(self, session: int, template: Mapping[int, Any]) -> int:
        """An object from its attributes."""
        handle = c_ulong()
        with _template(template) as (pointer, count):
            self.call("CreateObject", session, pointer, count, byref(handle))
        return handle.value

    def destroy(self, session: int, handle: int) -> None:
        """Destroy an object."""
        self.call("DestroyObject", session, handle)

    def generate(self, session: int, mechanism: Any, template: Mapping[int, Any]) -> int:
        """A secret key."""
        handle = c_ulong()
        with _template(template) as (pointer, count):
            self.call("GenerateKey", session, _mechanism(mechanism), pointer, count, byref(handle))
        return handle.value

    def generate_pair(
        self, session: int, mechanism: Any, public: Mapping[int, Any], private: Mapping[int, Any]
    ) -> tuple[int, int]:
        """A key pair: the public, the private key."""
        handles = c_ulong(), c_ulong()
        with _template(public) as first, _template(private) as second:
            self.call(
                "GenerateKeyPair",
                *(session, _mechanism(mechanism), *first, *second),
                *(byref(handles[0]), byref(handles[1])),
            )
        return handles[0].value, handles[1].value

    # --- Cryptography ------------------------------------------------------------------------

    def encrypt(self, session: int, mechanism: Any, key: int, data: bytes) -> bytes:
        """Encrypt."""
        return self._process("Encrypt", session, mechanism, key, data)

    def decrypt(self, session: int, mechanism: Any, key: int, data: bytes) -> bytes:
        """Decrypt."""
        return self._process("Decrypt", session, mechanism, key, data)

    def sign(self, session: int, mechanism: Any, key: int, data: bytes) -> bytes:
        """Sign."""
        return self._process("Sign", session, mechanism, key, data)

    def wrap(self, session: int, mechanism: Any, wrapping: int, key: int) -> bytes:
        """Wrap a key."""
        size, out = c_ulong(8192), ctypes.create_string_buffer(8192)
        self.call("WrapKey", session, _mechanism(mechanism), wrapping, key, out, byref(size))
        return out.raw[: size.value]

    def unwrap(
        self,
        session: int,
        mechanism: Any,
        key: int,
        wrapped: bytes,
        template: Mapping[int, Any],
    ) -> int:
        """Unwrap a key."""
        handle = c_ulong()
        with _template(template) as (pointer, count):
            self.call(
                "UnwrapKey",
                *(session, _mechanism(mechanism), key, wrapped, len(wrapped)),
                *(pointer, count, byref(handle)),
            )
        return handle.value

    def random(self, session: int, length: int) -> bytes:
        """Random bytes of the token."""
        out = ctypes.create_string_buffer(length)
        self.call("GenerateRandom", session, out, length)
        return out.raw

    def _process(self, what: str, session: int, mechanism: Any, key: int, data: bytes) -> bytes:
        self.call(f"{what}Init", session, _mechanism(mechanism), key)
        # No question for the size: NSS answers it wrongly.
        size = c_ulong(len(data) + 8192)
        out = ctypes.create_string_buffer(size.value)
        self.call(what, session, data, len(data), out, byref(size))
        return out.raw[: size.value]


def _mechanism(mechanism: int | tuple[int, Structure]) -> Any:
    if isinstance(mechanism, int):
        return byref(Mechanism(mechanism, None, 0))
    kind, parameters = mechanism
    made = Mechanism(kind, cast(byref(parameters), c_void_p), ctypes.sizeof(parameters))
    return byref(made)


@contextmanager
def _template(values: Mapping[int, Any]) -> Iterator[tuple[Any, int]]:
    attributes = (Attribute * len(values))()
    kept = []
    for place, (kind, value) in enumerate(values.items()):
        raw = _bytes(value)
        buffer = ctypes.create_string_buffer(raw, len(raw))
        kept.append(buffer)
        attributes[place] = Attribute(kind, cast(buffer, c_void_p), len(raw))
    yield attributes, len(values)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, int):
        return value.to_bytes(ctypes.sizeof(c_ulong), "little")
    if isinstance(value, list):
        return b"".join(_bytes(each) for each in value)
    return value.encode() if isinstance(value, str) else bytes(value)
