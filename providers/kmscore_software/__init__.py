"""Keys in a sealed file on this machine, with the cryptography done here: the software provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kmscore.hookspecs import hookimpl
from kmscore.plugin import Option, OptionKind, ProviderType

if TYPE_CHECKING:
    from kmscore.plugin import Setting
    from kmscore.spi import Provider

OPTIONS: Final = (
    Option("path", "The keystore: one file, made when it is not there.", (OptionKind.PATH,), True),
    Option(
        "root_key",
        "Reference to the root key: 32 bytes, raw, as 64 hex digits or in base64.",
        (OptionKind.SECRET,),
    ),
    Option(
        "passphrase",
        "Reference to a passphrase that the root key is derived from (scrypt), instead.",
        (OptionKind.SECRET,),
    ),
    Option(
        "sm2_engine",
        "What computes SM2: the libcrypto of this process, or the package gmssl.",
        default="openssl",
        choices=("openssl", "gmssl"),
    ),
    Option(
        "allow_insecure",
        "Must be true for gmssl, whose timing depends on the private key.",
        (OptionKind.BOOLEAN,),
        default=False,
    ),
)


def _open(setting: Setting) -> Provider:
    from kmscore_software._provider import SoftwareProvider

    return SoftwareProvider(setting)


@hookimpl
def kmscore_provider_types() -> list[ProviderType]:
    """The software provider."""
    return [
        ProviderType(
            name="software",
            summary="Keys in a sealed file on this machine",
            open=_open,
            options=OPTIONS,
        )
    ]
