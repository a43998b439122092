"""What requests are answered with: their ids, results and refusals, in the JSON of the API."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Final

from kmscore_server.api import ApiError

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def request_id() -> str:
    """A random UUID (RFC 9562, version 4) as text, in half of the time that `uuid` takes."""
    digits = os.urandom(16).hex()
    return (
        f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}"
        f"-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"
    )


def missing(name: str, value: str) -> ApiError | None:
    """The refusal of a request without a common parameter; None where it has one."""
    if value:
        return None
    return ApiError("MissingParameter", f"The request lacks the common parameter {name}.")


def result(request_id: str, fields: dict[str, Any]) -> bytes:
    """The body of an answer with a result."""
    return _encode({"Response": {**fields, "RequestId": request_id}}).encode("ascii")


def refusal(request_id: str, error: ApiError) -> bytes:
    """The body of an answer that refuses."""
    return result(request_id, {"Error": {"Code": error.code, "Message": error.message}})


def unrecorded(request_id: str) -> tuple[str, bytes]:
    """Outcome and body where nothing may happen unrecorded, and it cannot be recorded."""
    error = ApiError("InternalError", "The request cannot be recorded.")
    return error.code, refusal(request_id, error)


def defect(error: Exception) -> ApiError:
    """What a client is told of a defect: nothing that could be a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "?"
    sys.stderr.write(f"kmscore serve: defect: {type(error).__name__} at {where}\n")
    return ApiError("InternalError", "An internal error has occurred.")
