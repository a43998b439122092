"""Temporary credentials from Tencent's security token service (STS, API version 2018-08-13)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kmscore.errors import ConfigError, Unavailable
from kmscore_tencent._client import sts_client
from kmscore_tencent._credentials import Credentials, Fetched, Temporary, Triple
from kmscore_tencent._endpoint import Network

_TKE: Final = (
    "TKE_REGION",
    "TKE_PROVIDER_ID",
    "TKE_WEB_IDENTITY_TOKEN_FILE",
    "TKE_ROLE_ARN",
)


def assume_role(
    credentials: Credentials,
    options: Mapping[str, Any],
    region: str,
    network: Network,
    clock: Callable[[], float] = time.time,
) -> Credentials:
    """Exchange credentials for those of a role (action ``AssumeRole``).

    Args:
        credentials: Who asks.
        options: The table ``assume_role`` of the configuration.
        region: Region of the service.
        network: How the token service is reached.
        clock: Seconds since the epoch.
    """
    client = sts_client(credentials, region, network)
    role = options["role_arn"]

    def fetch() -> Fetched:
        return _credentials_of(
            client.call(
                "AssumeRole",
                RoleArn=role,
                RoleSessionName=options["session_name"],
                DurationSeconds=options["duration"],
                ExternalId=options["external_id"],
            )
        )

    def close() -> None:
        client.close()
        credentials.close()

    return Temporary(f"role {role} assumed by {credentials.source}", fetch, clock, close)


def from_tke(network: Network, clock: Callable[[], float] = time.time) -> Credentials | None:
    """The role of the pod that we may run in (TKE), or None outside one.

    Action ``AssumeRoleWithWebIdentity``; the token file is read anew each time, since the
    cluster replaces it.

    Args:
        network: How the token service is reached.
        clock: Seconds since the epoch.
    """
    values = {name: os.environ.get(name, "") for name in _TKE}
    if not any(values.values()):
        return None
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} not set, though other TKE variables are",
            hint="Name another source in credentials, or complete the pod's environment",
        )
    client = sts_client(None, values["TKE_REGION"], network)

    def fetch() -> Fetched:
        file = Path(values["TKE_WEB_IDENTITY_TOKEN_FILE"])
        try:
            identity = file.read_text(encoding="ascii").strip()
        except OSError as error:
            raise ConfigError(f"the web identity token {file} cannot be read") from error
        except UnicodeDecodeError:
            raise ConfigError(f"the web identity token {file} is none") from None
        return _credentials_of(
            client.call_unsigned(
                "AssumeRoleWithWebIdentity",
                ProviderId=values["TKE_PROVIDER_ID"],
                WebIdentityToken=identity,
                RoleArn=values["TKE_ROLE_ARN"],
                RoleSessionName="kmscore",
                DurationSeconds=7200,
            )
        )

    return Temporary(f"role {values['TKE_ROLE_ARN']} of this pod", fetch, clock, client.close)


def _credentials_of(response: Mapping[str, Any]) -> Fetched:
    try:
        got = response["Credentials"]
        triple = Triple(str(got["TmpSecretId"]), str(got["TmpSecretKey"]), str(got["Token"]))
        return Fetched(triple, float(response["ExpiredTime"]))
    except (KeyError, TypeError, ValueError):
        raise Unavailable("the token service gave an answer that cannot be read") from None
