"""The connection to AWS KMS: one boto3 client, whose own retries are off."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from kmscore.errors import ConfigError
from kmscore_aws._errors import translate

if TYPE_CHECKING:
    from kmscore.plugin import Setting

POOL: int = 32
"""Connections that threads share."""


class Client:
    """Sends one request at a time per thread; the core repeats what may be repeated."""

    def __init__(self, setting: Setting) -> None:
        # boto3 logs requests and answers, plaintexts included, at the level DEBUG.
        logging.getLogger("botocore").setLevel(logging.INFO)
        options = setting.options
        endpoint = options["endpoint"]
        if endpoint is not None:
            _require_tls(endpoint)
        self.region: str = options["region"]
        self.endpoint: str = endpoint or f"https://kms.{self.region}.amazonaws.com"
        config = Config(
            connect_timeout=options["timeout"],
            read_timeout=options["timeout"],
            retries={"total_max_attempts": 1},
            max_pool_connections=POOL,
        )
        session = boto3.Session(region_name=self.region, **_credentials(options["credentials"]))
        self._kms: Any = session.client("kms", endpoint_url=endpoint, config=config)

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Carry out an action, such as ``describe_key``.

        Raises:
            KmsError: AWS refused it, or cannot be reached.
        """
        try:
            answer: dict[str, Any] = getattr(self._kms, action)(**parameters)
        except (ClientError, BotoCoreError) as error:
            raise translate(error) from error
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._kms.close()


def _credentials(table: Mapping[str, Any] | None) -> dict[str, str]:
    if table is None:
        return {}
    found = {
        "aws_access_key_id": table["access_key_id"].reveal().decode(),
        "aws_secret_access_key": table["secret_access_key"].reveal().decode(),
    }
    if table["session_token"] is not None:
        found["aws_session_token"] = table["session_token"].reveal().decode()
    return found


def _require_tls(endpoint: str) -> None:
    url = urlsplit(endpoint)
    if url.scheme == "https":
        return
    host = url.hostname or ""
    try:
        loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if url.scheme != "http" or not loopback:
        raise ConfigError(
            f"endpoint {endpoint!r} is not protected by TLS",
            hint="Use https://; http:// is for a server on this machine alone",
        )
