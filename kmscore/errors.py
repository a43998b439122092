"""The tree of errors: every failure of kmscore is one of these, whichever provider raised it.

::

    KmsError
    ├── ConfigError            the configuration is wrong, or a secret it refers to cannot be read
    ├── PluginError            a provider cannot be loaded
    ├── Unsupported            the provider, or this machine, cannot do that at all
    ├── InvalidRequest         an argument is wrong
    │   └── LimitExceeded      an argument is too large, or a quota is used up
    ├── KeyNotFound            no such key
    ├── KeyStateError          the key's state forbids it (`state`)
    ├── KeyUsageMismatch       the key exists for another purpose
    ├── AlreadyExists          the name is taken
    ├── AccessDenied           who asks is known, and may not
    ├── AuthenticationFailed   who asks is not known: credentials, PIN
    ├── Throttled              too many requests (`retry_after`)
    ├── Unavailable            the provider does not answer
    ├── Timeout                no answer in time: whether it was done is not known
    ├── CiphertextInvalid      cannot be decrypted; why is never told
    ├── ImportTokenExpired     the import parameters are too old, or newer ones were issued
    ├── ImportMaterialInvalid  the wrapped material cannot be used
    ├── MaterialMismatch       the key once held other material
    ├── IntegrityError         stored data was altered, or has another root key
    └── InternalError          a defect, here or in the provider

What the caller can do decides the class, not what went wrong inside. `retryable` says whether the
same call may succeed later. No error ever carries a secret.
"""

from __future__ import annotations

from typing import Any


class KmsError(Exception):
    """Base of all errors of kmscore; never raised itself.

    Args:
        message: What happened, in one sentence, without secrets.
        hint: What to do about it.
        provider: Configured name of the provider.
        operation: The operation that failed, such as ``encrypt``.
        key: Key id, alias or URI as the caller gave it.
        code: The native code, such as ``ResourceUnavailable.CmkNotFound`` or ``CKR_PIN_INCORRECT``.
        request_id: The provider's id of the request.
    """

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        provider: str = "",
        operation: str = "",
        key: str = "",
        code: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.provider = provider
        self.operation = operation
        self.key = key
        self.code = code
        self.request_id = request_id

    def at(self, *, provider: str = "", operation: str = "", key: str = "") -> KmsError:
        """Fill in where it happened, keeping what is already known; returns itself."""
        self.provider = self.provider or provider
        self.operation = self.operation or operation
        self.key = self.key or key
        return self

    def __str__(self) -> str:
        where = " ".join(part for part in (self.provider, self.operation, self.key) if part)
        native = ", ".join(
            f"{name} {value}"
            for name, value in (("code", self.code), ("request", self.request_id))
            if value
        )
        text = f"{where}: {self.message}" if where else self.message
        if native:
            text += f" ({native})"
        return f"{text}. {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.message,), self.__dict__)


class ConfigError(KmsError):
    """The configuration is wrong, or a secret that it refers to cannot be read."""


class PluginError(KmsError):
    """A provider cannot be loaded: missing library, broken plugin, name taken twice."""


class Unsupported(KmsError):
    """The provider, or this machine, cannot do that at all."""


class InvalidRequest(KmsError, ValueError):
    """An argument is wrong, or the provider was closed before."""


class LimitExceeded(InvalidRequest):
    """An argument is too large, or a quota is used up."""


class KeyNotFound(KmsError, LookupError):
    """No such key."""


class KeyStateError(KmsError):
    """The key's state forbids the operation.

    Attributes:
        state: The `KeyState` that the key is in, as a string.
    """

    def __init__(self, message: str, *, state: str = "", **where: str) -> None:
        super().__init__(message, **where)
        self.state = state


class KeyUsageMismatch(KmsError):
    """The key exists for another purpose than the one asked for."""


class AlreadyExists(KmsError):
    """The name is taken."""


class AccessDenied(KmsError):
    """Who asks is known, and may not do that."""


class AuthenticationFailed(KmsError):
    """Who asks is not known: wrong credentials or PIN. Never retried."""


class Throttled(KmsError):
    """Too many requests.

    Attributes:
        retry_after: Seconds to wait as the provider asked for, or None.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **where: str) -> None:
        super().__init__(message, **where)
        self.retry_after = retry_after


class Unavailable(KmsError):
    """The provider does not answer, or says that it cannot serve now."""

    retryable = True


class Timeout(KmsError):
    """No answer in time: whether the operation was carried out is not known."""

    retryable = True


class CiphertextInvalid(KmsError):
    """The ciphertext cannot be decrypted.

    Format, key, padding, tag and context are never told apart: the difference is an oracle. So it
    has no native code either.
    """

    def __init__(
        self,
        message: str = "the ciphertext cannot be decrypted with this key and context",
        **where: str,
    ) -> None:
        where.pop("code", None)
        super().__init__(message, **where)


class ImportTokenExpired(KmsError):
    """The import parameters are older than 24 hours, or newer ones were issued since."""


class ImportMaterialInvalid(KmsError):
    """The wrapped key material cannot be unwrapped, or has the wrong length."""


class MaterialMismatch(KmsError):
    """The key once held other material; only the identical material may return."""


class IntegrityError(KmsError):
    """Stored data was altered (envelope, keystore, audit log), or a root key is another one."""


class InternalError(KmsError):
    """A defect, in kmscore or in the provider."""
