"""Authentication: from a request to the credential that signed it, and to what it asks for."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kmscore_server import tc3, v1
from kmscore_server.api import ApiError
from kmscore_server.arguments import nest, parse_form, parse_json
from kmscore_server.message import JSON, MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kmscore_server.credentials import Credential
    from kmscore_server.message import Head, Request

WINDOW: Final = 300
"""Seconds that the clocks of client and server may differ."""
FORM: Final = "application/x-www-form-urlencoded"
MAX_FORM: Final = 1024 * 1024
"""Bytes of a form, as the API has it."""
MAX_QUERY: Final = 32 * 1024
"""Bytes of a query, as the API has it."""

_COMMON: Final = frozenset(
    {
        "Action",
        "Language",
        "Nonce",
        "Region",
        "RequestClient",
        "SecretId",
        "Signature",
        "SignatureMethod",
        "Timestamp",
        "Token",
        "Version",
    }
)
"""Parameters of version 1 that are not those of the action."""
_MOST_SIGNERS: Final = 1024
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class Authenticated(NamedTuple):
    """A request whose signature is right.

    Attributes:
        credential: Whose signature it is.
        action: The action that is asked for; empty where none is.
        version: The version of the API; may be empty.
        region: The region; may be empty.
        flat: Parameters by flat names, where they do not come as JSON.
        body: The JSON of the others.
    """

    credential: Credential
    action: str
    version: str
    region: str
    flat: Mapping[str, str] | None
    body: bytes

    def parameters(self) -> dict[str, Any]:
        """The parameters of the action.

        Raises:
            ApiError: ``InvalidParameter``: they are malformed.
        """
        return parse_json(self.body) if self.flat is None else nest(dict(self.flat))


class Authenticator:
    """Knows all credentials.

    Args:
        credentials: Each by its secret id.
        clock: Seconds since the epoch.
    """

    def __init__(self, credentials: Mapping[str, Credential], clock: Callable[[], float]) -> None:
        self._credentials = credentials
        self._clock = clock
        self._signers: dict[str, tuple[tc3.Signer, Credential]] = {}

    def authenticate(self, request: Request) -> Authenticated:
        """Find out who sends a request, and what for.

        Checked in this order: the form of the authorization, the secret id, the time, the
        signature, the token.

        Raises:
            ApiError: ``AuthFailure.…``, or what is wrong with the request's form.
        """
        authorization = request.head.fields.get("authorization")
        if authorization is not None:
            return self._tc3(request, authorization)
        return self._v1(request)

    def _tc3(self, request: Request, authorization: str) -> Authenticated:
        head = request.head
        fields = head.fields
        claim, signature = tc3.parse_authorization(authorization)
        # Until midnight, a client says the same of itself each time.
        signer, credential = self._signers.get(claim) or self._signer(claim)
        timestamp = fields.get("x-tc-timestamp", "")
        day = tc3.day(self._fresh(timestamp) // 86400)
        if signer.claim.date != day or not signer.has_signed(request, timestamp, signature):
            raise _wrong_signature()
        self._check_token(credential, fields.get("x-tc-token", ""))
        flat: dict[str, str] | None = None
        if head.method == "GET":
            flat = parse_form(_query(head))
        else:
            _require_json(fields.get("content-type", ""))
        return Authenticated(
            credential,
            fields.get("x-tc-action", ""),
            fields.get("x-tc-version", ""),
            fields.get("x-tc-region", ""),
            flat,
            request.body,
        )

    def _signer(self, text: str) -> tuple[tc3.Signer, Credential]:
        claim = tc3.parse_claim(text)
        credential = self._credential(claim.secret_id)
        if len(self._signers) >= _MOST_SIGNERS:
            self._signers.clear()
        found = self._signers[text] = (tc3.Signer(claim, credential.secret), credential)
        return found

    def _v1(self, request: Request) -> Authenticated:
        head = request.head
        if head.method == "GET":
            parameters = parse_form(_query(head))
        elif _media_type(head.fields.get("content-type", "")) == FORM:
            if len(request.body) > MAX_FORM:
                raise ApiError("RequestSizeLimitExceeded", "A form may have 1 MB.")
            parameters = parse_form(request.body.decode("latin-1"))
        else:
            parameters = {}
        if "Signature" not in parameters or "SecretId" not in parameters:
            raise ApiError("AuthFailure.InvalidAuthorization", "The request is not signed.")
        credential = self._credential(parameters["SecretId"])
        self._fresh(parameters.get("Timestamp", ""))
        if not v1.is_signed(head, parameters, credential.secret):
            raise _wrong_signature()
        self._check_token(credential, parameters.get("Token", ""))
        return Authenticated(
            credential,
            parameters.get("Action", ""),
            parameters.get("Version", ""),
            parameters.get("Region", ""),
            {name: value for name, value in parameters.items() if name not in _COMMON},
            b"",
        )

    def _credential(self, secret_id: str) -> Credential:
        credential = self._credentials.get(secret_id)
        if credential is None:
            raise ApiError("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
        return credential

    def _fresh(self, timestamp: str) -> int:
        """A timestamp that is neither too old nor too new."""
        if not timestamp:
            raise ApiError("MissingParameter", "The request has no timestamp.")
        if not _TIMESTAMP.fullmatch(timestamp):
            raise ApiError("InvalidParameter", "The timestamp is no number of seconds.")
        seconds = int(timestamp)
        if abs(self._clock() - seconds) > WINDOW:
            raise ApiError(
                "AuthFailure.SignatureExpire",
                f"The timestamp is more than {WINDOW} seconds away from the server's time.",
            )
        return seconds

    def _check_token(self, credential: Credential, token: str) -> None:
        # Without a token in either place this compares two empty ones.
        right = hmac.compare_digest(credential.token, token.encode("utf-8", "replace"))
        expired = credential.expires is not None and self._clock() >= credential.expires
        if not right or expired:
            raise ApiError("AuthFailure.TokenFailure", "The token is wrong or has expired.")


def too_large() -> ApiError:
    """The refusal of a body that nobody may send."""
    return ApiError(
        "RequestSizeLimitExceeded", f"The request is larger than {MAX_BODY // 1024**2} MB."
    )


def _query(head: Head) -> str:
    if len(head.query) > MAX_QUERY:
        raise ApiError("RequestSizeLimitExceeded", "A query may have 32 KB.")
    return head.query


def _require_json(content_type: str) -> None:
    kind = _media_type(content_type)
    if kind == JSON:
        return
    what = "multipart forms are not accepted" if kind.startswith("multipart/") else "send JSON"
    raise ApiError("InvalidRequest", f"The Content-Type must be {JSON}: {what}.")


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _wrong_signature() -> ApiError:
    return ApiError(
        "AuthFailure.SignatureFailure",
        "The provided credentials could not be validated. Please check your signature is correct.",
    )
