"""One call to a service through Tencent's SDK: connections, time limits, errors of the tree."""

# The SDK has no types, and what pyright guesses of them is wrong.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import logging
import os
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import requests
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.exception import TencentCloudSDKException
from tencentcloud.common.http.request import ProxyConnection
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118.kms_client import KmsClient
from urllib3.exceptions import NewConnectionError

from kmscore.errors import KmsError, Throttled, Timeout, Unavailable
from kmscore.spi import note_request_id
from kmscore_tencent._errors import from_code, plain

if TYPE_CHECKING:
    from kmscore_tencent._credentials import Credentials
    from kmscore_tencent._endpoint import Network

CONNECT_TIMEOUT: Final = 5.0
"""Most seconds to wait for a connection."""

_UNREADABLE: Final = "the service sent an answer that cannot be read"
_CHECK_ENDPOINT: Final = "Check the option endpoint, and the proxy if there is one"

_here = threading.local()


def _not_ours(_record: logging.LogRecord) -> bool:
    return not getattr(_here, "calling", False)


# At level DEBUG the SDK logs whole requests and answers, plaintexts and tokens included.
logging.getLogger("tencentcloud_sdk_common").addFilter(_not_ours)


Make = Callable[[ClientProfile], Any]
"""Makes one of the SDK's clients from a profile."""


class Connection(ProxyConnection):  # type: ignore[misc]
    """The SDK's connection, which sends a request once, to the host that was configured.

    The SDK and `requests` each have rules of their own for proxies in the environment; `requests`
    also takes passwords from ``.netrc``, which would replace the request's signature, and follows
    redirects, which would carry plaintexts and tokens to another host.

    Attributes:
        status: HTTP status of the last answer.
        retry_after: Seconds that the last answer asked to wait, or None.
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
        self.status = 0
        self.retry_after: float | None = None

    def request(
        self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        """Send a request; the SDK calls this."""
        self.status, self.retry_after = 0, None
        answer: requests.Response = self._session.request(
            method,
            url,
            data=body,
            headers=headers,
            proxies=self.proxy,
            verify=self.certification,
            timeout=self.timeout,
            stream=True,
            allow_redirects=False,
        )
        self.status = answer.status_code
        wait = answer.headers.get("Retry-After", "")
        self.retry_after = float(wait) if wait.isascii() and wait.isdigit() else None
        return answer

    def close(self) -> None:
        """Close the connection that is kept alive."""
        self._session.close()


class Client:
    """Calls actions of a service. Safe to use from several threads.

    A `requests.Session` belongs to one thread at a time, so idle SDK clients, each with a live
    connection, wait on a stack; the hottest is taken first.
    """

    def __init__(self, make: Make, network: Network) -> None:
        """Say how to make an SDK client, and how to reach the service."""
        self._make = make
        self._network = network
        self._idle: deque[Any] = deque()
        self._process = os.getpid()
        self._closed = False

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

    def close(self) -> None:
        """Close the idle connections, and later those that are in use."""
        self._closed = True
        while self._idle:
            self._idle.pop().request.conn.close()

    def _send(
        self, action: str, parameters: dict[str, Any], options: dict[str, bool] | None
    ) -> dict[str, Any]:
        fields = {name: value for name, value in parameters.items() if value is not None}
        client = self._take()
        # A call may fetch credentials by another one.
        outer, _here.calling = getattr(_here, "calling", False), True
        try:
            answer = client.call_json(action, fields, options=options)
        except TencentCloudSDKException as error:
            raise _translate(error, action, client.request.conn) from error
        except requests.RequestException as error:
            # The body broke off: the service has carried the action out, or is about to.
            raise Timeout("the answer broke off", code=type(error).__name__) from error
        except (ValueError, KeyError, TypeError, RecursionError):
            # The native error may hold the whole answer.
            raise Unavailable(_UNREADABLE, hint=_CHECK_ENDPOINT) from None
        finally:
            _here.calling = outer
            self._give_back(client)
        response: Any = cast("Any", answer).get("Response") if isinstance(answer, dict) else None
        if not isinstance(response, dict):
            raise Unavailable(_UNREADABLE, hint=_CHECK_ENDPOINT)
        content = cast("dict[str, Any]", response)
        # The SDK overlooks errors in answers with another content type than it expects.
        failure = content.get("Error")
        if isinstance(failure, dict):
            fault = cast("dict[str, Any]", failure)
            raise from_code(str(fault.get("Code")), action, str(content.get("RequestId") or ""))
        note_request_id(plain(str(content.get("RequestId") or "")))
        return content

    def _take(self) -> Any:
        if self._process != os.getpid():
            # Connections made before a fork belong to the other process, answers included.
            self._process, self._idle = os.getpid(), deque()
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect()

    def _give_back(self, client: Any) -> None:
        self._idle.append(client)
        if self._closed:
            self.close()

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


def _translate(error: TencentCloudSDKException, action: str, connection: Connection) -> KmsError:
    code = str(error.get_code())
    request_id = cast("object", error.get_request_id())
    if request_id is None and code == "ClientNetworkError":
        return _network_failure(error.__context__)
    if request_id is None and code == "ServerNetworkError":
        return _status_failure(connection.status, connection.retry_after)
    return from_code(code, action, str(request_id or ""))


def _status_failure(status: int, retry_after: float | None) -> KmsError:
    message, code = f"the service answered with HTTP status {status}", f"HTTP {status}"
    if status == 429:
        return Throttled(message, retry_after=retry_after, code=code)
    return Unavailable(message, hint="" if status >= 500 else _CHECK_ENDPOINT, code=code)


def _network_failure(cause: BaseException | None) -> KmsError:
    code = type(cause).__name__
    if isinstance(cause, requests.exceptions.SSLError):
        return _tls_failure(cause)
    if isinstance(cause, requests.exceptions.ConnectTimeout | requests.exceptions.ProxyError):
        return Unavailable("the service cannot be reached", code=code)
    if isinstance(cause, requests.exceptions.ReadTimeout):
        return Timeout("no answer in time", code=code)
    if isinstance(cause, requests.exceptions.ConnectionError) and not isinstance(
        _reason(cause), NewConnectionError
    ):
        return Timeout("the connection broke", code=code)
    return Unavailable("the service cannot be reached", code=code)


def _tls_failure(cause: requests.exceptions.SSLError) -> KmsError:
    reason = _reason(cause)
    native = reason.args[0] if reason is not None and reason.args else None
    if isinstance(native, ssl.SSLCertVerificationError):
        return Unavailable(
            "the service's certificate is not trusted",
            hint="For a private authority, set ca_file",
            code="SSLCertVerificationError",
        )
    # Whether this was before or after the request was sent is not told.
    return Timeout("the TLS connection failed", hint=_CHECK_ENDPOINT, code="SSLError")


def _reason(error: BaseException) -> BaseException | None:
    """Why urllib3 gave up, where it says so."""
    return getattr(error.args[0] if error.args else None, "reason", None)
