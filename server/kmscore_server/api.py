"""The seam between the two halves of the server: who speaks HTTP, and who carries actions out.

The one half receives requests, knows who sends them, and gives each as a `Call` to the other one,
an `Api`, that answers with the fields of the response or raises `ApiError`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol


class ApiError(Exception):
    """A refusal, as a client sees it.

    Args:
        code: A code that the API documents, such as ``ResourceUnavailable.CmkNotFound``.
        message: One sentence for people, without secrets.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Caller(ABC):
    """Who sends a request; authentication has happened.

    Attributes:
        secret_id: Names the credential.
        uin: The account: ciphertexts, data keys and tags belong to one.
        app_id: The account's other number.
    """

    secret_id: str
    uin: int
    app_id: int

    @abstractmethod
    def require(self, action: str, key_id: str = "", alias: str = "") -> None:
        """Refuse what the caller may not do.

        Called by the `Api` as soon as it knows which key an action is about, before the key is
        used or anything of it is told; for each key of an action on several ones.

        Args:
            action: The action, such as ``Encrypt``.
            key_id: Id of the key as the API has it, or empty for actions that are about no key.
            alias: The key's alias, or for ``CreateKey`` the alias that it shall have; may be empty.

        Raises:
            ApiError: ``UnauthorizedOperation``.
        """


class Call(NamedTuple):
    """One request.

    Attributes:
        action: What ``X-TC-Action`` says; it may be no action at all.
        parameters: The decoded JSON object of the body; values may be of any JSON type.
        caller: Who sends it.
        region: What ``X-TC-Region`` says, or the server's own region where it says nothing.
        request_id: The id that the response will carry.
    """

    action: str
    parameters: dict[str, Any]
    caller: Caller
    region: str
    request_id: str


class Api(Protocol):
    """Carries actions out. Synchronous; used by many threads and several processes at once."""

    def handle(self, call: Call) -> dict[str, Any]:
        """Carry a request out, whole or not at all.

        Returns:
            The fields of ``Response`` without ``RequestId``: plain values for JSON.

        Raises:
            ApiError: It was refused. Any other exception is a defect of the server.
        """
        ...
