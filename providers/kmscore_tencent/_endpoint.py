"""How a service is reached: its host and region, the way there, and what is spoken in clear."""

from __future__ import annotations

import ipaddress
import math
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from kmscore.errors import ConfigError
from kmscore.plugin import Secret

_REGION: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)


class Endpoint(NamedTuple):
    """A service.

    Attributes:
        scheme: ``https``, or ``http`` for a server on this machine.
        host: Host, with a port where one was given.
    """

    scheme: str
    host: str


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

    def __repr__(self) -> str:
        return f"<Network to {self.endpoint.scheme}://{self.endpoint.host}>"


def network_of(options: Mapping[str, Any], endpoint: str) -> Network:
    """The way to one of the services, by the provider's options.

    Args:
        options: The checked options.
        endpoint: Name of the option that holds the host.

    Raises:
        ConfigError: An option cannot be used.
    """
    timeout = float(options["timeout"])
    if not (math.isfinite(timeout) and timeout > 0):
        raise ConfigError(f"timeout is {timeout}", hint="Give seconds, more than 0")
    ca_file: Path | None = options["ca_file"]
    if ca_file is not None:
        try:
            ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise ConfigError(
                f"ca_file {ca_file} holds no certificates that can be read",
                hint="Give a file of certificates in PEM",
            ) from error
    return Network(parse_endpoint(options[endpoint]), timeout, _proxy(options["proxy"]), ca_file)


def region_of(options: Mapping[str, Any]) -> str:
    """The region that the keys are in.

    Raises:
        ConfigError: It cannot be one.
    """
    region = str(options["region"])
    if not _REGION.fullmatch(region):
        raise ConfigError(f"region {region!r} is none", hint='Write it as "ap-guangzhou"')
    return region


def parse_endpoint(text: str) -> Endpoint:
    """Read a service's host: with or without a port, or a URL without a path.

    Raises:
        ConfigError: It is no host, or it would be spoken to in clear over a network.
    """
    url = _split(text if "://" in text else f"https://{text}")
    if url is None or url.username is not None:
        # It may hold a password.
        raise ConfigError(
            "the endpoint is no host",
            hint='Write it as "kms.tencentcloudapi.com" or "http://127.0.0.1:8200"',
        )
    name = url.hostname or ""
    if url.scheme == "http" and not is_loopback(name):
        raise ConfigError(
            f"endpoint {text!r} would be spoken to without TLS",
            hint="Only a server on this machine may have http://; use https://",
        )
    host = f"[{name}]" if ":" in name else name
    return Endpoint(url.scheme, host if url.port is None else f"{host}:{url.port}")


def is_loopback(name: str) -> bool:
    """Whether a host is this machine: ``localhost``, 127.0.0.0/8 or ::1."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _proxy(value: str | Secret | None) -> str | None:
    if value is None:
        return None
    secret = isinstance(value, Secret)
    text = value.reveal().decode("utf-8", "replace") if isinstance(value, Secret) else value
    url = _split(text)
    if url is None:
        raise ConfigError("the proxy is no URL", hint='Write it as "http://proxy.example:3128"')
    if url.password is not None and not secret:
        raise ConfigError(
            "the proxy's URL holds a password",
            hint='Keep the whole URL elsewhere, and refer to it: proxy = { env = "NAME" }',
        )
    return text


def _split(text: str) -> SplitResult | None:
    """A URL with a host and without a path, or None."""
    try:
        url = urlsplit(text)
        named = bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        return None
    plain = text.isascii() and text.isprintable() and " " not in text
    bare = url.path in ("", "/") and not url.query and not url.fragment
    return url if named and plain and bare and url.scheme in ("http", "https") else None
