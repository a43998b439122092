"""What the jobs work with: the provider, a folder, the stage, and the keys that they make."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from kmscore.algorithms import KeySpec, KeyState, KeyUsage, Origin
from kmscore.errors import KmsError, Unsupported

if TYPE_CHECKING:
    from kmscore.client import Kms
    from kmscore.demo.stage import Stage
    from kmscore.key import Key


class Scene:
    """The jobs' surroundings.

    Attributes:
        kms: The provider.
        folder: A private folder for files.
        stage: Where is told what happens.
    """

    def __init__(self, kms: Kms, folder: Path, stage: Stage) -> None:
        self.kms = kms
        self.folder = folder
        self.stage = stage
        self._made: list[Key] = []

    def file(self, name: str, content: bytes | None = None) -> Path:
        """A file in the folder."""
        path = self.folder / name
        if content is not None:
            path.write_bytes(content)
        return path

    def symmetric(self, origin: Origin = Origin.GENERATED) -> KeySpec | None:
        """The strongest symmetric key that the provider has."""
        for spec in (KeySpec.AES_256, KeySpec.SM4, KeySpec.AES_128):
            if self.can(spec, KeyUsage.ENCRYPT_DECRYPT, origin):
                return spec
        return None

    def can(self, spec: KeySpec, usage: KeyUsage, origin: Origin = Origin.GENERATED) -> bool:
        """Whether the provider has such keys."""
        kind = self.kms.capabilities.find(spec, usage)
        return kind is not None and origin in kind.origins

    def make(
        self,
        name: str,
        spec: KeySpec,
        usage: KeyUsage | None = None,
        origin: Origin = Origin.GENERATED,
    ) -> Key:
        """Make a key for this run."""
        alias = f"demo-{name}-{secrets.token_hex(4)}"
        key = self.kms.create_key(spec, usage=usage, alias=alias, origin=origin)
        self._made.append(key)
        self.stage.say(f"made key {alias} ({spec}, {key.usage})")
        return key

    def clean_up(self) -> None:
        """Have every key of this run destroyed as soon as the provider allows."""
        for key in self._made:
            try:
                if key.describe().state is KeyState.ENABLED:
                    key.disable()
                if key.describe().state is KeyState.DISABLED:
                    key.schedule_deletion(7)
            except Unsupported:
                continue
            except KmsError as error:
                self.stage.say(f"key {key.key_id} is left behind: {error}")
