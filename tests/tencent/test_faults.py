"""Thousands of operations through a server that throttles, drops and fails."""

import json
import random
import threading
from collections import Counter

import pytest

import kmscore
from kmscore import Message
from kmscore.errors import KmsError

OPERATIONS = 2_000
FAULTS = ("*: throttle 30%", "*: drop 5%", "*: InternalError 5%")
RETRY = {"max_attempts": 30, "initial_delay": 0.1, "max_delay": 5.0, "deadline": 300}


@pytest.fixture(scope="module")
def troubled(serve, tmp_path_factory):
    """A server with faults; the table of its provider, and what it has seen."""
    log = tmp_path_factory.mktemp("log") / "access.jsonl"
    faults = [word for fault in (*FAULTS, "CreateKey: lose 10%") for word in ("--fault", fault)]
    table = serve("--access-log", str(log), "--fault-seed", "1", *faults)

    def seen():
        return [json.loads(line) for line in log.read_text().splitlines()]

    return table, seen


class Bench:
    """Keys of every kind, and what can be done with them."""

    def __init__(self, kms):
        self.kms = kms
        self.symmetric = self._made("AES_256")
        self.signer = self._made("EC_P256")
        self.rsa = self._made("RSA_2048", usage="ASYMMETRIC_DECRYPT")
        self.public = self.rsa.public_key()
        self.blob = self.symmetric.encrypt(b"blob", context={"a": "1"})
        self.signature = self.signer.sign(Message(b"m"))
        self.jobs = [
            self.round_trip,
            lambda: self.symmetric.decrypt(self.blob, context={"a": "1"}) == b"blob",
            lambda: len(self.symmetric.generate_data_key().plaintext) == 32,
            lambda: self.signer.verify(Message(b"m"), self.signature),
            lambda: self.signer.public_key().verify(
                Message(b"n"), self.signer.sign(Message(b"n")), algorithm="ECDSA_SHA_256"
            ),
            lambda: self.rsa.decrypt(self.public.encrypt(b"rsa")) == b"rsa",
            lambda: len(self.kms.generate_random(16)) == 16,
            lambda: self.symmetric.describe().key_id == self.symmetric.key_id,
            lambda: self.kms.key("steady").key_id == self.symmetric.key_id,
            self.switch,
            lambda: self.symmetric.set_description("d") is None,
            lambda: len(list(self.kms.keys())) >= 3,
        ]
        self.symmetric.set_alias("steady")

    def _made(self, spec, **options):
        """Creating is sent once, so that who wants a key for certain asks again."""
        while True:
            try:
                return self.kms.create_key(spec, **options)
            except KmsError:
                continue

    def round_trip(self):
        """Encrypt and decrypt."""
        return self.symmetric.decrypt(self.symmetric.encrypt(b"x")) == b"x"

    def switch(self):
        """Off and on again."""
        self.signer.enable()
        return True


def test_no_fault_reaches_who_asks_and_every_wait_is_bounded(troubled):
    """2,000 mixed operations in four threads: each succeeds, and is right."""
    table, seen = troubled
    waits: list[float] = []
    failures: list[object] = []
    config = {"providers": {"cloud": table}, "retry": RETRY}
    with kmscore.connect(config=config, sleep=waits.append) as kms:
        bench = Bench(kms)
        before = len(seen())

        def work(seed):
            draw = random.Random(seed)
            for _ in range(OPERATIONS // 4):
                job = draw.choice(bench.jobs)
                try:
                    if job() is not True:
                        failures.append("a wrong result")
                except KmsError as error:
                    failures.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert max(waits) <= RETRY["max_delay"]
    outcomes = Counter(entry["outcome"] for entry in seen()[before:])
    shares = {name: count / outcomes.total() for name, count in outcomes.items()}
    assert shares["RequestLimitExceeded"] == pytest.approx(0.30, abs=0.04)
    assert shares["dropped"] == pytest.approx(0.035, abs=0.02)
    assert shares["InternalError"] == pytest.approx(0.033, abs=0.02)


def test_no_key_is_made_twice(troubled):
    """As many requests as calls, whatever happens to them; what is lost is told as not known."""
    table, seen = troubled
    before = sum(entry["action"] == "CreateKey" for entry in seen())
    outcomes: Counter[str] = Counter()
    config = {"providers": {"cloud": table}, "retry": RETRY}
    with kmscore.connect(config=config, sleep=lambda _: None) as kms:
        known = {info.key_id for info in list(kms.keys())}
        for number in range(200):
            try:
                kms.create_key("AES_256", alias=f"once-{number}")
                outcomes["made"] += 1
            except KmsError as error:
                outcomes[type(error).__name__] += 1
        made = [info for info in list(kms.keys()) if info.key_id not in known]
    assert sum(entry["action"] == "CreateKey" for entry in seen()) - before == 200
    assert set(outcomes) == {"made", "Throttled", "Timeout", "Unavailable"}
    aliases = [info.alias for info in made]
    assert len(aliases) == len(set(aliases))
    assert outcomes["made"] <= len(made) <= outcomes["made"] + outcomes["Timeout"]
