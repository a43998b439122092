"""Tencent Cloud KMS as a kmscore provider, over Tencent's own SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kmscore.hookspecs import hookimpl
from kmscore.plugin import Option, OptionKind, ProviderType

if TYPE_CHECKING:
    from kmscore.plugin import Setting
    from kmscore.spi import Provider

_CREDENTIALS: Final = (
    Option("secret_id", "Reference to the API secret id.", (OptionKind.SECRET,), required=True),
    Option("secret_key", "Reference to the API secret key.", (OptionKind.SECRET,), required=True),
    Option("token", "Reference to the token of temporary credentials.", (OptionKind.SECRET,)),
)

_ASSUME_ROLE: Final = (
    Option("role_arn", "The role to assume with the credentials.", required=True),
    Option("session_name", "Name of the session in Tencent's audit.", default="kmscore"),
    Option("external_id", "External id that the role's trust policy asks for."),
    Option(
        "duration",
        "Seconds that the temporary credentials live; they are renewed in time.",
        (OptionKind.INTEGER,),
        default=7200,
    ),
)

OPTIONS: Final = (
    Option("region", "Region of the keys, such as ap-guangzhou.", required=True),
    Option(
        "credentials",
        "Where credentials come from: a table of references, or one of auto, env, profile, "
        "profile:NAME, cvm-role, cvm-role:NAME, tke-oidc.",
        (OptionKind.TABLE, OptionKind.STRING),
        required=True,
        options=_CREDENTIALS,
    ),
    Option(
        "assume_role",
        "Exchange the credentials for those of a role.",
        (OptionKind.TABLE,),
        options=_ASSUME_ROLE,
    ),
    Option(
        "endpoint",
        "Host of the service; with http:// only for a server on this machine.",
        default="kms.tencentcloudapi.com",
    ),
    Option(
        "sts_endpoint",
        "Host of the security token service, for assume_role and tke-oidc.",
        default="sts.tencentcloudapi.com",
    ),
    Option(
        "metadata_endpoint",
        "The metadata service of the virtual machine, for cvm-role.",
        default="http://metadata.tencentyun.com",
    ),
    Option(
        "proxy",
        "URL of an HTTP proxy, or a reference to one that holds a password; the environment's "
        "proxies are not used.",
        (OptionKind.STRING, OptionKind.SECRET),
    ),
    Option(
        "ca_file",
        "Certificates (PEM) to trust instead of the usual ones.",
        (OptionKind.PATH,),
    ),
    Option(
        "timeout",
        "Seconds without a byte of an answer before it is given up; for a connection at most 5.",
        (OptionKind.NUMBER,),
        default=10.0,
    ),
    Option(
        "edition",
        "What symmetric keys are in the region: FIPS (AES-256) or SM (SM4).",
        default="FIPS",
        choices=("FIPS", "SM"),
    ),
)


def _open(setting: Setting) -> Provider:
    from kmscore_tencent._provider import TencentProvider

    return TencentProvider(setting)


@hookimpl
def kmscore_provider_types() -> list[ProviderType]:
    """Tencent Cloud KMS, or a server that speaks its API."""
    return [
        ProviderType(
            name="tencent",
            summary="Keys in Tencent Cloud KMS, or in a server that speaks its API",
            open=_open,
            options=OPTIONS,
        )
    ]
