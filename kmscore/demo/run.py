"""Setting the scene: a throw-away keystore or the user's own provider, and the jobs in order."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmscore.client import connect
from kmscore.config import AuditSettings, Config
from kmscore.demo import encryption, outside, ownership, signatures, trouble
from kmscore.demo.scene import Scene
from kmscore.demo.stage import Stage

if TYPE_CHECKING:
    from typing import TextIO

THROW_AWAY = "throw-away"


def run_demo(out: TextIO, config: Config | None = None, provider: str | None = None) -> bool:
    """Run the eight jobs; whether every check passed.

    Args:
        out: Where is told what happens.
        config: The user's configuration; without one a throw-away keystore is made.
        provider: The provider of that configuration.

    Raises:
        KmsError: The provider cannot be opened, or the openssl command is missing.
    """
    outside.require_tools()
    stage = Stage(out)
    with tempfile.TemporaryDirectory(prefix="kmscore-demo-") as name:
        folder = Path(name)
        settings = config or _throw_away(folder)
        if settings.audit is None:
            # A log of one's own configuration is used as it is; else one is kept for this run.
            settings = settings._replace(audit=AuditSettings(folder / "audit.jsonl"))
        log = settings.audit
        with connect(provider, config=settings) as kms:
            kind = settings.entry(provider).type
            stage.title(
                f"kmscore demo: the jobs of a key service on provider {kms.name!r} ({kind})"
            )
            stage.say(f"files are in {folder}, and will be removed")
            scene = Scene(kms, folder, stage)
            try:
                for job in (
                    encryption.small_secret,
                    encryption.large_file,
                    encryption.key_pairs,
                    signatures.sign_and_verify,
                    ownership.own_key,
                    ownership.life_cycle,
                    trouble.throttling,
                ):
                    with stage.guarded():
                        job(scene)
            finally:
                if config is not None:
                    scene.clean_up()
        if log is not None:
            with stage.guarded():
                trouble.audit_trail(scene, log.path, log.key)
    stage.title("")
    if stage.failures:
        stage.title(f"{stage.failures} of {stage.checks} checks FAILED")
    else:
        stage.title(f"all {stage.checks} checks passed")
    return not stage.failures


def _throw_away(folder: Path) -> Config:
    root_key = os.urandom(32)
    content: dict[str, Any] = {
        "providers": {
            THROW_AWAY: {
                "type": "software",
                "path": "keystore.db",
                "root_key": lambda: root_key,
            }
        }
    }
    return Config.from_mapping(content, base=folder)
