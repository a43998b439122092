"""Where API credentials come from: a chain of our own, with bounded waiting and no silent failures.

The SDK's own chain reads no session token from the environment, knows one profile only, asks the
metadata service without a time limit, and hides why it failed.
"""

from __future__ import annotations

import configparser
import json
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from kmscore.errors import AuthenticationFailed, ConfigError, Unavailable
from kmscore.plugin import Secret

METADATA: Final = "http://metadata.tencentyun.com/latest/meta-data/cam/security-credentials/"
"""The role of the virtual machine that we may run on."""

METADATA_TIMEOUT: Final = 2.0
"""Seconds: the service is on the same host, or it is not there at all."""

RENEW_BEFORE: Final = 300.0
"""Seconds before their end at which temporary credentials are renewed."""

PROFILES: Final = (Path("~/.tencentcloud/credentials"), Path("/etc/tencentcloud/credentials"))


class Triple(NamedTuple):
    """Credentials for one request; never printed."""

    secret_id: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "<credentials>"


class Credentials(ABC):
    """Credentials as the SDK asks for them.

    Attributes:
        source: Where they come from, for people.
    """

    source: str

    @abstractmethod
    def get_credential_info(self) -> tuple[str, str, str | None]:
        """Secret id, secret key and session token; called by the SDK for every request."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} from {self.source}>"


class Fixed(Credentials):
    """Credentials that do not change while we run."""

    def __init__(self, source: str, triple: Triple) -> None:
        _require_complete(source, triple)
        self.source = source
        self._triple = triple

    def get_credential_info(self) -> tuple[str, str, str | None]:
        """The credentials."""
        return self._triple


class Temporary(Credentials):
    """Credentials that end, and are fetched again in time.

    Args:
        source: Where they come from.
        fetch: Returns new ones, and when they end in seconds since the epoch.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        source: str,
        fetch: Callable[[], tuple[Triple, float]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.source = source
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._triple: Triple | None = None
        self._ends = 0.0

    def get_credential_info(self) -> tuple[str, str, str | None]:
        """The credentials, renewed five minutes before they end."""
        with self._lock:
            now = self._clock()
            if self._triple is None or now >= self._ends - RENEW_BEFORE:
                try:
                    triple, self._ends = self._fetch()
                except Unavailable:
                    # The old ones serve on while they live.
                    if self._triple is None or now >= self._ends:
                        raise
                else:
                    _require_complete(self.source, triple)
                    self._triple = triple
            return self._triple


def from_references(options: Mapping[str, Any]) -> Credentials:
    """The table ``credentials = { secret_id = …, secret_key = …, token = … }``."""
    secrets: dict[str, str | None] = {}
    for name in ("secret_id", "secret_key", "token"):
        secret: Secret | None = options.get(name)
        secrets[name] = _text(secret) if secret is not None else None
    source: Secret = options["secret_id"]
    triple = Triple(secrets["secret_id"] or "", secrets["secret_key"] or "", secrets["token"])
    return Fixed(f"configuration ({source.source})", triple)


def from_environment() -> Credentials | None:
    """``TENCENTCLOUD_SECRET_ID``, ``_SECRET_KEY`` and a session token, or None without an id.

    Tencent's command line reads the token from ``TENCENTCLOUD_TOKEN``, other tools from
    ``TENCENTCLOUD_SECURITY_TOKEN``; either serves, two different ones are an error.
    """
    secret_id = os.environ.get("TENCENTCLOUD_SECRET_ID", "")
    secret_key = os.environ.get("TENCENTCLOUD_SECRET_KEY", "")
    if not secret_id and not secret_key:
        return None
    tokens = {
        os.environ[name]
        for name in ("TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN")
        if os.environ.get(name)
    }
    if len(tokens) > 1:
        raise ConfigError(
            "TENCENTCLOUD_TOKEN and TENCENTCLOUD_SECURITY_TOKEN differ",
            hint="Unset the one that is not meant",
        )
    token = tokens.pop() if tokens else None
    return Fixed("environment (TENCENTCLOUD_SECRET_ID)", Triple(secret_id, secret_key, token))


def from_profile(name: str = "default") -> Credentials | None:
    """A section of ``~/.tencentcloud/credentials``, or None where there is no such file."""
    for path in PROFILES:
        file = path.expanduser()
        if not file.is_file():
            continue
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            raise ConfigError(f"credentials file {file} cannot be read") from error
        if not parser.has_section(name):
            raise ConfigError(
                f"credentials file {file} has no section [{name}]",
                hint=f"It has: {', '.join(parser.sections()) or 'none'}",
            )
        section = parser[name]
        triple = Triple(
            section.get("secret_id", ""), section.get("secret_key", ""), section.get("token")
        )
        return Fixed(f"profile {name} in {file}", triple)
    return None


def from_metadata(
    role: str | None = None,
    *,
    url: str = METADATA,
    clock: Callable[[], float] = time.time,
) -> Credentials:
    """The role of the virtual machine (CVM), from its metadata service."""

    def fetch() -> tuple[Triple, float]:
        name = role or _get(url).decode("ascii", "replace").strip()
        if not name.replace("-", "").replace("_", "").isalnum():
            raise AuthenticationFailed("the metadata service names no role of this machine")
        try:
            answer = json.loads(_get(url + name))
            if answer.get("Code") != "Success":
                raise AuthenticationFailed(f"this machine cannot act as role {name}")
            triple = Triple(answer["TmpSecretId"], answer["TmpSecretKey"], answer["Token"])
            return triple, float(answer["ExpiredTime"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable("the metadata service gave an answer that cannot be read") from error

    return Temporary("role of this machine", fetch, clock)


def _get(url: str) -> bytes:
    # The metadata service is never behind a proxy.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(url, timeout=METADATA_TIMEOUT) as answer:
            return bytes(answer.read(65536))
    except (URLError, OSError) as error:
        raise Unavailable("the metadata service of this machine does not answer") from error


def _text(secret: Secret) -> str:
    try:
        return secret.reveal().decode("ascii")
    except UnicodeDecodeError as error:
        raise ConfigError(f"the secret from {secret.source} is no API credential") from error


def _require_complete(source: str, triple: Triple) -> None:
    for name, value in zip(("secret id", "secret key"), triple[:2], strict=True):
        if not value or value != value.strip() or not value.isascii():
            raise ConfigError(
                f"the {name} from {source} is empty, or holds blanks or other odd characters",
                hint="Copy it again from the console, without blanks",
            )
