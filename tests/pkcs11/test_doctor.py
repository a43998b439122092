"""What ``kmscore doctor`` tells of a token: line by line what it does, or how it refused."""

import pytest


@pytest.fixture
def doctor(path, tried, connect):
    """Runs the command on a token; what it printed."""

    def run(token):
        connect(token).close()
        config = path.with_name("kms.toml")
        config.write_text(token.toml(path))
        out = token.start("-m", "kmscore", "--config", config, "doctor", "--provider", "hsm")
        lines = [line.strip().split(":", 1) for line in out.splitlines() if ":" in line]
        return {name: value.strip() for name, value in lines}

    return run


def test_the_doctor_explains_a_token(doctor, token, expected):
    """Each kind of key and each scheme, with the token's own reason where there is none."""
    told = doctor(token)
    assert told["token"].startswith("kms (serial ")
    schemes = {*expected.decryption, *(each for some in expected.signing.values() for each in some)}
    for name in ("RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1", "RSA_PSS_SHA_256"):
        assert (told[name] == "yes") == (name in schemes)
    for name in ("AES_256", "AES_128"):
        assert (told[name] == "yes") == (name in expected.symmetric)
    for name in ("RSA_2048", "RSA_3072", "RSA_4096"):
        assert told[name] == "yes"
    for wrapping in ("RSAES_OAEP_SHA_256", "RSAES_PKCS1_V1_5"):
        assert (told[f"import by {wrapping}"] == "yes") == (wrapping in expected.wrapping)
    assert told["authenticates the registry"] == "yes"
    refused = [value for value in told.values() if value.startswith("no: ")]
    assert all(len(value) > len("no: ") for value in refused)


def test_the_doctor_warns_of_a_token_that_gives_keys_away(doctor, softhsm, nss):
    """NSS wraps keys that are marked as not extractable."""
    name = "keeps unextractable keys inside"
    assert doctor(nss)[name].startswith("no: keys that are not extractable can be wrapped")


def test_the_doctor_tells_of_the_option_that_would_do_it(doctor, softhsm):
    """SoftHSM stops at SHA-1, and raw RSA would be enough."""
    told = doctor(softhsm)["RSAES_OAEP_SHA_256"]
    assert told.startswith("no: CKR_ARGUMENTS_BAD; allow_host_oaep = true")
