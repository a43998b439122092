"""SM2 engines, each loaded once."""

import pytest

from kmscore.sm2 import Engine, load_engine


@pytest.fixture(params=["openssl", "gmssl"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Every SM2 engine in turn."""
    return load_engine(request.param, allow_insecure=True)
