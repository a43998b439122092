"""The provider's options: which token, which module, and what is refused."""

import pytest
from kmscore_pkcs11 import _module

from kmscore.errors import AuthenticationFailed, ConfigError, Unavailable


def test_a_token_is_named_by_label_serial_or_uri(connect, softhsm):
    """Each finds the same one."""
    kms = connect(softhsm)
    key = kms.create_key("AES_256")
    serial = kms.provider._facts.serial
    kms.close()
    ways = [
        {"serial": serial},
        {"token": None, "serial": serial},
        {"token": None, "uri": f"pkcs11:token=kms;serial={serial}"},
        {"token": None, "uri": "pkcs11:token=kms;model=SoftHSM%20v2"},
    ]
    for way in ways:
        with connect(softhsm, **way) as again:
            assert again.key(key.key_id).decrypt(key_ciphertext(again, key.key_id)) == b"x"


def key_ciphertext(kms, key_id):
    """A ciphertext of that key."""
    return kms.key(key_id).encrypt(b"x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token": None}, "needs token, serial or uri"),
        ({"uri": "pkcs11:token=kms"}, "names the token already"),
        ({"token": None, "uri": "pkcs11:token=kms;object=a"}, "nothing else"),
        ({"token": None, "uri": "pkcs11:"}, "nothing else"),
        ({"token": None, "uri": "pkcs11:tokn=kms"}, "attribute that is not known"),
        ({"token": None, "uri": "pkcs11:token=kms;pin-value=1234567"}, "holds a PIN"),
        ({"token": None, "uri": "pkcs11:token=kms?module-path=/lib/x.so"}, "library or a PIN"),
        ({"module": "/nowhere/module.so"}, "no PKCS#11 module /nowhere/module.so"),
        ({"module": "/bin/sh"}, "is no PKCS#11 module"),
        ({"max_sessions": 1}, "max_sessions"),
        ({"init_args": "other"}, "other init_args"),
    ],
)
def test_what_cannot_be_meant_is_refused(connect, softhsm, options, message):
    """With what to do about it."""
    connect(softhsm)
    with pytest.raises(ConfigError, match=message) as caught:
        connect(softhsm, **options)
    assert caught.value.hint


def test_a_token_that_is_not_there_is_unavailable(connect, softhsm):
    """The error says which ones are."""
    connect(softhsm)
    with pytest.raises(Unavailable, match="no token with label 'gone'") as caught:
        connect(softhsm, token="gone")
    assert "'kms'" in caught.value.hint


def test_one_module_under_two_names_is_one(connect, softhsm, tmp_path, path):
    """Links are followed: initialising it twice would fail."""
    link = tmp_path / "module.so"
    link.symlink_to(softhsm.module)
    first = connect(softhsm)
    second = connect(softhsm, module=str(link))
    assert first.provider._token.module is second.provider._token.module
    key = first.create_key("AES_256")
    assert second.decrypt(key.encrypt(b"x")) == b"x"


def test_the_last_provider_gives_the_module_back(connect, softhsm):
    """Finalised with the last one, and initialised again for the next."""
    first, second = connect(softhsm), connect(softhsm)
    module = first.provider._token.module
    first.close()
    assert module in _module._MODULES.values()
    assert second.health().ok
    second.close()
    second.close()
    generation = module.generation
    third = connect(softhsm)
    assert third.provider._token.module.generation == generation + 1


def test_the_pin_is_in_no_message(connect, softhsm):
    """Neither in errors nor in what doctor shows."""
    kms = connect(softhsm)
    shown = str(kms.health()) + repr(kms.provider) + repr(kms.provider._token)
    kms.close()
    with pytest.raises(AuthenticationFailed, match="does not accept the PIN") as caught:
        connect(softhsm, pin=lambda: b"7654321")
    assert "7654321" not in str(caught.value) + repr(caught.value.__cause__)
    assert softhsm.pin not in shown


def test_a_second_provider_needs_the_same_pin(connect, softhsm):
    """A login counts for the whole process, and the token would take any PIN while it lasts."""
    connect(softhsm)
    connect(softhsm)
    with pytest.raises(AuthenticationFailed, match="another PIN"):
        connect(softhsm, pin=lambda: b"7654322")
