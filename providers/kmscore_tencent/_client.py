"""One call to the service through Tencent's SDK: connections, time limits, errors of the tree."""

# The SDK has no types, and what pyright guesses of them is wrong.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportArgumentType=false

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import requests
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.exception import TencentCloudSDKException
from tencentcloud.common.http.request import ProxyConnection
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118.kms_client import KmsClient

from kmscore.errors import InternalError, KmsError, Timeout, Unavailable
from kmscore_tencent._endpoint import Endpoint
from kmscore_tencent._errors import from_code

if TYPE_CHECKING:
    from kmscore_tencent._credentials import Credentials

CONNECT_TIMEOUT: Final = 5.0
"""Most seconds to wait for a connection."""

# The SDK writes whole requests, plaintexts included, to its logger at level DEBUG.
logging.getLogger("tencentcloud_sdk_common").setLevel(logging.INFO)


class Network(NamedTuple):
    """How a service is reached.

    Attributes:
        endpoint: Scheme and host.
        timeout: Seconds to wait for an answer.
        proxy: URL of an HTTP proxy, or None.
        ca_file: Certificates to trust instead of the usual ones, or None.
    """

    endpoint: Endpoint
    timeout: float
    proxy: str | None = None
    ca_file: Path | None = None


Make = Callable[[ClientProfile], Any]
"""Makes one of the SDK's clients from a profile."""


class Connection(ProxyConnection):  # type: ignore[misc]
    """The SDK's connection, without what it would read from the environment behind our back.

    The SDK and `requests` each have rules of their own for proxies; `requests` also takes
    passwords from ``.netrc``, which would replace the request's signature.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(
            network.endpoint.host,
            timeout=(min(CONNECT_TIMEOUT, network.timeout), network.timeout),
            certification=str(network.ca_file) if network.ca_file else None,
            is_http=network.endpoint.scheme == "http",
        )
        self._session.trust_env = False
        proxy = network.proxy
        self.proxy = {"http": proxy, "https": proxy} if proxy else None

    def close(self) -> None:
        """Close the connection that is kept alive."""
        self._session.close()


class Client:
    """Calls actions of the service. Safe to use from several threads.

    A `requests.Session` belongs to one thread at a time, so idle SDK clients, each with a live
    connection, wait on a stack; the hottest is taken first.
    """

    def __init__(self, make: Make, network: Network) -> None:
        """Say how to make an SDK client, and how to reach the service."""
        self._make = make
        self._network = network
        self._idle: deque[Any] = deque()

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Carry out an action, once.

        Args:
            action: Its name, such as ``Encrypt``.
            parameters: Its fields; None is left out.

        Returns:
            The content of ``Response``.

        Raises:
            KmsError: As `kmscore_tencent._errors` maps the service's code.
            Timeout: The connection broke after the request was sent, or no answer came in time.
            Unavailable: The service could not be reached, or sent something unreadable.
        """
        return self._send(action, parameters, None)

    def call_unsigned(self, action: str, **parameters: Any) -> dict[str, Any]:
        """The same for the one action that brings a web identity instead of a signature."""
        return self._send(action, parameters, {"SkipSign": True})

    def _send(
        self, action: str, parameters: dict[str, Any], options: dict[str, bool] | None
    ) -> dict[str, Any]:
        fields = {name: value for name, value in parameters.items() if value is not None}
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._connect()
        try:
            answer = client.call_json(action, fields, options=options)
        except TencentCloudSDKException as error:
            raise _translate(error, action) from error
        except requests.RequestException as error:
            # The body broke off: the service has carried the action out, or is about to.
            raise Timeout("the answer broke off", code=type(error).__name__) from error
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable("the service sent an answer that cannot be read") from error
        finally:
            self._idle.append(client)
        response: Any = cast("Any", answer).get("Response") if isinstance(answer, dict) else None
        if not isinstance(response, dict):
            raise Unavailable(
                "the answer is not one of the KMS", hint="Check the endpoint of the provider"
            )
        content = cast("dict[str, Any]", response)
        # The SDK overlooks errors in answers with another content type than it expects.
        failure = content.get("Error")
        if isinstance(failure, dict):
            fault = cast("dict[str, Any]", failure)
            raise from_code(str(fault.get("Code")), action, str(content.get("RequestId", "")))
        return content

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().request.conn.close()

    def _connect(self) -> Any:
        endpoint = self._network.endpoint
        # The SDK's own retries never succeed after a failure, and its region breaker sends
        # requests elsewhere: both stay off.
        profile = ClientProfile(
            httpProfile=HttpProfile(
                protocol=endpoint.scheme, endpoint=endpoint.host, keepAlive=True
            )
        )
        client = self._make(profile)
        client.request.conn = Connection(self._network)
        return client


def kms_client(credentials: Credentials, region: str, network: Network) -> Client:
    """A client of the KMS."""
    return Client(lambda profile: KmsClient(credentials, region, profile), network)


def sts_client(credentials: Credentials | None, region: str, network: Network) -> Client:
    """A client of the security token service."""
    return Client(
        lambda profile: CommonClient("sts", "2018-08-13", credentials, region, profile), network
    )


def _translate(error: TencentCloudSDKException, action: str) -> KmsError:
    code = str(error.get_code())
    if code == "ClientNetworkError":
        return _network_failure(error.__context__)
    if code in ("KeyError", "TypeError", "JSONDecodeError"):
        return Unavailable("the service sent an answer that cannot be read", code=code)
    if code.startswith("Client"):
        return InternalError("the SDK refused the request", code=code)
    return from_code(code, action, str(error.get_request_id() or ""))


def _network_failure(cause: BaseException | None) -> KmsError:
    if isinstance(cause, requests.exceptions.SSLError):
        return Unavailable(
            "the service's certificate is not trusted",
            hint="For a private authority, set ca_file",
        )
    if isinstance(cause, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError):
        return Unavailable("the service cannot be reached", code=type(cause).__name__)
    if isinstance(cause, requests.exceptions.ReadTimeout):
        return Timeout("no answer in time", code="ReadTimeout")
    if isinstance(cause, requests.exceptions.ConnectionError):
        if _never_sent(cause):
            return Unavailable("the service cannot be reached", code="ConnectionError")
        return Timeout("the connection broke", code="ConnectionError")
    return Unavailable("the service cannot be reached", code=type(cause).__name__)


def _never_sent(error: requests.exceptions.ConnectionError) -> bool:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return type(reason).__name__ in ("NewConnectionError", "NameResolutionError")
