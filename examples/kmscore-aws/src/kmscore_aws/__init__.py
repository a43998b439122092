"""AWS KMS as a kmscore provider, over boto3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kmscore.hookspecs import hookimpl
from kmscore.plugin import Option, OptionKind, ProviderType

if TYPE_CHECKING:
    from kmscore.plugin import Setting
    from kmscore.spi import Provider

_CREDENTIALS: Final = (
    Option("access_key_id", "Reference to the access key id.", (OptionKind.SECRET,), required=True),
    Option(
        "secret_access_key",
        "Reference to the secret access key.",
        (OptionKind.SECRET,),
        required=True,
    ),
    Option("session_token", "Reference to the token of temporary ones.", (OptionKind.SECRET,)),
)

OPTIONS: Final = (
    Option("region", "Region of the keys, such as eu-central-1.", required=True),
    Option(
        "credentials",
        "References to credentials; without them boto3's own chain is asked.",
        (OptionKind.TABLE,),
        options=_CREDENTIALS,
    ),
    Option("endpoint", "URL of the service; http:// only for a server on this machine."),
    Option("timeout", "Seconds to wait for an answer.", (OptionKind.NUMBER,), default=10.0),
)


def _open(setting: Setting) -> Provider:
    from kmscore_aws._provider import AwsProvider

    return AwsProvider(setting)


@hookimpl
def kmscore_provider_types() -> list[ProviderType]:
    """AWS KMS, or a server that speaks its API."""
    return [ProviderType("aws", "Keys in AWS KMS", _open, OPTIONS)]
