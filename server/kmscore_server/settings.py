"""What the server is run with, as its command line says."""

from __future__ import annotations

import ipaddress
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kmscore.errors import ConfigError
from kmscore_server.credentials import DEFAULT_UIN
from kmscore_server.hall import Timeouts

if TYPE_CHECKING:
    import ssl

BACKLOG: Final = 512


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All of it; plain values, which every worker inherits.

    Attributes:
        config: The configuration file, or None to look for it.
        provider: Name of the provider, or None for the default.
        credentials: The file of credentials.
        host: The address to listen on.
        port: The port; 0 for a free one.
        allow_remote: Whether others than this machine may connect.
        tls_cert: Certificate chain in PEM, or None.
        tls_key: Its private key in PEM, or None.
        workers: Processes that serve.
        threads: Threads of each for what takes long.
        connections: Connections that each worker takes at most.
        grace: Seconds that requests have when the server ends.
        regions: Regions that there are; requests that name none are taken for the first.
        edition: FIPS or SM.
        owner: Account of keys that were not made through the API.
        state: The file of what the API keeps besides keys, or None for the default.
        rotation_interval: Seconds between two ``RotateKey`` of a key.
        key_limit: Keys of an account at most, or None.
        data_key_limit: Hosted data keys of an account at most, or None.
        seed: A file of keys to make at the start, or None.
        faults: Faults that shall happen.
        fault_seed: Makes them the same each time.
        rates: Rate limits by action.
        clock_offset: Seconds that the server's clock is ahead.
        access_log: The file, ``-`` for standard output, or None.
        timeouts: How long connections wait.
    """

    config: Path | None
    provider: str | None
    credentials: Path
    host: str = "127.0.0.1"
    port: int = 8200
    allow_remote: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    workers: int = 1
    threads: int = 8
    connections: int = 500
    grace: float = 10.0
    regions: tuple[str, ...] = ("ap-guangzhou",)
    edition: str = "FIPS"
    owner: int = DEFAULT_UIN
    state: Path | None = None
    rotation_interval: int = 86400
    key_limit: int | None = None
    data_key_limit: int | None = None
    seed: Path | None = None
    faults: tuple[str, ...] = ()
    fault_seed: int | None = None
    rates: dict[str, float] = field(default_factory=dict[str, float])
    clock_offset: float = 0.0
    access_log: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)

    def listen(self) -> socket.socket:
        """A socket that listens as asked.

        Raises:
            ConfigError: The address is not this machine's own, and nothing protects it; or it
                cannot be used.
        """
        try:
            family, _, _, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except socket.gaierror as error:
            raise ConfigError(f"there is no address {self.host!r}: {error.strerror}") from error
        if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
            self._require_protection()
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            raise ConfigError(
                f"cannot listen on {self.host}:{self.port}: {error.strerror}",
                hint="Another program may use the port: choose another with --port, or 0",
            ) from error
        listening.setblocking(False)
        return listening

    def tls(self) -> ssl.SSLContext | None:
        """TLS 1.2 or newer with the certificate, or None where there is none.

        Raises:
            ConfigError: The files cannot be used, or others may read the key.
        """
        if self.tls_cert is None and self.tls_key is None:
            return None
        if self.tls_cert is None or self.tls_key is None:
            raise ConfigError("TLS needs both --tls-cert and --tls-key")
        import ssl

        try:
            mode = self.tls_key.stat().st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise ConfigError(
                    f"others than its owner may use the key {self.tls_key}",
                    hint=f"Run: chmod 600 {self.tls_key}",
                )
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.tls_cert, self.tls_key, password=_no_password)
        except ssl.SSLError as error:
            raise ConfigError(
                f"{self.tls_cert} and {self.tls_key} are no certificate with its key",
                hint="Both are PEM, and the key has no passphrase",
            ) from error
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error
        return context

    def _require_protection(self) -> None:
        if not self.allow_remote:
            raise ConfigError(
                f"{self.host} can be reached by other machines",
                hint="If that is meant: --allow-remote, with --tls-cert and --tls-key",
            )
        if self.tls_cert is None:
            raise ConfigError(
                "other machines are served by TLS alone", hint="Give --tls-cert and --tls-key"
            )


def _no_password() -> str:
    # OpenSSL would ask at the terminal.
    return ""
