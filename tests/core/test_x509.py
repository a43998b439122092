"""Certificate signing requests: whatever is asked for, a sound request comes out or an error."""

from types import MappingProxyType
from typing import Any

import pytest
from cryptography import x509
from hypothesis import example, given
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


@example(subject="C=¡", names=[])
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


@pytest.mark.parametrize(
    "subject", ["C=¡", "C=*A", "2.5.4.5=№ 1", "2.5.4.46=é", "E=é@example.org", "DC=é"]
)
def test_names_in_ascii_are_refused_in_other_letters(key, subject):
    """Strict readers refuse a request with such a name, or read another one."""
    with pytest.raises(InvalidRequest, match="holds characters"):
        certificate_request(key, subject, ())


def test_the_names_that_are_asked_for_are_in_the_request(key):
    """As `cryptography` reads them."""
    der = certificate_request(key, "CN=example.org", ["DNS:example.org", "IP:192.0.2.1"])
    extensions = x509.load_der_x509_csr(der).extensions
    found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["example.org"]
    assert [str(ip) for ip in found.get_values_for_type(x509.IPAddress)] == ["192.0.2.1"]


def test_what_is_no_text_is_refused(key):
    """By callers without a type checker."""
    cases: list[Any] = [(b"CN=x", ()), (None, ()), ("CN=x", [b"DNS:x"]), ("CN=x", "DNS:x")]
    for subject, names in cases:
        with pytest.raises(InvalidRequest):
            certificate_request(key, subject, names)
