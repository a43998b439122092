"""Secrets by reference: where the configuration says that one is, and reading it when needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from kmscore.errors import CiphertextInvalid, ConfigError, InvalidRequest
from kmscore.paths import named_path
from kmscore.plugin import Secret
from kmscore.uri import KeyUri, parse_reference

MAX_BYTES: Final = 65536
"""Largest secret that is read from a file."""

Unseal = Callable[[str, bytes], bytes]
"""Has a ciphertext decrypted by the key that a reference ``kms://provider/key`` names."""

_FORMS: Final = (
    '{ env = "NAME" }, { file = "PATH" }, { prompt = "TEXT" } or '
    '{ kms = "kms://PROVIDER/KEY", file = "PATH" }'
)


def secret_of(value: Any, *, where: str, base: Path, unseal: Unseal | None = None) -> Secret:
    """The secret that a value of the configuration refers to.

    Args:
        value: A table with one of ``env``, ``file`` and ``prompt``, or with ``kms`` and ``file``;
            in code also a `Secret`, or a function that returns bytes.
        where: The option, for errors, such as ``[providers.dev] root_key``.
        base: The folder that relative files count from.
        unseal: Decrypts what another provider's key has encrypted, where that is possible.

    Raises:
        ConfigError: It is none of these. A secret itself is never accepted, nor repeated.
    """
    if isinstance(value, Secret):
        return value
    if callable(value):
        return Secret("code", cast("Callable[[], bytes]", value))
    table: Mapping[Any, Any] = cast("Any", value) if isinstance(value, Mapping) else {}
    if not table or (len(table) > 1 and set(table) != {"kms", "file"}):
        raise ConfigError(
            f"{where} must refer to a secret, not contain one", hint=f"Write it as {_FORMS}"
        )
    if not all(isinstance(target, str) and target for target in table.values()):
        raise ConfigError(f"{where} refers to nothing", hint=f"Write it as {_FORMS}")
    if len(table) == 2:
        path = named_path(table["file"], where=where, base=base)
        return _sealed_secret(table["kms"], path, where, unseal)
    kind, target = next(iter(table.items()))
    if kind == "env":
        if "=" in target or "\0" in target:
            raise ConfigError(
                f"{where}: no variable of the environment can have that name",
                hint=f"Write it as {_FORMS}",
            )
        return Secret(f"env {target}", lambda: _from_environment(target, where))
    if kind == "file":
        path = named_path(target, where=where, base=base)
        return Secret(f"file {path}", lambda: _from_file(path, where))
    if kind == "prompt":
        return Secret(f"prompt {target!r}", lambda: _from_prompt(target, where))
    # What stands there may be a part of the secret itself.
    raise ConfigError(f"{where} is no reference to a secret", hint=f"Write it as {_FORMS}")


def _sealed_secret(reference: str, path: Path, where: str, unseal: Unseal | None) -> Secret:
    try:
        uri = parse_reference(reference)
    except InvalidRequest:
        uri = KeyUri(None, None)
    if uri.provider is None or uri.key is None:
        raise ConfigError(f"{where} names no key of a provider", hint=f"Write it as {_FORMS}")

    def read() -> bytes:
        if unseal is None:
            raise ConfigError(
                f"{where} cannot be kept by a provider",
                hint='Use { env = "NAME" }, { file = "PATH" } or { prompt = "TEXT" }',
            )
        ciphertext = _contents(path, where, private=False)
        try:
            return _without_line_break(unseal(reference, ciphertext))
        except CiphertextInvalid as error:
            raise ConfigError(
                f"{where}: {path} is no ciphertext that {reference} decrypts",
                hint="Encrypt the secret with that key, without a context",
            ) from error

    return Secret(f"file {path} under {reference}", read, uri.provider)


def _from_environment(name: str, where: str) -> bytes:
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(
            f"{where}: the environment variable {name} is not set",
            hint=f"Set it, as in: export {name}=…",
        )
    return os.fsencode(value)


def _from_file(path: Path, where: str) -> bytes:
    secret = _without_line_break(_contents(path, where, private=True))
    if not secret:
        raise ConfigError(f"{where}: {path} is empty")
    return secret


def _contents(path: Path, where: str, *, private: bool) -> bytes:
    """All of a file, not empty; `private` is one that only its owner may use."""
    try:
        # Opening a pipe would wait for somebody who writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{where}: {path} is no regular file")
            if private and mode & 0o077:
                raise ConfigError(
                    f"{where}: others than its owner may use {path}",
                    hint=f"Run: chmod 600 {path}",
                )
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{where}: {path} cannot be read: {error.strerror}", hint="Check the path and its mode"
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{where}: {path} is too large for a secret")
    if not data:
        raise ConfigError(f"{where}: {path} is empty")
    return data


def _without_line_break(data: bytes) -> bytes:
    """Editors end a text with a line break: one is taken off, and only at the very end.

    What is no text is taken as it is: one in 256 random keys ends with that byte.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    if not data.endswith(b"\n") or not all(c.isprintable() or c in "\t\r\n" for c in text):
        return data
    return data.removesuffix(b"\n").removesuffix(b"\r")


def _from_prompt(text: str, where: str) -> bytes:
    import getpass
    import sys

    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            f"{where} asks for a secret, and there is no terminal to ask at",
            hint="Refer to a file or an environment variable instead",
        )
    try:
        secret = getpass.getpass(f"{text}: ", stream=sys.stderr).encode()
    except EOFError:
        secret = b""
    except UnicodeError as error:
        raise ConfigError(
            f"{where}: what was entered is not in the character set of this terminal",
            hint="Refer to a file that holds it instead",
        ) from error
    if not secret:
        raise ConfigError(f"{where}: nothing was entered")
    return secret
