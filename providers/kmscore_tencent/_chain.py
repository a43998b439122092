"""Which credentials are used: the source that the configuration names, or the first there is.

The SDK's own chain reads no session token from the environment, knows one profile only, asks the
metadata service without a time limit, and hides why it failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from kmscore.errors import AuthenticationFailed, ConfigError, Unavailable
from kmscore_tencent._metadata import from_metadata
from kmscore_tencent._sources import from_environment, from_profile, from_references
from kmscore_tencent._sts import assume_role, from_tke

if TYPE_CHECKING:
    from kmscore.plugin import Setting
    from kmscore_tencent._credentials import Credentials
    from kmscore_tencent._endpoint import Network


def find_credentials(setting: Setting, sts: Network) -> Credentials:
    """The credentials that a provider's settings ask for.

    Args:
        setting: The settings of the provider.
        sts: How the security token service is reached.

    Raises:
        ConfigError: There are none, or they are incomplete; the text says where was looked.
    """
    found = _base(setting, sts)
    role: Mapping[str, Any] | None = setting.options["assume_role"]
    if role is None:
        return found
    return assume_role(found, role, setting.options["region"], sts, setting.clock)


def _base(setting: Setting, sts: Network) -> Credentials:
    source: Any = setting.options["credentials"]
    if isinstance(source, Mapping):
        return from_references(cast("Mapping[str, Any]", source))
    kind, _, name = str(source).partition(":")
    found: Credentials | None
    match kind:
        case "auto" if not name:
            return _first(setting, sts)
        case "env" if not name:
            found = from_environment()
            missing = "TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY are not set"
        case "profile":
            found = from_profile(name or "default")
            missing = "there is no file ~/.tencentcloud/credentials"
        case "cvm-role":
            return from_metadata(
                name or None, url=setting.options["metadata_endpoint"], clock=setting.clock
            )
        case "tke-oidc" if not name:
            found = from_tke(sts, setting.clock)
            missing = "this process runs in no TKE pod: TKE_ROLE_ARN is not set"
        case _:
            # What stands there may be a secret.
            raise ConfigError(
                "the option credentials names no source",
                hint="Use auto, env, profile:NAME, cvm-role, tke-oidc, or a table of references",
            )
    if found is None:
        raise ConfigError(f"no credentials: {missing}")
    return found


def _first(setting: Setting, sts: Network) -> Credentials:
    # A pod comes before its machine, whose role is not meant for everybody on it.
    found = from_environment() or from_profile() or from_tke(sts, setting.clock)
    if found is not None:
        return found
    machine = from_metadata(url=setting.options["metadata_endpoint"], clock=setting.clock)
    try:
        machine.get_credential_info()
    except (AuthenticationFailed, Unavailable) as error:
        raise ConfigError(
            "no credentials: not in the environment (TENCENTCLOUD_SECRET_ID), in no profile "
            f"(~/.tencentcloud/credentials), not from a TKE pod, and {error.message}",
            hint='Name them: credentials = { secret_id = { env = "…" }, secret_key = { … } }',
        ) from error
    return machine
