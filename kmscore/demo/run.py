"""Setting the scene: a throw-away provider or the user's own, and the jobs in order."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from kmscore.client import connect
from kmscore.config import AuditSettings
from kmscore.demo import encryption, outside, ownership, signatures, trouble
from kmscore.demo.scene import Scene
from kmscore.demo.stage import Check, Stage
from kmscore.demo.throw_away import DEFAULT, throw_away

if TYPE_CHECKING:
    from typing import TextIO

    from kmscore.config import Config


def run_demo(out: TextIO, config: Config | None = None, provider: str | None = None) -> list[Check]:
    """Run the eight jobs; what was checked, and whether it was right.

    Args:
        out: Where is told what happens.
        config: The user's configuration; without one a provider is made and thrown away.
        provider: The provider of that configuration, or what is to be made (`throw_away.MAKERS`).

    Raises:
        KmsError: The provider cannot be opened or made, or the openssl command is missing.
    """
    outside.require_tools()
    stage = Stage(out)
    with tempfile.TemporaryDirectory(prefix="kmscore-demo-") as name:
        folder = Path(name)
        made = throw_away(provider or DEFAULT, folder) if config is None else nullcontext(config)
        with made as settings:
            _run_jobs(stage, folder, settings, provider, keep=config is None)
    stage.title("")
    if stage.failures:
        stage.title(f"{stage.failures} of {len(stage.checks)} checks FAILED")
    else:
        stage.title(f"all {len(stage.checks)} checks passed")
    return stage.checks


def _run_jobs(
    stage: Stage, folder: Path, settings: Config, provider: str | None, *, keep: bool
) -> None:
    if settings.audit is None:
        # A log of one's own configuration is used as it is; else one is kept for this run.
        settings = settings._replace(audit=AuditSettings(folder / "audit.jsonl"))
    log = settings.audit
    with connect(provider, config=settings) as kms:
        kind = settings.entry(provider).type
        stage.title(f"kmscore demo: the jobs of a key service on provider {kms.name!r} ({kind})")
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
            if not keep:
                scene.clean_up()
    if log is not None:
        with stage.guarded():
            trouble.audit_trail(scene, log.path, log.key)
