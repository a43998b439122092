"""Two providers with keys, for messages to travel between."""

import pytest

import kmscore


def _open(name, folder):
    config = {
        "providers": {
            name: {
                "type": "software",
                "path": str(folder / f"{name}.db"),
                "root_key": lambda: b"r" * 32,
            }
        }
    }
    return kmscore.connect(name, config=config)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    """A provider."""
    with _open("cloud", tmp_path_factory.mktemp("cloud")) as kms:
        yield kms


@pytest.fixture(scope="session")
def hsm(tmp_path_factory):
    """Another provider."""
    with _open("hsm", tmp_path_factory.mktemp("hsm")) as kms:
        yield kms


@pytest.fixture(scope="session")
def key(cloud):
    """A key of the first provider."""
    return cloud.create_key("AES_256", alias="first")


@pytest.fixture(scope="session")
def other(hsm):
    """A key of the second provider."""
    return hsm.create_key("AES_256", alias="second")
