"""The front without a server around it: what becomes of work that nobody waits for any more."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kmscore_server.actions import ACTIONS
from kmscore_server.authentication import Authenticator
from kmscore_server.credentials import read_credentials
from kmscore_server.faults import FaultScript
from kmscore_server.front import Front, Rules
from kmscore_server.message import Request, parse_head
from kmscore_server.metrics import Metrics
from kmscore_server.service import KmsApi, Settings
from kmscore_server.worker import USES

import kmscore


def test_what_was_done_is_recorded_though_nobody_can_be_answered(home, signed, http):
    """A signature that is ready when the server has ended is in the audit log all the same."""
    with kmscore.connect(config=home / "kms.toml") as kms:
        key = kms.create_key("EC_P256", usage="SIGN_VERIFY")
        api = KmsApi(kms, Settings(home / "state.db"))
        loop = asyncio.new_event_loop()
        loop.close()
        threads = ThreadPoolExecutor(1)
        front = Front(
            api,
            kms,
            Authenticator(read_credentials(home / "cred.toml", lambda *_: b""), time.time),
            Rules(frozenset(ACTIONS), "ap-guangzhou", frozenset(), USES),
            loop=loop,
            executor=threads,
            metrics=Metrics(ACTIONS),
            clock=time.time,
            faults=FaultScript(()),
            limiter=None,
            log=None,
        )
        asked = {"KeyId": key.key_id, "Algorithm": "ECC_P256_R1", "Message": "aGVsbG8="}
        body = json.dumps(asked).encode()
        headers = {"Host": "kms"} | signed(body, "kms", action="SignByAsymmetricKey")
        head, _, _ = http(headers, body).partition(b"\r\n\r\n")
        answers: list[object] = []
        client: Any = None
        front.answer(Request(parse_head(head), body), client, answers.append)
        threads.shutdown()
        front.close()
        api.close()
    events = [json.loads(line) for line in (home / "audit.jsonl").read_text().splitlines()]
    assert (events[-1]["operation"], events[-1]["caller"]) == ("sign", "AKIDtest")
    assert not answers
