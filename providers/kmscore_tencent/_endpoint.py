"""Where the service is: its host, and the rule that only this machine may be spoken to in clear."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from kmscore.errors import ConfigError


class Endpoint(NamedTuple):
    """A service.

    Attributes:
        scheme: ``https``, or ``http`` for a server on this machine.
        host: Host, with a port where one was given.
    """

    scheme: str
    host: str


def parse_endpoint(text: str) -> Endpoint:
    """Read the option ``endpoint``: a host with or without a port, or a URL without a path.

    Raises:
        ConfigError: It is no host, or it would be spoken to in clear over a network.
    """
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        name, port = url.hostname, url.port
    except ValueError as error:
        raise ConfigError(f"endpoint {text!r} is no host") from error
    if (
        not name
        or url.scheme not in ("http", "https")
        or url.path not in ("", "/")
        or url.query
        or url.fragment
        or url.username is not None
        or not url.netloc.isprintable()
        or " " in url.netloc
    ):
        raise ConfigError(
            f"endpoint {text!r} is no host",
            hint='Write it as "kms.tencentcloudapi.com" or "http://127.0.0.1:8200"',
        )
    if url.scheme == "http" and not is_loopback(name):
        raise ConfigError(
            f"endpoint {text!r} would be spoken to without TLS",
            hint="Only a server on this machine may have http://; use https://",
        )
    host = f"[{name}]" if ":" in name else name
    return Endpoint(url.scheme, host if port is None else f"{host}:{port}")


def is_loopback(name: str) -> bool:
    """Whether a host is this machine: ``localhost``, 127.0.0.0/8 or ::1."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
