"""Certificate signing requests: whatever is asked for, a sound request comes out or an error."""

from types import MappingProxyType
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

import kmscore
from kmscore.errors import InvalidRequest
from kmscore.x509 import certificate_request

PARTS = st.sampled_from(["CN=", "O=", "C=", "DC=", "1.2.3=", "CN=#", "E="])
SUBJECTS = st.lists(st.tuples(PARTS, st.text(max_size=8)), max_size=3).map(
    lambda parts: ",".join(part + text for part, text in parts)
)
NAMES = st.tuples(st.sampled_from(["", "DNS:", "IP:", "email:", "URI:", "X:"]), st.text()).map(
    "".join
)


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A signing key in a keystore of its own."""
    path = tmp_path_factory.mktemp("x509") / "keystore.db"
    dev = {"type": "software", "path": path, "root_key": lambda: bytes(32)}
    with kmscore.connect("dev", config=MappingProxyType({"providers": {"dev": dev}})) as kms:
        yield kms.create_key("EC_P256")


@given(subject=st.one_of(SUBJECTS, st.text()), names=st.lists(NAMES, max_size=2))
def test_any_subject_and_names_give_a_sound_request_or_an_error(key, subject, names):
    """Bytes from a form on a web page, for example."""
    try:
        der = certificate_request(key, subject, names)
    except InvalidRequest:
        return
    request = x509.load_der_x509_csr(der)
    assert request.is_signature_valid
    assert request.subject.rdns
    assert len(list(request.extensions)) == bool(names)


def test_what_is_no_text_is_refused(key):
    """By callers without a type checker."""
    cases: list[Any] = [(b"CN=x", ()), (None, ()), ("CN=x", [b"DNS:x"]), ("CN=x", "DNS:x")]
    for subject, names in cases:
        with pytest.raises(InvalidRequest):
            certificate_request(key, subject, names)
