"""How the service is doing, and whether its region is of the configured edition."""

from __future__ import annotations

from collections.abc import Mapping

from kmscore.errors import AccessDenied, ConfigError, KmsError
from kmscore.spi import Health
from kmscore_tencent._answers import tables_of
from kmscore_tencent._client import Client


def health_of(client: Client, edition: str, where: Mapping[str, str]) -> Health:
    """Ask the service for its status and its algorithms; reports instead of raising.

    Args:
        client: The client.
        edition: As configured.
        where: Facts for people.
    """
    details = {**where, "edition": edition}
    try:
        status = client.call("GetServiceStatus")
        if not status.get("ServiceEnabled"):
            return Health(ok=False, message="KMS is not enabled for the account", details=details)
        found = _edition(client)
    except AccessDenied:
        message = "the service answers; the account may not ask for its status"
        return Health(ok=True, message=message, details=details)
    except KmsError as error:
        return Health(ok=False, message=str(error), details=details, error=error)
    if found not in (None, edition):
        wrong = ConfigError(f"the region is of edition {found}", hint=f'Set edition = "{found}"')
        return Health(ok=False, message=str(wrong), details=details, error=wrong)
    return Health(ok=True, message="the service answers", details=details)


def _edition(client: Client) -> str | None:
    """What the service's symmetric algorithms tell of the region's edition, if anything."""
    listed = tables_of(client.call("ListAlgorithms"), "SymmetricAlgorithms")
    names = {str(entry.get("Algorithm")).upper() for entry in listed}
    editions = {"SM" if name == "SM4" else "FIPS" for name in names if name[:3] in ("SM4", "AES")}
    return editions.pop() if len(editions) == 1 else None
