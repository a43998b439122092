"""The commands of the best-practice guide, one by one, in a shell, with tccli as it is shipped.

What differs from the guide is listed in docs/server-coverage.md.
"""

import json
import os
import subprocess

import pytest

from tests.clients.conftest import ADMIN, READER, REGION, SECRET, VENV

TCCLI = VENV / "tccli/bin"
API_ERROR, USAGE_ERROR = 255, 252


class Shell:
    """A shell in a folder of its own, where tccli is configured as its manual has it.

    Attributes:
        folder: Where commands run, and what their HOME is.
        names: What commands may refer to as ``$NAME``.
    """

    def __init__(self, folder, port):
        self.folder = folder
        self.names: dict[str, str] = {}
        kept = ("PATH", "LANG", "LD_LIBRARY_PATH", "COVERAGE_PROCESS_CONFIG")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ}
        self.environment |= {
            "HOME": str(folder),
            "PATH": f"{TCCLI}:{os.environ['PATH']}",
            "TENCENTCLOUD_SECRET_ID": ADMIN,
            "TENCENTCLOUD_SECRET_KEY": SECRET,
            "TENCENTCLOUD_REGION": REGION,
        }
        self(f"tccli configure set kms.endpoint http://127.0.0.1:{port} output json")

    def run(self, line):
        """Run a line as somebody types it; gives its exit code, output and complaints."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.environment | self.names,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def __call__(self, line):
        """Run a line that succeeds; gives what it prints."""
        code, output, errors = self.run(line)
        assert code == 0, f"{line}\n{output}{errors}"
        return output

    def answer(self, line):
        """The answer of a tccli command, without its RequestId."""
        answer = json.loads(self(line))
        assert answer.pop("RequestId")
        return answer

    def keep(self, name, line, field):
        """Keep a field of an answer as ``$NAME``."""
        self.names[name] = str(self.answer(line)[field])


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Where tccli keeps what it writes at its first start."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def shell(home, server):
    """A shell that is pointed at the server."""
    return Shell(home, server.port)


def test_managing_keys(shell):
    """The guide's chapter on managing keys: make, look, edit, disable, rotate, delete."""
    shell.keep("KEY", "tccli kms CreateKey --Alias tccli-managed --Description first", "KeyId")
    found = shell.answer("tccli kms ListKeyDetail --SearchKeyAlias tccli-managed")
    assert found["KeyMetadatas"][0]["KeyId"] == shell.names["KEY"]
    found = shell.answer("""tccli kms DescribeKeys --KeyIds '["'$KEY'"]'""")
    assert found["KeyMetadatas"][0]["Description"] == "first"
    shell("tccli kms UpdateAlias --KeyId $KEY --Alias tccli-renamed")
    shell("tccli kms UpdateKeyDescription --KeyId $KEY --Description second")
    shell("tccli kms EnableKeyRotation --KeyId $KEY")
    status = shell.answer("tccli kms GetKeyRotationStatus --KeyId $KEY")
    assert status == {"KeyRotationEnabled": True}
    shell("tccli kms DisableKeyRotation --KeyId $KEY")
    shell("tccli kms DisableKeys --cli-unfold-argument --KeyIds $KEY")
    shell("tccli kms EnableKey --KeyId $KEY")
    shell("tccli kms DisableKey --KeyId $KEY")
    shell.keep(
        "DATE", "tccli kms ScheduleKeyDeletion --KeyId $KEY --PendingWindowInDays 7", "DeletionDate"
    )
    known = shell.answer("tccli kms DescribeKey --KeyId $KEY")["KeyMetadata"]
    assert (known["Alias"], known["Description"]) == ("tccli-renamed", "second")
    assert (known["KeyState"], str(known["DeletionDate"])) == ("PendingDelete", shell.names["DATE"])
    assert shell.answer("tccli kms CancelKeyDeletion --KeyId $KEY")["KeyId"] == shell.names["KEY"]


def test_symmetric_encryption(shell):
    """Small secrets under the key itself, and data keys for the rest."""
    shell.keep("KEY", "tccli kms CreateKey --Alias tccli-symmetric", "KeyId")
    shell('echo "test" > secret.txt')
    encrypt = 'tccli kms Encrypt --KeyId $KEY --Plaintext "$(base64 < secret.txt)"'
    shell.keep("BLOB", encrypt, "CiphertextBlob")
    decrypt = "tccli kms Decrypt --CiphertextBlob $BLOB --filter Plaintext --output text"
    assert shell(f"{decrypt} | tr -d '\"' | base64 -d") == "test\n"
    shell.keep("MADE", "tccli kms GenerateDataKey --KeyId $KEY --KeySpec AES_128", "CiphertextBlob")
    assert shell.answer("tccli kms Decrypt --CiphertextBlob $MADE")["KeyId"] == shell.names["KEY"]
    context = """--EncryptionContext '{"table":"orders"}'"""
    shell.keep("BOUND", f"{encrypt} {context}", "CiphertextBlob")
    assert shell.answer(f"tccli kms Decrypt --CiphertextBlob $BOUND {context}")["Plaintext"]


def public_key(shell, file):
    """The guide copies the PEM by hand; tccli can print it."""
    get = "tccli kms GetPublicKey --KeyId $KEY"
    shell(f"""{get} | python3 -c 'import json, sys
print(json.load(sys.stdin)["PublicKeyPem"], end="")' > {file}""")


def test_rsa_encryption(shell):
    """OpenSSL encrypts with the public key, the service decrypts."""
    shell.keep(
        "KEY",
        "tccli kms CreateKey --Alias tccli-rsa --KeyUsage ASYMMETRIC_DECRYPT_RSA_2048",
        "KeyId",
    )
    public_key(shell, "public_key.pem")
    shell('echo "test" > test_rsa.txt')
    shell(
        "openssl pkeyutl -in test_rsa.txt -out encrypted.bin -inkey public_key.pem -encrypt -pubin"
    )
    shell("openssl enc -e -base64 -A -in encrypted.bin -out encoded.base64")
    decrypt = "tccli kms AsymmetricRsaDecrypt --KeyId $KEY --Algorithm RSAES_PKCS1_V1_5"
    answer = shell.answer(f'{decrypt} --Ciphertext "$(cat encoded.base64)"')
    assert answer["Plaintext"] == "dGVzdAo="


def test_sm2_encryption(shell):
    """With OpenSSL in place of a GmSSL that is no more."""
    shell.keep(
        "KEY", "tccli kms CreateKey --Alias tccli-sm2 --KeyUsage ASYMMETRIC_DECRYPT_SM2", "KeyId"
    )
    public_key(shell, "sm2_public_key.pem")
    shell('echo "test" > test_sm2.txt')
    shell("openssl pkeyutl -encrypt -pubin -inkey sm2_public_key.pem -in test_sm2.txt -out sm2.bin")
    shell("openssl enc -e -base64 -A -in sm2.bin -out sm2.base64")
    decrypt = 'tccli kms AsymmetricSm2Decrypt --KeyId $KEY --Ciphertext "$(cat sm2.base64)"'
    assert shell.answer(decrypt)["Plaintext"] == "dGVzdAo="


SIGNATURES = {
    "rsa": (
        "ASYMMETRIC_SIGN_VERIFY_RSA_2048",
        "RSA_PSS_SHA_256",
        "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1",
    ),
    "ecc": (
        "ASYMMETRIC_SIGN_VERIFY_ECC",
        "ECC_P256_R1",
        "-sha256",
    ),
    "sm2": (
        "ASYMMETRIC_SIGN_VERIFY_SM2",
        "SM2DSA",
        "-sm3 -sigopt distid:1234567812345678",
    ),
}


@pytest.mark.parametrize("kind", SIGNATURES)
def test_signatures(shell, kind):
    """Signed by the service, of the message and of its digest; checked by both."""
    usage, algorithm, options = SIGNATURES[kind]
    shell.keep("KEY", f"tccli kms CreateKey --Alias tccli-sign-{kind} --KeyUsage {usage}", "KeyId")
    public_key(shell, "public_key.pem")
    shell('echo "test" > test_verify.txt')
    shell("openssl enc -e -base64 -A -in test_verify.txt -out encoded.base64")
    sign = f"tccli kms SignByAsymmetricKey --KeyId $KEY --Algorithm {algorithm}"
    check = f"tccli kms VerifyByAsymmetricKey --KeyId $KEY --Algorithm {algorithm}"
    messages = {"RAW": "encoded.base64"}
    if kind != "sm2":
        shell("openssl dgst -sha256 -binary -out digest.bin test_verify.txt")
        shell("openssl enc -e -base64 -A -in digest.bin -out digest.base64")
        messages["DIGEST"] = "digest.base64"
    for type_, file in messages.items():
        message = f'--Message "$(cat {file})" --MessageType {type_}'
        shell.keep("SIGNATURE", f"{sign} {message}", "Signature")
        answer = shell.answer(f"{check} --SignatureValue $SIGNATURE {message}")
        assert answer == {"SignatureValid": True}
        shell("echo $SIGNATURE | openssl enc -d -base64 -A -out signContent.sign")
        verify = "-verify public_key.pem -signature signContent.sign test_verify.txt"
        assert shell(f"openssl dgst {options} {verify}") == "Verified OK\n"


def test_bring_your_own_key(shell):
    """The guide's own padding, and its last command with the word that it lacks."""
    shell.keep("KEY", "tccli kms CreateKey --Alias tccli-external --Type 2", "KeyId")
    get = (
        "tccli kms GetParametersForImport --KeyId $KEY "
        "--WrappingAlgorithm RSAES_PKCS1_V1_5 --WrappingKeySpec RSA_2048"
    )
    answer = shell.answer(get)
    shell.names |= {"TOKEN": answer["ImportToken"], "PUBLIC": answer["PublicKey"]}
    shell("openssl rand -out raw_material.bin 32")
    shell("echo $PUBLIC | openssl enc -d -base64 -A -out public_key.bin")
    shell(
        "openssl pkeyutl -encrypt -pubin -keyform DER -inkey public_key.bin "
        "-in raw_material.bin -out encrypted_key_material.bin"
    )
    shell("openssl enc -e -base64 -A -in encrypted_key_material.bin -out encoded.base64")
    shell(
        "tccli kms ImportKeyMaterial --KeyId $KEY --ImportToken $TOKEN "
        '--EncryptedKeyMaterial "$(cat encoded.base64)"'
    )
    assert shell.answer("tccli kms Encrypt --KeyId $KEY --Plaintext dGVzdAo=")["CiphertextBlob"]
    code, _, _ = shell.run("tccli DeleteImportedKeyMaterial --KeyId $KEY")
    assert code == USAGE_ERROR
    shell("tccli kms DeleteImportedKeyMaterial --KeyId $KEY")
    known = shell.answer("tccli kms DescribeKey --KeyId $KEY")["KeyMetadata"]
    assert (known["KeyState"], known["Origin"]) == ("PendingImport", "EXTERNAL")


def test_comments_are_the_shells(shell):
    """What the guide writes after // is a command to a shell."""
    assert shell.run("// Base64-encode the message")[0] != 0
    assert shell("# Base64-encode the message") == ""


REFUSED = {
    "AuthFailure.SignatureFailure": "tccli kms GetRegions --secretKey another",
    "AuthFailure.SecretIdNotFound": "tccli kms GetRegions --secretId AKIDnobody",
    "UnauthorizedOperation": f"tccli kms GenerateRandom --NumberOfBytes 1 --secretId {READER}",
    "InvalidParameter": "tccli kms GenerateRandom --NumberOfBytes 0",
    "InvalidParameterValue.InvalidCiphertext": "tccli kms Decrypt --CiphertextBlob x",
    "ResourceUnavailable.CmkNotFound": (
        "tccli kms DescribeKey --KeyId 00000000-0000-4000-8000-000000000000"
    ),
    "ResourceUnavailable.NotPurchased": "tccli kms DescribeWhiteBoxKeyDetails",
    "UnsupportedOperation.UnsupportedKeyUsageInCurrentRegion": (
        "tccli kms CreateKey --Alias tccli-x --KeyUsage ASYMMETRIC_SIGN_VERIFY_DILITHIUM"
    ),
}


@pytest.mark.parametrize("expected", REFUSED)
def test_errors_are_told(shell, expected):
    """On standard error, with an exit code; a script finds nothing on standard output."""
    code, output, errors = shell.run(REFUSED[expected])
    assert (code, output) == (API_ERROR, "")
    assert f"code:{expected} " in errors


def test_trouble_is_told(home, troubled):
    """Too many requests, and an error inside: tccli does not try again."""
    there = f"--endpoint http://127.0.0.1:{troubled.port}"
    shell = Shell(home, troubled.port)
    for action, expected in (
        ("GetRegions", "RequestLimitExceeded"),
        ("ListAlgorithms", "InternalError"),
    ):
        code, output, errors = shell.run(f"tccli kms {action} {there}")
        assert (code, output) == (API_ERROR, "")
        assert f"code:{expected} " in errors
