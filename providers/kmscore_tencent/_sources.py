"""Where credentials lie ready: references of the configuration, the environment, a profile."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kmscore.errors import ConfigError
from kmscore.plugin import Secret
from kmscore.secret import secret_of
from kmscore_tencent._credentials import Credentials, Fixed, Triple

PROFILES: Final = Path("~/.tencentcloud/credentials")
"""The file that Tencent's SDKs share: an INI file with a section for each profile."""


def from_references(options: Mapping[str, Any]) -> Credentials:
    """The table ``credentials = { secret_id = …, secret_key = …, token = … }``."""
    secret_id: Secret = options["secret_id"]
    token: Secret | None = options.get("token")
    triple = Triple(
        _text(secret_id), _text(options["secret_key"]), _text(token) if token is not None else None
    )
    return Fixed(f"configuration ({secret_id.source})", triple)


def from_environment() -> Credentials | None:
    """``TENCENTCLOUD_SECRET_ID``, ``_SECRET_KEY`` and a session token, or None without both.

    Tencent's command line reads the token from ``TENCENTCLOUD_TOKEN``, other tools from
    ``TENCENTCLOUD_SECURITY_TOKEN``; either serves, two different ones are an error.
    """
    secret_id = os.environ.get("TENCENTCLOUD_SECRET_ID", "")
    secret_key = os.environ.get("TENCENTCLOUD_SECRET_KEY", "")
    if not secret_id and not secret_key:
        return None
    for there, missing in (("SECRET_ID", "SECRET_KEY"), ("SECRET_KEY", "SECRET_ID")):
        if not os.environ.get(f"TENCENTCLOUD_{missing}"):
            raise ConfigError(
                f"TENCENTCLOUD_{missing} is not set, though TENCENTCLOUD_{there} is",
                hint="Set both, or name another source in credentials",
            )
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
    file = PROFILES.expanduser()
    if not file.exists():
        return None
    where = f"profile {name!r}"
    content = secret_of({"file": str(file)}, where=where, base=Path()).reveal()
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(content.decode("utf-8"))
    except (UnicodeDecodeError, configparser.Error):
        # Their texts repeat what stands in the file.
        raise ConfigError(f"the credentials file {file} is no INI file") from None
    if not parser.has_section(name):
        raise ConfigError(
            f"the credentials file {file} has no section [{name}]",
            hint=f"It has: {', '.join(parser.sections()) or 'none'}",
        )
    section = parser[name]
    return Fixed(
        f"profile {name!r} in {file}",
        Triple(
            section.get("secret_id", ""),
            section.get("secret_key", ""),
            section.get("token") or None,
        ),
    )


def _text(secret: Secret) -> str:
    try:
        return secret.reveal().decode("ascii")
    except UnicodeDecodeError:
        # The native error holds what it could not read.
        raise ConfigError(f"the secret from {secret.source} is no API credential") from None
