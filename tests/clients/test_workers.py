"""Several processes behind one port, with keys that a seed has planted: clients notice nothing."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clients.conftest import PythonSdk, Running

SEEDED = "11111111-2222-4333-8444-555555555555"
SEED = f'[[keys]]\nid = "{SEEDED}"\nalias = "orders"\n'


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A server with two workers and a seed."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "seed.toml").write_text(SEED)
    running = Running(folder, "--workers", "2", "--seed", "seed.toml")
    yield running
    running.end()


def test_every_worker_knows_every_key(running):
    """Each thread has a client, and so a connection, of its own; what one made, all can use."""
    secret = base64.b64encode(b"card number").decode()

    def work(number):
        sdk = PythonSdk(running)
        blob = sdk("Encrypt", KeyId=SEEDED, Plaintext=secret)["CiphertextBlob"]
        own = sdk("CreateKey", Alias=f"own-{number}")["KeyId"]
        hosted = {"IsHostedByKms": 1, "DataKeyName": f"name-{number}"}
        made = sdk("GenerateDataKey", KeyId=own, KeySpec="AES_256", **hosted)
        return blob, made

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(work, range(8)))
    for blob, made in results:
        sdk = PythonSdk(running)
        assert sdk("Decrypt", CiphertextBlob=blob) == {"KeyId": SEEDED, "Plaintext": secret}
        told = sdk("GetDataKeyPlaintext", DataKeyId=made["DataKeyId"])
        assert told["Plaintext"] == made["Plaintext"]
    assert PythonSdk(running)("ListKeys", Limit=200)["TotalCount"] == 9
