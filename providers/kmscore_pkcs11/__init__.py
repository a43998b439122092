"""Keys on a PKCS#11 token, which never leave it: the provider for hardware security modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kmscore.hookspecs import hookimpl
from kmscore.plugin import Option, OptionKind, ProviderType

if TYPE_CHECKING:
    from kmscore.plugin import Setting
    from kmscore.spi import Provider

OPTIONS: Final = (
    Option("module", "The token's PKCS#11 library.", (OptionKind.PATH,), True),
    Option("token", "The token's label."),
    Option("serial", "The token's serial number, where labels are not enough."),
    Option("uri", "The token as a pkcs11: URI (RFC 7512), instead."),
    Option("pin", "Reference to the user's PIN.", (OptionKind.SECRET,), True),
    Option(
        "path",
        "The registry: states, names and versions of the keys; made when it is not there.",
        (OptionKind.PATH,),
    ),
    Option("init_args", "The module's own initialisation string, which NSS needs.", default=""),
    Option(
        "max_sessions",
        "Most sessions with the token at once, beside the one that holds the login.",
        (OptionKind.INTEGER,),
        default=16,
    ),
    Option(
        "allow_host_oaep",
        "Take RSAES_OAEP_SHA_256 padding off on this machine where the token cannot.",
        (OptionKind.BOOLEAN,),
        default=False,
    ),
    Option(
        "deny",
        "Key specs, algorithms and features that are not to be used, and IMPORT.",
        (OptionKind.STRINGS,),
        default=(),
    ),
    Option(
        "sm2",
        "The vendor's numbers for SM2.",
        (OptionKind.TABLE,),
        options=(
            Option("key_generation", "CKM that makes pairs.", (OptionKind.INTEGER,), True),
            Option("signing", "CKM that signs a digest e.", (OptionKind.INTEGER,), True),
            Option("decryption", "CKM that decrypts.", (OptionKind.INTEGER,)),
            Option("key_type", "CKK of the keys.", (OptionKind.INTEGER,), default=3),
            Option("signature", "Its form.", default="raw", choices=("raw", "der")),
            Option(
                "ciphertext",
                "Its form.",
                default="C1C3C2",
                choices=("DER", "C1C3C2", "C1C2C3", "C1C3C2_BARE", "C1C2C3_BARE"),
            ),
        ),
    ),
    Option(
        "sm4",
        "The vendor's numbers for SM4.",
        (OptionKind.TABLE,),
        options=(
            Option("key_type", "CKK of the keys.", (OptionKind.INTEGER,), True),
            Option("key_generation", "CKM that makes keys.", (OptionKind.INTEGER,), True),
            Option("gcm", "CKM that encrypts, with GCM.", (OptionKind.INTEGER,), True),
        ),
    ),
    Option(
        "take_over",
        "Make this host the registry's host, after another one has given it up.",
        (OptionKind.BOOLEAN,),
        default=False,
    ),
)


def _open(setting: Setting) -> Provider:
    from kmscore_pkcs11._provider import Pkcs11Provider

    return Pkcs11Provider(setting)


@hookimpl
def kmscore_provider_types() -> list[ProviderType]:
    """The PKCS#11 provider."""
    return [
        ProviderType(
            name="pkcs11",
            summary="Keys on an HSM or any other PKCS#11 token",
            open=_open,
            options=OPTIONS,
        )
    ]
