"""A KMS that nobody here wrote: moto's server on a free port of this machine."""

import os

import pytest
from moto.server import ThreadedMotoServer

import kmscore


@pytest.fixture(scope="session")
def endpoint():
    """URL of the running server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def settings(endpoint, tmp_path_factory):
    """The configuration, as a file."""
    path = tmp_path_factory.mktemp("aws") / "kms.toml"
    os.environ["AWS_TEST_ID"], os.environ["AWS_TEST_SECRET"] = "an-id", "a-secret"
    path.write_text(
        f"""
[providers.aws]
type = "aws"
region = "eu-central-1"
endpoint = "{endpoint}"

[providers.aws.credentials]
access_key_id = {{ env = "AWS_TEST_ID" }}
secret_access_key = {{ env = "AWS_TEST_SECRET" }}
"""
    )
    return path


@pytest.fixture(scope="session")
def kms(settings):
    """The provider, open."""
    with kmscore.connect("aws", config=settings) as opened:
        yield opened
