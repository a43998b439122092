"""The API over a software provider, in this process: every answer is held against the SDK."""

import base64
import json
from importlib import import_module
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from kmscore_server.api import ApiError, Call, Caller
from kmscore_server.errors import allowed
from kmscore_server.service import KmsApi, Settings

import kmscore

NOON = 1_700_000_000
models = import_module("tencentcloud.kms.v20190118.models")


class Clock:
    """Stands still until it is set."""

    def __init__(self):
        self.now: float = NOON

    def __call__(self):
        return self.now


class Account(Caller):
    """A caller who may do everything but what is denied.

    Attributes:
        denied: Pairs of action and alias, or of action and key id.
        asked: What the API asked about.
    """

    def __init__(self, uin):
        self.secret_id = f"id-of-{uin}"
        self.uin = uin
        self.app_id = uin + 1
        self.denied = set()
        self.asked = []

    def require(self, action, key_id="", alias=""):
        self.asked.append((action, key_id, alias))
        if {(action, key_id), (action, alias)} & self.denied:
            raise ApiError("UnauthorizedOperation", "no")


class Server:
    """The API as clients see it, without HTTP."""

    def __init__(self, api, account):
        self.api = api
        self.account = account

    def raw(self, action, parameters, account=None):
        """Fields of the response; what is no documented answer to this action fails the test."""
        wire = json.loads(json.dumps(parameters))
        call = Call(action, wire, account or self.account, "ap-guangzhou", "request")
        try:
            answer = self.api.handle(call)
        except ApiError as error:
            if (
                error.code not in allowed(action) - {"InternalError"}
                or not error.message.isprintable()
            ):
                pytest.fail(f"{action} does not document {error}")
            raise
        # A field that the SDK does not know is a warning, and warnings are errors here.
        response = getattr(models, f"{action}Response")()
        response._deserialize(json.loads(json.dumps({**answer, "RequestId": "request"})))
        return answer

    def __call__(self, action, account=None, **parameters):
        """The same, with parameters as arguments."""
        return self.raw(action, parameters, account)

    def code(self, action, account=None, **parameters):
        """The code that the request is refused with."""
        with pytest.raises(ApiError) as caught:
            self.raw(action, parameters, account)
        return caught.value.code

    def key(self, alias="key", **parameters):
        """A new key's id."""
        return self("CreateKey", Alias=alias, **parameters)["KeyId"]

    def state_of(self, key_id):
        """``KeyState``."""
        return self("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"]


Parameters = dict[str, Any]


def b64(data):
    """Base64 as the API has it."""
    return base64.b64encode(data).decode()


def unb64(text):
    """What was in base64."""
    return base64.b64decode(text, validate=True)


def outsider(der) -> Any:
    """A public key in the hands of somebody who knows nothing of kmscore."""
    return load_der_public_key(der)


@pytest.fixture
def clock():
    """The time that key store and server see."""
    return Clock()


@pytest.fixture
def connect(tmp_path, clock):
    """Opens the key store once more, as another process does."""
    opened = []

    def connect(**options):
        provider = {"type": "software", "path": str(tmp_path / "keystore.db"), **options}
        provider["root_key"] = lambda: bytes(32)
        config = {"default": "dev", "providers": {"dev": provider}}
        opened.append(kmscore.connect(config=config, clock=clock))
        return opened[-1]

    yield connect
    for kms in opened:
        kms.close()


@pytest.fixture
def kms(connect):
    """The key store."""
    return connect()


@pytest.fixture
def alice():
    """The account that keys belong to which were made elsewhere."""
    return Account(100000000001)


@pytest.fixture
def bob():
    """Another account."""
    return Account(200000000002)


@pytest.fixture
def serve(tmp_path, kms, clock, alice):
    """Makes the API once more on the same files, as another worker does."""
    made = []

    def serve(kms=kms, **settings):
        made.append(KmsApi(kms, Settings(tmp_path / "state.db", **settings), clock=clock))
        return Server(made[-1], alice)

    yield serve
    for api in made:
        api.close()


@pytest.fixture
def server(serve):
    """The API."""
    return serve()
