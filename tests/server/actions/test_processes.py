"""Several workers on one key store and one state, and others beside them."""

import multiprocessing
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from kmscore_server.api import ApiError, Call
from kmscore_server.change_mark import ChangeMark
from kmscore_server.service import KmsApi, Settings
from kmscore_server.state import State

import kmscore
from kmscore.errors import ConfigError, IntegrityError
from tests.server.actions.conftest import Account, b64

SECRET = b64(b"secret")


@pytest.fixture
def other(serve, connect):
    """Another worker."""
    return serve(connect())


def test_workers_see_each_others_keys_at_once(server, other):
    """And their states, names and data keys."""
    key = server.key()
    blob = other("Encrypt", KeyId=key, Plaintext=SECRET)["CiphertextBlob"]
    server("DisableKey", KeyId=key)
    assert other.code("Encrypt", KeyId=key, Plaintext=SECRET) == "ResourceUnavailable.CmkDisabled"
    server("EnableKey", KeyId=key)
    assert other("Decrypt", CiphertextBlob=blob)["Plaintext"] == SECRET
    hosted = {"KeySpec": "AES_256", "IsHostedByKms": 1, "DataKeyName": "orders"}
    made = server("GenerateDataKey", KeyId=key, **hosted)
    told = other("GetDataKeyPlaintext", DataKeyId=made["DataKeyId"])
    assert told["Plaintext"] == made["Plaintext"]


def test_a_new_name_counts_in_all_workers_at_once(server, other, alice):
    """Permissions go by it."""
    alice.denied = {("Encrypt", "secret")}
    key = server.key("public")
    other("Encrypt", KeyId=key, Plaintext=SECRET)
    server("UpdateAlias", KeyId=key, Alias="secret")
    assert other.code("Encrypt", KeyId=key, Plaintext=SECRET) == "UnauthorizedOperation"


def test_a_new_name_counts_in_all_threads_at_once(server, other, alice):
    """Each thread has a connection of its own, and one memory of keys serves all."""
    alice.denied = {("Encrypt", "secret")}
    keys = [server.key(f"public{number}") for number in range(20)]

    def code(key):
        try:
            return other("Encrypt", KeyId=key, Plaintext=SECRET)["KeyId"]
        except ApiError as error:
            return error.code

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        for key in keys:
            for thread in (first, second):
                assert thread.submit(code, key).result() == key
            server("UpdateAlias", KeyId=key, Alias="secret")
            for thread in (first, second):
                assert thread.submit(code, key).result() == "UnauthorizedOperation"
            server("UpdateAlias", KeyId=key, Alias=f"not-secret-{key[:8]}")


def _die_over_a_change(state):
    """Begin a change, and end after it was marked and before it is committed."""
    put = ChangeMark.put

    def put_and_die(mark, number):
        put(mark, number)
        os._exit(7)

    pytest.MonkeyPatch().setattr(ChangeMark, "put", put_and_die)
    state.touch()


def test_a_worker_that_died_over_a_change_hides_no_other_one(server, other, alice):
    """The next change gets the number that its change would have had, and is seen."""
    alice.denied = {("Encrypt", "secret")}
    key = server.key("public")
    other("Encrypt", KeyId=key, Plaintext=SECRET)
    state = server.api.context.state
    worker = multiprocessing.get_context("fork").Process(target=_die_over_a_change, args=(state,))
    worker.start()
    worker.join()
    assert worker.exitcode == 7
    assert other("Encrypt", KeyId=key, Plaintext=SECRET)["KeyId"] == key
    server("UpdateAlias", KeyId=key, Alias="secret")
    assert other.code("Encrypt", KeyId=key, Plaintext=SECRET) == "UnauthorizedOperation"


def test_a_file_that_is_no_mark_is_left_alone(tmp_path):
    """The state is then not opened."""
    mark = tmp_path / "state.db-mark"
    mark.write_text("somebody's notes")
    mark.chmod(0o600)
    with pytest.raises(ConfigError, match="is no mark of a database"):
        State(tmp_path / "state.db")
    assert mark.read_text() == "somebody's notes"


def test_a_change_between_reading_and_writing_is_not_lost(server, other, monkeypatch):
    """Another worker schedules a data key's deletion while this one is about to rename it."""
    key = server.key()
    hosted = {"KeySpec": "AES_256", "IsHostedByKms": 1, "DataKeyName": "orders"}
    data_key = server("GenerateDataKey", KeyId=key, **hosted)["DataKeyId"]
    server("DisableDataKey", DataKeyId=data_key)
    state = server.api.context.state
    read = state.data_keys

    def read_and_be_overtaken(*arguments):
        rows = read(*arguments)
        monkeypatch.undo()
        other("ScheduleDataKeyDeletion", DataKeyId=data_key, PendingWindowInDays=7)
        return rows

    monkeypatch.setattr(state, "data_keys", read_and_be_overtaken)
    server("UpdateDataKeyName", DataKeyId=data_key, DataKeyName="renamed")
    known = other("DescribeDataKey", DataKeyId=data_key)["DataKeyMetadata"]
    assert (known["DataKeyName"], known["KeyState"]) == ("renamed", "PendingDelete")
    assert known["DeletionDate"] > 0


def test_rotation_is_limited_in_all_workers_together(server, other):
    """Once a day, whoever is asked."""
    key = server.key()
    server("RotateKey", KeyId=key)
    assert other.code("RotateKey", KeyId=key) == "RequestLimitExceeded.RotateRateLimited"


def test_a_key_that_is_being_made_is_nobody_elses(server, other, kms, bob, alice):
    """Between the key store's making it and the server's noting whose it is."""
    context = server.api.context
    context.state.claim("young", bob.uin, int(context.clock()))
    key = kms.create_key("AES_256", alias="young")
    for account, total in ((alice, 0), (bob, 1)):
        assert other("ListKeys", account)["TotalCount"] == total
    code = other.code("DescribeKey", alice, KeyId=key.key_id)
    assert code == "ResourceUnavailable.CmkNotFound"
    assert other("DescribeKey", bob, KeyId=key.key_id)


def test_a_key_that_two_accounts_claim_is_nobodys_until_it_is_settled(server, kms, alice, bob):
    """Both asked for that name, one got it."""
    context = server.api.context
    for account in (alice, bob):
        context.state.claim("young", account.uin, int(context.clock()))
    key = kms.create_key("AES_256", alias="young")
    for account in (alice, bob):
        assert server("ListKeys", account)["TotalCount"] == 0
    context.state.give_up("young", alice.uin)
    assert server("ListKeys", bob)["Keys"] == [{"KeyId": key.key_id}]


def test_threads_share_one_server(server):
    """Each with a connection of its own to the state."""

    def work(number):
        key = server.key(f"key{number}")
        for step in range(10):
            blob = server("Encrypt", KeyId=key, Plaintext=SECRET)["CiphertextBlob"]
            assert server("Decrypt", CiphertextBlob=blob)["KeyId"] == key
            hosted = {"IsHostedByKms": 1, "DataKeyName": f"name{number}-{step}"}
            server("GenerateDataKey", KeyId=key, KeySpec="AES_128", **hosted)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert server("ListDataKeys")["TotalCount"] == 40


def test_of_two_threads_that_ask_for_one_name_one_gets_it(server):
    """And no key is left behind without one."""

    def work(_):
        try:
            return server.key("same")
        except ApiError as error:
            return error.code

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(work, range(4)))
    assert answers.count("InvalidParameterValue.AliasAlreadyExists") == 3
    assert server("ListKeys")["TotalCount"] == 1


def worker(folder, number, key, results):
    """A process that serves."""
    provider = {"type": "software", "path": f"{folder}/keystore.db", "root_key": lambda: bytes(32)}
    with kmscore.connect(config={"default": "dev", "providers": {"dev": provider}}) as kms:
        api = KmsApi(kms, Settings(folder / "state.db"))
        account = Account(100000000001)

        def ask(action, **parameters):
            return api.handle(Call(action, parameters, account, "", ""))

        made = [ask("CreateKey", Alias=f"worker{number}-{step}")["KeyId"] for step in range(5)]
        for one in [*made, key]:
            blob = ask("Encrypt", KeyId=one, Plaintext=SECRET)["CiphertextBlob"]
            assert ask("Decrypt", CiphertextBlob=blob)["KeyId"] == one
        api.close()
    results.put(made)


def test_processes_share_one_state(tmp_path):
    """Started afresh, all at once, on files that are not there yet."""
    provider = {
        "type": "software",
        "path": f"{tmp_path}/keystore.db",
        "root_key": lambda: bytes(32),
    }
    with kmscore.connect(config={"default": "dev", "providers": {"dev": provider}}) as kms:
        key = kms.create_key("AES_256", alias="before").key_id
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    workers = [
        spawn.Process(target=worker, args=(tmp_path, number, key, results)) for number in range(3)
    ]
    for process in workers:
        process.start()
    made = [results.get(timeout=60) for _ in workers]
    for process in workers:
        process.join()
    assert [process.exitcode for process in workers] == [0, 0, 0]
    assert len({one for ids in made for one in ids}) == 15


def test_a_fork_opens_connections_of_its_own(server):
    """And leaves those of its parent alone."""
    key = server.key()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            server("Encrypt", KeyId=key, Plaintext=SECRET)
            hosted = {"IsHostedByKms": 1, "DataKeyName": "child"}
            server("GenerateDataKey", KeyId=key, KeySpec="AES_128", **hosted)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert server("ListDataKeys")["TotalCount"] == 1


def test_a_state_that_others_may_read_is_refused(serve, tmp_path):
    """It says whose keys are."""
    (tmp_path / "state.db").touch(mode=0o644)
    with pytest.raises(ConfigError, match="others than its owner"):
        serve()


def test_a_state_that_somebody_broke_is_an_error_inside(server, tmp_path, alice):
    """The answer is a code, and no more."""
    key = server.key()
    database = sqlite3.connect(tmp_path / "state.db")
    database.execute("DROP TABLE keys")
    database.close()
    with pytest.raises(ApiError) as caught:
        server.api.handle(Call("DescribeKey", {"KeyId": key}, alice, "", ""))
    assert caught.value.code == "InternalError"
    assert "state" not in caught.value.message


def test_another_kind_of_database_is_refused(serve, tmp_path):
    """And left as it is."""
    (tmp_path / "state.db").touch(mode=0o600)
    database = sqlite3.connect(tmp_path / "state.db")
    database.execute("CREATE TABLE mine (a)")
    database.close()
    with pytest.raises(IntegrityError, match="no state of a kmscore server"):
        serve()
