"""Which credentials are used: the source that the configuration names, or the first there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from kmscore.errors import ConfigError, Unavailable
from kmscore_tencent._credentials import (
    Credentials,
    from_environment,
    from_metadata,
    from_profile,
    from_references,
)
from kmscore_tencent._sts import assume_role, from_tke

if TYPE_CHECKING:
    from kmscore.plugin import Setting
    from kmscore_tencent._client import Network


def find_credentials(setting: Setting, network: Network) -> Credentials:
    """The credentials that a provider's settings ask for.

    Raises:
        ConfigError: There are none, or they are incomplete; the text says where was looked.
    """
    found = _base(setting.options["credentials"], setting, network)
    role: Mapping[str, Any] | None = setting.options.get("assume_role")
    if role is None:
        return found
    return assume_role(found, role, setting.options["region"], network, setting.clock)


def _base(source: Any, setting: Setting, network: Network) -> Credentials:
    if isinstance(source, Mapping):
        return from_references(cast("Mapping[str, Any]", source))
    kind, _, name = str(source).partition(":")
    found: Credentials | None
    match kind:
        case "auto" if not name:
            return _first(setting, network)
        case "env" if not name:
            found = from_environment()
            missing = "TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY are not set"
        case "profile":
            found = from_profile(name or "default")
            missing = "there is no file ~/.tencentcloud/credentials"
        case "cvm-role":
            found = from_metadata(name or None, clock=setting.clock)
            missing = ""
        case "tke-oidc" if not name:
            found = from_tke(network, setting.clock)
            missing = "this process runs in no TKE pod: TKE_ROLE_ARN is not set"
        case _:
            raise ConfigError(
                f"credentials = {source!r} is no source",
                hint="Use auto, env, profile:NAME, cvm-role, tke-oidc, or a table of references",
                provider=setting.name,
            )
    if found is None:
        raise ConfigError(f"no credentials: {missing}", provider=setting.name)
    return found


def _first(setting: Setting, network: Network) -> Credentials:
    found = from_environment() or from_profile() or from_tke(network, setting.clock)
    if found is not None:
        return found
    machine = from_metadata(clock=setting.clock)
    try:
        machine.get_credential_info()
    except Unavailable as error:
        raise ConfigError(
            "no credentials: not in the environment (TENCENTCLOUD_SECRET_ID), in no profile "
            "(~/.tencentcloud/credentials), not from a TKE pod, and this machine has no role",
            hint='Name them: credentials = { secret_id = { env = "…" }, secret_key = { … } }',
            provider=setting.name,
        ) from error
    return machine
