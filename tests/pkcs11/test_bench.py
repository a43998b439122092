"""What `Key` is measured against: bare python-pkcs11 with the same keys, doing the same."""

from typing import Any

from bench.pkcs11 import KILOBYTE, _Bare
from kmscore import Message


def test_the_peer_of_the_benchmark_makes_signatures_of_the_same_keys(connect, softhsm):
    """A peer that fails, or does something else, would measure nothing."""
    kms = connect(softhsm)
    ec = kms.create_key("EC_P256")
    rsa = kms.create_key("RSA_2048", usage="SIGN_VERIFY")
    bare = _Bare(kms)
    assert ec.verify(Message(KILOBYTE), bare.ecdsa(ec)())
    assert rsa.verify(Message(KILOBYTE), bare.pss(rsa)(), algorithm="RSA_PSS_SHA_256")
    sealed: Any = bare.gcm(kms.create_key("AES_256"))()
    assert len(sealed) == 12 + len(KILOBYTE) + 16
