"""The root key: where it comes from, and what it protects: the keystore's master key.

The master key is random and never changes. It lies in the file, sealed under the root key, so that
another root key means sealing 32 bytes again, in one transaction. From the master key come, by
HKDF-SHA256 (RFC 5869), one key for each purpose.
"""

import os
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kmscore.errors import ConfigError, IntegrityError
from kmscore.hashing import hmac_sha256
from kmscore.plugin import Secret

KEY_BYTES: Final = 32
MIN_PASSPHRASE_BYTES: Final = 8

SCRYPT_N: Final = 1 << 17
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
"""Cost of a passphrase: 128 MiB of memory and about half a second (RFC 7914)."""

_RAW: Final = 1
_SCRYPT: Final = 2
"""How the root key comes about; another cost of scrypt would be another number."""

_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_LABEL: Final = b"kmscore keystore master key v1"


class Root(NamedTuple):
    """What opens a keystore, by reference.

    Attributes:
        secret: Where it is read from.
        is_passphrase: Whether the root key is derived from it.
    """

    secret: Secret
    is_passphrase: bool

    def read(self) -> "RootSecret":
        """Read it, which may ask somebody at a terminal: hold nothing that others wait for.

        Raises:
            ConfigError: It cannot be read, or is neither 32 bytes nor a passphrase long enough.
        """
        source = self.secret.source
        value = self.secret.reveal()
        if not self.is_passphrase:
            value = _parse_key(value, source)
        elif len(value) < MIN_PASSPHRASE_BYTES:
            raise ConfigError(
                f"the passphrase from {source} is too short",
                hint=f"Use at least {MIN_PASSPHRASE_BYTES} bytes",
            )
        return RootSecret(value, self.is_passphrase, source)


class RootSecret(NamedTuple):
    """What opens a keystore, itself; never printed.

    Attributes:
        value: The root key, 32 bytes, or the passphrase.
        is_passphrase: Which of them.
        source: Where it came from.
    """

    value: bytes
    is_passphrase: bool
    source: str

    def __repr__(self) -> str:
        return f"<RootSecret from {self.source}>"


class Subkeys(NamedTuple):
    """What the master key becomes; never printed.

    Attributes:
        sealing: Seals key material.
        rows: Authenticates the rows of the file.
        fingerprints: Recognises imported material.
    """

    sealing: bytes
    rows: bytes
    fingerprints: bytes

    def __repr__(self) -> str:
        return "<Subkeys>"


def root_of(root_key: Secret | None, passphrase: Secret | None) -> Root:
    """The root that the options name.

    Raises:
        ConfigError: Not exactly one of them is given.
    """
    if root_key is not None and passphrase is None:
        return Root(root_key, is_passphrase=False)
    if passphrase is not None and root_key is None:
        return Root(passphrase, is_passphrase=True)
    raise ConfigError(
        "a software provider needs either root_key or passphrase",
        hint='For example: root_key = { env = "KMSCORE_ROOT_KEY" }',
    )


def new_master_key(root: RootSecret) -> tuple[bytes, bytes]:
    """A fresh master key, and the same sealed under the root key."""
    master = os.urandom(KEY_BYTES)
    return master, seal_master_key(master, root)


def seal_master_key(master: bytes, root: RootSecret) -> bytes:
    """The master key under a root key: kind, salt, nonce, ciphertext and tag."""
    kind = _SCRYPT if root.is_passphrase else _RAW
    salt = os.urandom(_SALT_BYTES)
    head = bytes([kind]) + salt
    nonce = os.urandom(_NONCE_BYTES)
    key = _root_key(root, salt)
    return head + nonce + AESGCM(key).encrypt(nonce, master, _LABEL + head)


def open_master_key(sealed: bytes, root: RootSecret, where: str) -> bytes:
    """The master key.

    Args:
        sealed: What `seal_master_key` returned.
        root: What opens it.
        where: The keystore, for errors.

    Raises:
        IntegrityError: The root key is another one, or the file was altered.
        ConfigError: The keystore has a passphrase and a root key was given, or the reverse.
    """
    head = sealed[: 1 + _SALT_BYTES]
    nonce = sealed[len(head) : len(head) + _NONCE_BYTES]
    box = sealed[len(head) + _NONCE_BYTES :]
    if len(box) != KEY_BYTES + 16 or head[0] not in (_RAW, _SCRYPT):
        raise IntegrityError(f"the master key in {where} was altered")
    if (head[0] == _SCRYPT) != root.is_passphrase:
        has, given = ("a passphrase", "root_key")
        if head[0] == _RAW:
            has, given = ("a root key", "passphrase")
        raise ConfigError(f"{where} has {has}, but {given} was given")
    key = _root_key(root, head[1:])
    try:
        return AESGCM(key).decrypt(nonce, box, _LABEL + head)
    except InvalidTag as error:
        raise IntegrityError(
            f"the secret from {root.source} does not open {where}",
            hint="Give the root key or passphrase that it was made with; nothing was changed",
        ) from error


def derive(master: bytes) -> Subkeys:
    """The keys for each purpose: HKDF-Expand of one block, which is one HMAC (RFC 5869, 2.3)."""

    def subkey(purpose: bytes) -> bytes:
        return hmac_sha256(master, b"kmscore keystore v1 " + purpose + b"\x01")

    return Subkeys(subkey(b"sealing"), subkey(b"rows"), subkey(b"fingerprints"))


def _root_key(root: RootSecret, salt: bytes) -> bytes:
    if not root.is_passphrase:
        return root.value
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt, KEY_BYTES, SCRYPT_N, SCRYPT_R, SCRYPT_P).derive(root.value)


def _from_base64(text: bytes) -> bytes:
    from base64 import b64decode

    return b64decode(text, validate=True)


def _parse_key(secret: bytes, source: str) -> bytes:
    if len(secret) == KEY_BYTES:
        return secret
    text = secret.strip()
    try:
        key = bytes.fromhex(text.decode()) if len(text) == 64 else _from_base64(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"the root key from {source} is not {KEY_BYTES} bytes",
            hint="Make one with: openssl rand -hex 32",
        )
    return key
