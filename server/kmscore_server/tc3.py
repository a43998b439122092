"""Signatures by TC3-HMAC-SHA256, checked as each real client makes them.

The clients differ in what they sign as ``host``: what they send, or that without the port; and
hand-written ones in whether they sign values as they are or in lower case. All forms are accepted,
and a form is tried only when it differs from the ones before.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from kmscore_server.api import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmscore_server.message import Request

ALGORITHM: Final = "TC3-HMAC-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"

_CLAIM: Final = re.compile(
    r"TC3-HMAC-SHA256 +Credential=([^/\s,]{1,128})/(\d{4}-\d{2}-\d{2})/([^/\s,]{1,256})/tc3_request"
    r", *SignedHeaders=([a-z0-9;-]{1,1024}), *",
    re.ASCII,
)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PORT: Final = re.compile(r":\d+/?$", re.ASCII)


class Claim(NamedTuple):
    """What a request says of who signed it.

    Attributes:
        secret_id: Names the credential.
        date: The day of the key, as YYYY-MM-DD.
        service: The service of the key, whatever the client took for it.
        signed: Names of the fields that are signed.
    """

    secret_id: str
    date: str
    service: str
    signed: str


def parse_authorization(authorization: str) -> tuple[str, str]:
    """The field ``Authorization``: all but the signature, and the signature of 64 hex digits.

    Raises:
        ApiError: It has not that form.
    """
    claim, _, signature = authorization.rpartition("Signature=")
    if not _SIGNATURE.fullmatch(signature):
        raise _malformed()
    return claim, signature


def parse_claim(text: str) -> Claim:
    """What stands before the signature.

    Raises:
        ApiError: It has not that form, or does not sign what must be signed.
    """
    match = _CLAIM.fullmatch(text)
    if match is None:
        raise _malformed()
    claim = Claim(*match.groups())
    if not {"content-type", "host"} <= set(claim.signed.split(";")):
        raise _malformed()
    return claim


class Signer:
    """Somebody who signs requests: a claim, and the key that belongs to it.

    Args:
        claim: What requests say.
        secret: The secret key of the credential.
    """

    __slots__ = ("_key", "_names", "_scope", "claim")

    def __init__(self, claim: Claim, secret: bytes) -> None:
        self.claim = claim
        self._names = claim.signed.split(";")
        self._scope = f"{claim.date}/{claim.service}/tc3_request"
        key = b"TC3" + secret
        for part in (claim.date, claim.service, "tc3_request"):
            key = hmac.digest(key, part.encode("latin-1"), "sha256")
        self._key = key

    def has_signed(self, request: Request, timestamp: str, signature: str) -> bool:
        """Whether a signature is that of a request.

        Args:
            request: The request.
            timestamp: ``X-TC-Timestamp`` as sent.
            signature: 64 hex digits.
        """
        head = request.head
        fields = head.fields
        payload = UNSIGNED.encode()
        if fields.get("x-tc-content-sha256") != UNSIGNED:
            payload = request.body
        query = head.query if head.method == "GET" else ""
        start = f"{head.method}\n/\n{query}\n"
        end = f"\n{self.claim.signed}\n{hashlib.sha256(payload).hexdigest()}"
        scope = f"{ALGORITHM}\n{timestamp}\n{self._scope}\n"
        given = signature.encode("ascii")
        for lines in _signed_lines(fields, self._names):
            canonical = hashlib.sha256(f"{start}{lines}{end}".encode("latin-1")).hexdigest()
            expected = hmac.digest(self._key, (scope + canonical).encode("latin-1"), "sha256")
            if hmac.compare_digest(expected.hex().encode("ascii"), given):
                return True
        return False


@lru_cache(maxsize=16)
def day(number: int) -> str:
    """A day in UTC as YYYY-MM-DD, by its number since 1970-01-01."""
    return time.strftime("%Y-%m-%d", time.gmtime(number * 86400))


def host_forms(host: str) -> tuple[str, ...]:
    """What a client may have signed as its host: what it sent, or that without the port."""
    bare = _PORT.sub("", host)
    return (host,) if bare == host else (host, bare)


def _signed_lines(fields: dict[str, str], names: list[str]) -> Iterator[str]:
    """The signed fields as lines, in every form that a client may have signed them."""
    given = "".join([f"{name}:{fields.get(name, '')}\n" for name in names])
    yield given  # as nearly all do; the rest is not even made then
    seen = {given}
    for host in host_forms(fields.get("host", "")):
        lines = "".join(
            f"{name}:{host if name == 'host' else fields.get(name, '')}\n" for name in names
        )
        for form in (lines, lines.lower()):
            if form not in seen:
                seen.add(form)
                yield form


def _malformed() -> ApiError:
    return ApiError(
        "AuthFailure.InvalidAuthorization", "The Authorization header is no TC3 signature."
    )
