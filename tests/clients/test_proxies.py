"""Where a proxy is set for everything, the documented exceptions bring each client to the server.

The proxy is a port where nobody listens: whoever goes there fails.
"""

import os
import subprocess
import sys

import pytest

from tests.clients.conftest import ADMIN, REGION, SECRET, NodeSdk
from tests.clients.test_tccli import Shell

NOBODY = "http://127.0.0.1:9"

PROGRAM = f"""
import asyncio, sys
from tencentcloud.common.credential import Credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.kms.v20190118 import kms_client, kms_client_async, models

kind, port = sys.argv[1:]
profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=f"127.0.0.1:{{port}}"))
arguments = (Credential({ADMIN!r}, {SECRET!r}), {REGION!r}, profile)

async def ask():
    async with kms_client_async.KmsClient(*arguments) as client:
        return await client.GetRegions(models.GetRegionsRequest())

if kind == "python":
    answer = kms_client.KmsClient(*arguments).GetRegions(models.GetRegionsRequest())
else:
    answer = asyncio.run(ask())
assert answer.Regions == [{REGION!r}]
"""


def python_succeeds(kind, port, exceptions):
    """Whether the SDK for Python reaches the server."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, str(port)],
        env=os.environ | {"HTTP_PROXY": NOBODY, "http_proxy": NOBODY, "NO_PROXY": exceptions},
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@pytest.mark.parametrize(
    ("kind", "exceptions", "reaches"),
    [
        ("python", "", False),
        ("python", "127.0.0.1", False),
        ("python", "127.0.0.1,127.0.0.1:{port}", True),
        ("python-async", "", False),
        ("python-async", "127.0.0.1", True),
    ],
)
def test_the_python_sdk_needs_its_exceptions(server, kind, exceptions, reaches):
    """Two of them with requests, one with httpx."""
    named = exceptions.format(port=server.port)
    assert python_succeeds(kind, server.port, named) is reaches


@pytest.mark.parametrize(
    ("exceptions", "reaches"),
    [("127.0.0.1,127.0.0.1:{port}", False), ("127.0.0.1,http://127.0.0.1:{port}", True)],
)
def test_tccli_needs_its_endpoint_among_the_exceptions(tmp_path, server, exceptions, reaches):
    """As it is configured, with http:// before it."""
    shell = Shell(tmp_path, server.port)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        shell.environment[name] = NOBODY
    shell.environment["NO_PROXY"] = exceptions.format(port=server.port)
    code, _, _ = shell.run("tccli kms GetRegions")
    assert (code == 0) is reaches


def test_node_reads_the_lower_case_name_alone(server, monkeypatch):
    """Which has to be unset; it has no exceptions."""
    monkeypatch.setenv("HTTP_PROXY", NOBODY)
    client = NodeSdk(server)
    assert client("GetRegions")["Regions"] == [REGION]
    client.end()
