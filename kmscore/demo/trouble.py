"""Jobs 7 and 8: a provider that throttles, and the audit trail of everything."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from kmscore.errors import Throttled
from kmscore.gate import Gate
from kmscore.key import Key
from kmscore.retry import Retrier, RetryPolicy
from kmscore.spi import DataKey, Decrypted, Health, Provider, Symmetric

if TYPE_CHECKING:
    from pathlib import Path

    from kmscore.capabilities import Capabilities
    from kmscore.context import EncryptionContext
    from kmscore.demo.scene import Scene
    from kmscore.plugin import Secret
    from kmscore.retry import Wait

SHARE: Final = 0.5
CALLS: Final = 12
SEED: Final = 2026


class Throttling(Provider, Symmetric):
    """A provider that turns half of all calls away before they reach the real one."""

    def __init__(self, real: Symmetric, table: Capabilities) -> None:
        self._real = real
        self._table = table
        # What is drawn here decides nothing secret, and must be the same in every run.
        self._random = random.Random(SEED)  # noqa: S311
        self.turned_away = 0
        self.served = 0

    def capabilities(self) -> Capabilities:
        """Those of the real provider."""
        return self._table

    def health(self) -> Health:
        """Throttling, but well."""
        return Health(ok=True, message="throttling")

    def close(self) -> None:
        """The real provider stays open."""

    def encrypt(self, key_id: str, plaintext: bytes, context: EncryptionContext) -> bytes:
        """Encrypt, or not."""
        self._decide()
        return self._real.encrypt(key_id, plaintext, context)

    def decrypt(
        self, key_id: str | None, ciphertext: bytes, context: EncryptionContext
    ) -> Decrypted:
        """Decrypt, or not."""
        self._decide()
        return self._real.decrypt(key_id, ciphertext, context)

    def generate_data_key(self, key_id: str, length: int, context: EncryptionContext) -> DataKey:
        """Make a data key, or not."""
        self._decide()
        return self._real.generate_data_key(key_id, length, context)

    def _decide(self) -> None:
        if self._random.random() < SHARE:
            self.turned_away += 1
            raise Throttled("too many requests", code="RequestLimitExceeded")
        self.served += 1


def throttling(scene: Scene) -> None:
    """Job 7: exponential backoff with full jitter."""
    stage = scene.stage
    stage.job(7, f"A provider that throttles {SHARE:.0%} of all calls")
    spec = scene.symmetric()
    if spec is None or not isinstance(scene.kms.provider, Symmetric):
        stage.impossible("symmetric keys")
        return
    info = scene.make("busy", spec).describe()
    waits: list[Wait] = []
    busy = Throttling(scene.kms.provider, scene.kms.capabilities)
    policy = RetryPolicy(max_attempts=20, initial_delay=0.01, max_delay=0.2, deadline=20)
    gate = Gate(scene.kms.name, Retrier(policy, on_wait=waits.append))
    key = Key(gate, busy, scene.kms.capabilities, info)
    stage.say(f"{CALLS} calls, throttled at random (seed {SEED})")
    right = 0
    for number in range(CALLS):
        before = len(waits)
        ciphertext = key.encrypt(b"%d" % number)
        shown = ", ".join(f"{wait.delay * 1000:.0f} ms" for wait in waits[before:])
        stage.say(f"call {number + 1}: " + (f"waited {shown}, then done" if shown else "done"))
        right += scene.kms.decrypt(ciphertext) == b"%d" % number
    stage.check(f"{right} of {CALLS} calls succeeded", right == CALLS)
    stage.check(
        f"each was served exactly once; {busy.turned_away} were turned away and sent again",
        busy.served == CALLS and busy.turned_away == len(waits) > 0,
    )


def audit_trail(scene: Scene, log: Path, key: Secret | None) -> None:
    """Job 8: everything above was recorded, and nobody can change that unnoticed."""
    from kmscore.audit import verify_log

    stage = scene.stage
    stage.job(8, "The audit trail of all this")
    report = verify_log(log, key=key)
    stage.say(f"{report.records} records in {log}; the chain ends with {report.head[:16]}…")
    stage.check("the chain is whole", report.ok and report.records > 1)
    content = log.read_bytes()
    stage.check(
        "no plaintext was logged",
        b"correct horse" not in content and b"account number" not in content,
    )
    line = content.count(b"\n") // 2
    place = _nth_line(content, line) + 40
    altered = bytearray(content)
    altered[place] ^= 1
    copy = scene.file("audit-altered.jsonl", bytes(altered))
    copy.chmod(0o600)
    found = verify_log(copy, key=key)
    lines = sorted({finding.line for finding in found.problems})
    stage.check(
        f"one bit changed in line {line + 1} of a copy: found in line {lines[0] if lines else '-'}",
        not found.ok and line + 1 in lines,
    )


def _nth_line(content: bytes, number: int) -> int:
    place = 0
    for _ in range(number):
        place = content.index(b"\n", place) + 1
    return place
