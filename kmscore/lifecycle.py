"""A key's life: the provider's word on its state, and material of one's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kmscore.algorithms import KeyUsage, Origin, WrappingAlgorithm, parse
from kmscore.capabilities import Feature
from kmscore.checks import require_bytes, require_days, require_text
from kmscore.errors import InvalidRequest, Unsupported
from kmscore.handle import KeyHandle
from kmscore.retry import Replay
from kmscore.spi import KeyImporter, KeyManager

if TYPE_CHECKING:
    from kmscore.spi import ImportParameters, KeyInfo


class KeyLife(KeyHandle):
    """What brings a key from one state into another; see `kmscore.key.Key`."""

    # --- Bring your own key ------------------------------------------------------------------

    def import_parameters(
        self, wrapping: WrappingAlgorithm | str = WrappingAlgorithm.RSAES_OAEP_SHA_256
    ) -> ImportParameters:
        """A wrapping key and a token for the owner of the material; older ones become invalid."""
        importer = self._importer("get_import_parameters")
        chosen = parse(WrappingAlgorithm, wrapping, "wrapping algorithm")
        if chosen not in self._capabilities.wrapping:
            error = Unsupported(
                f"the provider does not unwrap {chosen}",
                hint=f"It unwraps {', '.join(sorted(self._capabilities.wrapping)) or 'nothing'}",
            )
            raise self._refusal(error, "get_import_parameters")
        # A replay would invalidate an answer that arrives late.
        return self._run(
            "get_import_parameters", Replay.UNSAFE, importer.get_import_parameters, chosen
        )

    def import_material(
        self, wrapped: bytes, token: bytes, *, valid_to: datetime | None = None
    ) -> None:
        """Hand in wrapped material; the key is enabled.

        Args:
            wrapped: The material, encrypted once under the wrapping key.
            token: The token that came with the wrapping key.
            valid_to: When the material expires: an aware time, or None for never.

        Raises:
            ImportTokenExpired: The token is too old, or newer parameters were issued.
            ImportMaterialInvalid: It does not unwrap, or has the wrong length.
            MaterialMismatch: The key once held other material.
        """
        importer = self._importer("import_key_material")
        require_bytes(wrapped, "wrapped material")
        require_bytes(token, "import token")
        if valid_to is not None:
            # Callers without a type checker pass numbers and strings.
            if not isinstance(valid_to, datetime) or valid_to.tzinfo is None:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidRequest("valid_to has no time zone", hint="Give an aware datetime")
            if Feature.MATERIAL_EXPIRY not in self._features:
                error = Unsupported("imported material does not expire at this provider")
                raise self._refusal(error, "import_key_material")
            try:
                valid_to = valid_to.astimezone(UTC)
            except OverflowError as cause:
                raise InvalidRequest("valid_to is a year that no calendar has") from cause
        # The same material under the same token has the same effect, however often it arrives.
        self._run(
            "import_key_material",
            Replay.SAFE,
            importer.import_key_material,
            wrapped,
            token,
            valid_to,
        )

    def delete_material(self) -> None:
        """Have the provider forget imported material; the key then waits for the same again."""
        importer = self._importer("delete_key_material")
        self._run("delete_key_material", Replay.UNSAFE, importer.delete_key_material)

    # --- Life cycle --------------------------------------------------------------------------

    def describe(self) -> KeyInfo:
        """What is known of the key now."""
        return self._run("describe_key", Replay.SAFE, self._spi(KeyManager).describe_key)

    def enable(self) -> None:
        """Allow the use of a disabled key again."""
        self._run("enable_key", Replay.SAFE, self._spi(KeyManager).enable_key)

    def disable(self) -> None:
        """Forbid every use until `enable`."""
        self._run("disable_key", Replay.SAFE, self._spi(KeyManager).disable_key)

    def schedule_deletion(self, days: int) -> datetime:
        """Have a disabled key destroyed after a waiting time.

        Args:
            days: 7 to 30.

        Returns:
            When it will be destroyed.

        Raises:
            KeyStateError: The key is not disabled.
        """
        self._require_feature(Feature.DELETION, "schedule_key_deletion")
        require_days(days, self._limits.deletion_days, "waiting time")
        manager = self._spi(KeyManager)
        return self._run(
            "schedule_key_deletion", Replay.UNSAFE, manager.schedule_key_deletion, days
        )

    def cancel_deletion(self) -> None:
        """Keep a key that is pending deletion; it stays disabled."""
        self._require_feature(Feature.DELETION, "cancel_key_deletion")
        manager = self._spi(KeyManager)
        self._run("cancel_key_deletion", Replay.UNSAFE, manager.cancel_key_deletion)

    def set_alias(self, alias: str) -> None:
        """Give the key another name.

        Raises:
            AlreadyExists: Another key has it.
        """
        self._require_feature(Feature.ALIASES, "set_alias")
        name = require_text(alias, "alias")
        self._run("set_alias", Replay.SAFE, self._spi(KeyManager).set_alias, name)

    def set_description(self, description: str) -> None:
        """Replace the free text."""
        text = require_text(description, "description")
        self._run("set_description", Replay.SAFE, self._spi(KeyManager).set_description, text)

    def rotate(self) -> None:
        """Make a new version now; the old ones go on decrypting. Sent once, whatever happens."""
        self._require_feature(Feature.ROTATION, "rotate_key")
        self._require_rotatable("rotate_key")
        self._run("rotate_key", Replay.NEVER, self._spi(KeyManager).rotate_key)

    def set_rotation(self, days: int | None) -> None:
        """Rotate every ``days`` days (7 to 365), or with None no more."""
        self._require_feature(Feature.ROTATION_SCHEDULE, "set_rotation")
        self._require_rotatable("set_rotation")
        if days is not None:
            require_days(days, self._limits.rotation_days, "rotation period")
        self._run("set_rotation", Replay.SAFE, self._spi(KeyManager).set_rotation, days)

    def archive(self) -> None:
        """Keep the key for decryption only."""
        self._require_feature(Feature.ARCHIVE, "archive_key")
        self._run("archive_key", Replay.UNSAFE, self._spi(KeyManager).archive_key)

    def restore(self) -> None:
        """Bring an archived key back to full use."""
        self._require_feature(Feature.ARCHIVE, "restore_key")
        self._run("restore_key", Replay.UNSAFE, self._spi(KeyManager).restore_key)

    # --- Checks ------------------------------------------------------------------------------

    def _importer(self, operation: str) -> KeyImporter:
        if self.origin is not Origin.EXTERNAL:
            error = InvalidRequest(
                "the key's material was generated, not imported",
                hint="Create a key with origin EXTERNAL",
            )
            raise self._refusal(error, operation)
        return self._spi(KeyImporter)

    def _require_rotatable(self, operation: str) -> None:
        if self.usage is not KeyUsage.ENCRYPT_DECRYPT or self.origin is not Origin.GENERATED:
            error = Unsupported(
                "asymmetric and external keys do not rotate",
                hint="Create a new key, and move the alias",
            )
            raise self._refusal(error, operation)
