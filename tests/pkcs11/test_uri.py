"""`pkcs11:` URIs: read strictly, written in one way, never a way to a PIN or a library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kmscore_pkcs11._uri import ObjectType, Pkcs11Uri, build, parse

from kmscore.errors import ConfigError, InvalidRequest

PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ")


def texts(most):
    """Printable text of 1 to so many bytes."""
    return st.text(PRINTABLE, min_size=1, max_size=most).filter(lambda t: len(t.encode()) <= most)


ABSOLUTE = texts(100).filter(lambda text: text[0] != "/").map("/".__add__)
URIS = st.builds(
    Pkcs11Uri,
    token=st.none() | texts(32),
    manufacturer=st.none() | texts(32),
    serial=st.none() | texts(16),
    model=st.none() | texts(16),
    slot_id=st.none() | st.integers(0, 2**64 - 1),
    slot_description=st.none() | texts(64),
    slot_manufacturer=st.none() | texts(32),
    library_manufacturer=st.none() | texts(32),
    library_description=st.none() | texts(32),
    library_version=st.none() | st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3})?", fullmatch=True),
    object=st.none() | texts(100),
    id=st.none() | st.binary(min_size=1, max_size=64),
    type=st.none() | st.sampled_from(ObjectType),
    module_path=st.none() | ABSOLUTE,
    pin_source=st.none() | ABSOLUTE,
)


@given(URIS)
def test_what_is_written_is_read_back(uri):
    """Whatever the parts hold: spaces, separators, percent signs, other scripts."""
    assert parse(build(uri), from_configuration=True) == uri


@given(URIS)
def test_others_may_escape_more(uri):
    """Each character may be escaped or not, in upper or lower case, and in any order."""
    path, _, query = build(uri).removeprefix("pkcs11:").partition("?")
    shuffled = ";".join(reversed(path.split(";"))).replace("%2F", "%2f")
    written = f"PKCS11:{shuffled}" + (f"?{query.replace('%2F', '/')}" if query else "")
    assert parse(written, from_configuration=True) == uri


FRAGMENTS = st.sampled_from(
    [
        *("pkcs11:", "token=", "id=", "type=", "slot-id=", "x-a=", "file:", "/", "1", "\u00e9"),
        *("?", "&", ";", "=", "%", "%00", "%ff", "\ud800"),
        *("pin-value=", "pin-source=", "module-path=", "module-name="),
    ]
)


@given(
    st.one_of(st.text(), st.lists(FRAGMENTS).map("".join)).map("pkcs11:".__add__) | st.text(),
    st.booleans(),
)
def test_garbage_is_refused_with_an_error_of_the_tree(text, from_configuration):
    """Nothing else comes out, and whatever is accepted can be written again."""
    try:
        uri = parse(text, from_configuration=from_configuration)
    except (InvalidRequest, ConfigError):
        return
    assert parse(build(uri), from_configuration=True) == uri


@given(texts(40).filter(lambda pin: len(pin) > 3), st.booleans(), st.sampled_from("?;"))
def test_a_pin_is_refused_and_not_repeated(pin, from_configuration, before):
    """Wherever the URI stands, and wherever in it: it would be in logs and listings."""
    escaped = "".join(f"%{byte:02X}" for byte in pin.encode())
    with pytest.raises(ConfigError, match="pin-value") as caught:
        parse(f"pkcs11:token=t{before}pin-value={escaped}", from_configuration=from_configuration)
    assert pin not in caught.value.message
    assert escaped not in str(caught.value)


@pytest.mark.parametrize(
    "query",
    ["module-path=/usr/lib/evil.so", "pin-source=file:/etc/shadow"],
)
def test_libraries_and_files_are_named_by_the_configuration_alone(query):
    """A caller's URI loads no library and opens no file."""
    with pytest.raises(ConfigError, match="outside the configuration"):
        parse(f"pkcs11:token=t?{query}")
    assert parse(f"pkcs11:token=t?{query}", from_configuration=True).token == "t"


@pytest.mark.parametrize(
    "query",
    [
        "module-name=evil",
        "module-path=evil.so",
        "module-path=",
        "pin-source=%7C/usr/bin/get-pin",
        "pin-source=|/usr/bin/get-pin",
        "pin-source=pin.txt",
        "pin-source=file://host/pin",
        "pin-source=http://example.org/pin",
    ],
)
def test_not_even_the_configuration_searches_or_runs(query):
    """No search for libraries, no relative paths, no commands."""
    with pytest.raises(ConfigError):
        parse(f"pkcs11:?{query}", from_configuration=True)


@pytest.mark.parametrize("written", ["/run/pin", "file:/run/pin", "file:///run/pin"])
def test_a_file_may_be_written_in_three_ways(written):
    """As a path, and as both forms of a URI (RFC 8089); not on another host."""
    uri = parse(f"pkcs11:?pin-source={written}", from_configuration=True)
    assert uri.pin_source == "/run/pin"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "no PKCS#11 URI"),
        ("kms://hsm", "no PKCS#11 URI"),
        ("pkcs11", "no PKCS#11 URI"),
        ("pkcs11:token", "malformed"),
        ("pkcs11:token=a b", "malformed"),
        ("pkcs11:token=a%2", "malformed"),
        ("pkcs11:token=a%zz", "malformed"),
        ("pkcs11:token=a#b", "malformed"),
        ("pkcs11:token=", "0 bytes"),
        ("pkcs11:token=%00", "cannot be printed"),
        ("pkcs11:token=%ff", "not UTF-8"),
        ("pkcs11:token=%ed%a0%80", "not UTF-8"),
        ("pkcs11:token=" + "t" * 33, "33 bytes"),
        ("pkcs11:serial=12345678901234567", "17 bytes"),
        ("pkcs11:token=a;token=b", "token twice"),
        ("pkcs11:token=a;", "not known"),
        ("pkcs11:colour=red", "not known"),
        ("pkcs11:x-vendor=1", "not known"),
        ("pkcs11:Token=a", "not known"),
        ("pkcs11:id=", "0 bytes"),
        ("pkcs11:type=key", "type of"),
        ("pkcs11:slot-id=-1", "slot number"),
        ("pkcs11:slot-id=01", "slot number"),
        ("pkcs11:slot-id=18446744073709551616", "slot number"),
        ("pkcs11:slot-id=%D9%A1", "slot number"),
        ("pkcs11:library-version=a", "no version"),
        ("pkcs11:token=" + "%41" * 2000, "characters"),
        (b"pkcs11:token=a", "bytes"),
        (None, "NoneType"),
    ],
)
def test_mistakes_are_told(uri, words):
    """Each with what is wrong."""
    with pytest.raises(InvalidRequest, match=words):
        parse(uri)


def test_the_examples_of_the_standard():
    """RFC 7512, section 3, those without a PIN."""
    assert parse("pkcs11:") == Pkcs11Uri()
    assert parse("pkcs11:object=my-pubkey;type=public") == Pkcs11Uri(
        object="my-pubkey", type=ObjectType.PUBLIC
    )
    assert parse(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;"
        "model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=1"
        "?pin-source=file:/etc/token_pin",
        from_configuration=True,
    ) == Pkcs11Uri(
        token="The Software PKCS#11 Softtoken",
        manufacturer="Snake Oil, Inc.",
        model="1.0",
        serial="1",
        object="my-certificate",
        type=ObjectType.CERT,
        id=bytes.fromhex("69953e5cf4bdec91"),
        pin_source="/etc/token_pin",
    )
