"""Calls of PKCS#11 that python-pkcs11 does not make, on the function list that it uses itself.

It initialises modules without locks although it lets threads run during calls, which crashes
SoftHSM; it leaks a session for every wrong PIN; and it cannot ask whether a login still holds.

Structures: OASIS PKCS#11 Base Specification 2.40, as packed on Unix.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_ubyte, c_ulong, c_void_p, sizeof
from typing import TYPE_CHECKING, Any, Final

from kmscore.errors import PluginError
from kmscore_pkcs11._binding import BINDING

if TYPE_CHECKING:
    from collections.abc import Mapping

OS_LOCKING_OK: Final = 2
USER: Final = 1
USER_STATES: Final = frozenset({1, 3})
"""States of a session in which the user is logged in: read-only and read-write."""

_CKA_CLASS: Final = 0x000
_CKA_TOKEN: Final = 0x001
_CKA_ID: Final = 0x102
_HANDLES: Final = 256
_HANDLE_INVALID: Final = 0x82
_PARTLY: Final = frozenset({0, 0x11, 0x12, 0x150})
"""Codes of C_GetAttributeValue that leave the other attributes usable: one is sensitive, of no such
object, or longer than its buffer."""
_VERSION_BYTES: Final = sizeof(c_void_p)
_FUNCTIONS: Final = """
    C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo
    C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession
    C_CloseSession C_CloseAllSessions C_GetSessionInfo C_GetOperationState C_SetOperationState
    C_Login C_Logout C_CreateObject C_CopyObject C_DestroyObject C_GetObjectSize
    C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit C_FindObjects C_FindObjectsFinal
    C_EncryptInit C_Encrypt C_EncryptUpdate C_EncryptFinal C_DecryptInit C_Decrypt
    C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest C_DigestUpdate C_DigestKey C_DigestFinal
    C_SignInit C_Sign
"""
_ORDER: Final = {name: place for place, name in enumerate(_FUNCTIONS.split())}
"""Places of the functions in CK_FUNCTION_LIST."""


class NativeError(Exception):
    """What a function returned instead of CKR_OK.

    Attributes:
        code: The CK_RV.
        function: Its name, such as ``C_Login``.
    """

    def __init__(self, code: int, function: str) -> None:
        super().__init__(f"{function} returned {code:#x}")
        self.code = code
        self.function = function


class _InitializeArgs(Structure):
    _fields_ = (
        ("create_mutex", c_void_p),
        ("destroy_mutex", c_void_p),
        ("lock_mutex", c_void_p),
        ("unlock_mutex", c_void_p),
        ("flags", c_ulong),
        ("reserved", c_void_p),
    )


class _NssInitializeArgs(Structure):
    # Network Security Services put their parameters before the reserved field (NSS, pkcs11t.h).
    _fields_ = (
        ("create_mutex", c_void_p),
        ("destroy_mutex", c_void_p),
        ("lock_mutex", c_void_p),
        ("unlock_mutex", c_void_p),
        ("flags", c_ulong),
        ("parameters", c_char_p),
        ("reserved", c_void_p),
    )


class _SessionInfo(Structure):
    _fields_ = (
        ("slot", c_ulong),
        ("state", c_ulong),
        ("flags", c_ulong),
        ("device_error", c_ulong),
    )


class _Attribute(Structure):
    _fields_ = (("attribute", c_ulong), ("value", c_void_p), ("length", c_ulong))


class Native:
    """The functions of one module, called directly.

    Args:
        library: The module as python-pkcs11 has loaded it. Its function list is used, and not one
            that is fetched anew: p11-kit hands out another instance each time.

    Raises:
        PluginError: This python-pkcs11 keeps its function list somewhere else.
    """

    def __init__(self, library: Any) -> None:
        pointers = BINDING.HasFuncList.__basicsize__ - object.__basicsize__
        if pointers not in (sizeof(c_void_p), 3 * sizeof(c_void_p)):
            raise PluginError(
                "this version of python-pkcs11 is not known to kmscore",
                hint="Install python-pkcs11 0.10",
            )
        self._list: int = c_void_p.from_address(id(library) + object.__basicsize__).value or 0
        self._get_session_info = self.function("C_GetSessionInfo", c_ulong, POINTER(_SessionInfo))
        self._get_attributes = self.function(
            "C_GetAttributeValue", c_ulong, c_ulong, c_void_p, c_ulong
        )

    def initialise(self, parameters: str) -> None:
        """C_Initialize with locking by the operating system.

        Args:
            parameters: For NSS; empty for others.

        Raises:
            NativeError: The module refuses.
        """
        arguments: _InitializeArgs | _NssInitializeArgs = _InitializeArgs(flags=OS_LOCKING_OK)
        if parameters:
            arguments = _NssInitializeArgs(flags=OS_LOCKING_OK, parameters=parameters.encode())
        self._call("C_Initialize", c_void_p)(ctypes.addressof(arguments))

    def finalise(self) -> None:
        """C_Finalize: every session of this process is gone."""
        self._call("C_Finalize", c_void_p)(None)

    def login(self, session: int, pin: bytes) -> None:
        """C_Login as the user, for all sessions of this process with that token."""
        self._call("C_Login", c_ulong, c_ulong, c_char_p, c_ulong)(session, USER, pin, len(pin))

    def is_logged_in(self, session: int) -> bool:
        """Whether the user is still logged in: if not, private keys are not found."""
        info = _SessionInfo()
        code = self._get_session_info(session, byref(info))
        if code:
            raise NativeError(code, "C_GetSessionInfo")
        return info.state in USER_STATES

    def find_objects(
        self, session: int, identity: bytes, kind: int | None = None, most: int = 16
    ) -> list[int]:
        """Handles of the objects with that CKA_ID; with a CKA_CLASS, only those of that class.

        The library's own search reads attributes of each hit, and when the token is lost it fails
        once more while it is thrown away.

        Raises:
            NativeError: The token fails; the session must not be used again.
        """
        value = ctypes.create_string_buffer(identity, len(identity))
        number = c_ulong(kind or 0)
        template = (_Attribute * 2)(
            _Attribute(_CKA_ID, ctypes.addressof(value), len(identity)),
            _Attribute(_CKA_CLASS, ctypes.addressof(number), sizeof(c_ulong)),
        )
        found, handles = c_ulong(), (c_ulong * most)()
        at_template, attributes = ctypes.addressof(template), 1 if kind is None else 2
        self._call("C_FindObjectsInit", c_ulong, c_void_p, c_ulong)(
            session, at_template, attributes
        )
        self._call("C_FindObjects", c_ulong, c_void_p, c_ulong, c_void_p)(
            session, ctypes.addressof(handles), most, ctypes.addressof(found)
        )
        self._call("C_FindObjectsFinal", c_ulong)(session)
        return list(handles[: found.value])

    def token_objects(self, session: int) -> list[int]:
        """Handles of all objects that stay on the token.

        Raises:
            NativeError: The token fails; the session must not be used again.
        """
        stays = c_ubyte(True)
        template = _Attribute(_CKA_TOKEN, ctypes.addressof(stays), sizeof(c_ubyte))
        found, handles = c_ulong(), (c_ulong * _HANDLES)()
        more = self._call("C_FindObjects", c_ulong, c_void_p, c_ulong, c_void_p)
        self._call("C_FindObjectsInit", c_ulong, c_void_p, c_ulong)(
            session, ctypes.addressof(template), 1
        )
        objects: list[int] = []
        while True:
            more(session, ctypes.addressof(handles), _HANDLES, ctypes.addressof(found))
            if not found.value:
                break
            objects += handles[: found.value]
        self._call("C_FindObjectsFinal", c_ulong)(session)
        return objects

    def attributes(
        self, session: int, handle: int, wanted: Mapping[int, int]
    ) -> list[bytes | None] | None:
        """Attributes of an object, as they lie there.

        Args:
            session: The session.
            handle: The object.
            wanted: Most bytes of each, by its CKA_ number; for numbers exactly theirs (NSS).

        Returns:
            The values, with None where there is none, or a longer one; None instead of all when
            there is no such object any more.

        Raises:
            NativeError: The token fails; the session must not be used again.
        """
        buffers = [ctypes.create_string_buffer(size) for size in wanted.values()]
        template = (_Attribute * len(buffers))(
            *(
                _Attribute(number, ctypes.addressof(buffer), len(buffer))
                for number, buffer in zip(wanted, buffers, strict=True)
            )
        )
        code = self._get_attributes(session, handle, ctypes.addressof(template), len(buffers))
        if code == _HANDLE_INVALID:
            return None
        if code not in _PARTLY:
            raise NativeError(code, "C_GetAttributeValue")
        return [
            buffer.raw[: each.length] if each.length <= len(buffer) else None
            for each, buffer in zip(template, buffers, strict=True)
        ]

    def destroy_object(self, session: int, handle: int) -> None:
        """C_DestroyObject."""
        self._call("C_DestroyObject", c_ulong, c_ulong)(session, handle)

    def set_flag(self, session: int, handle: int, flag: int, value: bool) -> None:
        """C_SetAttributeValue for one CK_BBOOL."""
        wanted = c_ubyte(value)
        attribute = _Attribute(flag, ctypes.addressof(wanted), sizeof(c_ubyte))
        self._call("C_SetAttributeValue", c_ulong, c_ulong, c_void_p, c_ulong)(
            session, handle, ctypes.addressof(attribute), 1
        )

    def function(self, name: str, *arguments: Any) -> Any:
        """A function by its name, with the types of its arguments; it returns a CK_RV."""
        slot = self._list + _VERSION_BYTES + _ORDER[name] * sizeof(c_void_p)
        return ctypes.CFUNCTYPE(c_ulong, *arguments)(c_void_p.from_address(slot).value or 0)

    def _call(self, name: str, *arguments: Any) -> Any:
        function = self.function(name, *arguments)

        def call(*values: Any) -> None:
            code = function(*values)
            if code:
                raise NativeError(code, name)

        return call
