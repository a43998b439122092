"""Parquet files, encrypted and read by pyarrow under keys of kmscore."""

import base64
import json
import re

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pyarrow.parquet.encryption import (
    CryptoFactory,
    DecryptionConfiguration,
    EncryptionConfiguration,
    KmsClient,
    KmsConnectionConfig,
)

import kmscore
from kmscore.errors import (
    CiphertextInvalid,
    ConfigError,
    InvalidRequest,
    KeyNotFound,
    KeyStateError,
)
from kmscore.integrations.parquet import crypto_factory

TABLE = pa.table(
    {
        "id": list(range(100)),
        "card": [f"4711-{number:04}" for number in range(100)],
        "city": ["Shenzhen", "Hangzhou"] * 50,
    }
)


@pytest.fixture
def config(tmp_path):
    """Two providers with software keys."""
    providers = {
        name: {"type": "software", "path": str(tmp_path / name), "root_key": lambda: bytes(32)}
        for name in ("dev", "other")
    }
    return {"default": "dev", "providers": providers}


@pytest.fixture
def kms(config):
    """The first of them, with a key for footers and one for cards."""
    with kmscore.connect("dev", config=config) as kms:
        kms.create_key("AES_256", alias="footers")
        kms.create_key("AES_256", alias="cards")
        yield kms


def write(path, factory, connection=None, **options):
    """A file with the column of cards under a key of its own."""
    named = {"footer_key": "footers", "column_keys": {"cards": ["card"]}} | options
    properties = factory.file_encryption_properties(
        connection or KmsConnectionConfig(), EncryptionConfiguration(**named)
    )
    with pq.ParquetWriter(path, TABLE.schema, encryption_properties=properties) as writer:
        writer.write_table(TABLE)


def read(path, factory, connection=None, columns=None):
    """The table, or some columns of it."""
    properties = factory.file_decryption_properties(connection or KmsConnectionConfig())
    return pq.ParquetFile(path, decryption_properties=properties).read(columns=columns)


@pytest.mark.parametrize("plaintext_footer", [False, True])
@pytest.mark.parametrize("double_wrapping", [False, True])
def test_a_file_there_and_back(kms, tmp_path, plaintext_footer, double_wrapping):
    """With its footer encrypted or open, and keys wrapped once or twice."""
    path = tmp_path / "file"
    write(
        path,
        crypto_factory(kms),
        plaintext_footer=plaintext_footer,
        double_wrapping=double_wrapping,
    )
    content = path.read_bytes()
    assert content[:4] == (b"PAR1" if plaintext_footer else b"PARE")
    assert b"4711-0001" not in content
    assert read(path, crypto_factory(kms)).equals(TABLE)


def test_a_plain_footer_is_read_by_everybody(kms, tmp_path):
    """Schema and open columns; the encrypted column only with its key."""
    path = tmp_path / "file"
    write(path, crypto_factory(kms), plaintext_footer=True)
    assert pq.ParquetFile(path).schema_arrow.names == ["id", "card", "city"]
    assert pq.ParquetFile(path).read(columns=["id"]).num_rows == 100
    with pytest.raises(OSError, match=r"(?i)decrypt"):
        pq.ParquetFile(path).read(columns=["card"])


@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_columns_without_a_key_are_not_encrypted(kms, tmp_path, plaintext_footer):
    """Whatever the footer is: only the columns that are named."""
    path = tmp_path / "file"
    write(path, crypto_factory(kms), plaintext_footer=plaintext_footer)
    assert b"Shenzhen" in path.read_bytes()
    write(path, crypto_factory(kms), uniform_encryption=True, column_keys={})
    assert b"Shenzhen" not in path.read_bytes()


def test_an_encrypted_footer_needs_a_key(kms, tmp_path):
    """Without it not even the schema is told."""
    path = tmp_path / "file"
    write(path, crypto_factory(kms), uniform_encryption=True, column_keys={})
    with pytest.raises(OSError, match=r"(?i)encrypted"):
        pq.ParquetFile(path)
    assert read(path, crypto_factory(kms)).equals(TABLE)


def test_who_lacks_a_column_key_reads_the_other_columns(kms, tmp_path):
    """And is told what is wrong with the key, in kmscore's own error."""
    path = tmp_path / "file"
    write(path, crypto_factory(kms), plaintext_footer=True)
    kms.key("cards").disable()
    factory = crypto_factory(kms)
    with pytest.raises(KeyStateError):
        read(path, factory, columns=["card"])
    assert pq.ParquetFile(path).read(columns=["id", "city"]).num_rows == 100


def test_the_wrong_key_is_refused(kms, tmp_path, config):
    """Another provider has a key of that name, and it is another key."""
    path = tmp_path / "file"
    write(path, crypto_factory(kms))
    with kmscore.connect("other", config=config) as other:
        with pytest.raises(KeyNotFound):
            read(path, crypto_factory(other))
        other.create_key("AES_256", alias="footers")
        with pytest.raises(CiphertextInvalid):
            read(path, crypto_factory(other))


def test_the_context_is_needed_again(kms, tmp_path):
    """It is bound to the wrapped keys."""
    path = tmp_path / "file"
    write(path, crypto_factory(kms, context={"lake": "sales"}))
    assert read(path, crypto_factory(kms, context={"lake": "sales"})).equals(TABLE)
    for context in (None, {"lake": "hr"}):
        with pytest.raises(CiphertextInvalid):
            read(path, crypto_factory(kms, context=context))


def test_an_unknown_key_is_named_when_writing(kms, tmp_path):
    """Before any data is written."""
    with pytest.raises(KeyNotFound, match="nobody"):
        write(tmp_path / "file", crypto_factory(kms), column_keys={"nobody": ["card"]})


def test_keys_of_several_providers_protect_one_file(kms, tmp_path, config):
    """Named with their provider, or by the connection's instance, or of the default one."""
    with kmscore.connect("other", config=config) as other:
        other.create_key("AES_256", alias="cards")
        cards = other.key("cards").key_id
    factory = crypto_factory(config=config)
    write(tmp_path / "a", factory, column_keys={"//other/cards": ["card"]})
    assert read(tmp_path / "a", crypto_factory(config=config)).equals(TABLE)
    instance = KmsConnectionConfig(kms_instance_id="other")
    write(
        tmp_path / "b",
        factory,
        instance,
        footer_key="kms://dev/footers",
        column_keys={cards: ["card"]},
    )
    reader = crypto_factory(config=config)
    assert read(tmp_path / "b", reader, KmsConnectionConfig(kms_instance_id="other")).equals(TABLE)


def test_a_dataset_of_many_files(kms, tmp_path):
    """Written and read by pyarrow.dataset, several files at once."""
    factory, connection = crypto_factory(kms), KmsConnectionConfig()
    encryption = ds.ParquetEncryptionConfig(
        factory,
        connection,
        EncryptionConfiguration(footer_key="footers", column_keys={"cards": ["card"]}),
    )
    format_ = ds.ParquetFileFormat()
    ds.write_dataset(
        TABLE,
        tmp_path / "lake",
        format=format_,
        partitioning=["city"],
        file_options=format_.make_write_options(encryption_config=encryption),
    )
    decryption = ds.ParquetDecryptionConfig(
        crypto_factory(kms), connection, DecryptionConfiguration()
    )
    scan = ds.ParquetFragmentScanOptions(decryption_config=decryption)
    found = ds.dataset(
        tmp_path / "lake",
        format=ds.ParquetFileFormat(default_fragment_scan_options=scan),
        partitioning=["city"],
    ).to_table()
    assert found.num_rows == 100
    assert sorted(found["card"].to_pylist()) == TABLE["card"].to_pylist()


def test_another_key_service_client_reads_the_file(kms, tmp_path):
    """What is in the file is base64 of what Key.encrypt returns: a few lines in any language."""

    class Theirs(KmsClient):
        def wrap_key(self, key_bytes, master_key_identifier):
            raise NotImplementedError

        def unwrap_key(self, wrapped_key, master_key_identifier):
            return kms.decrypt(base64.b64decode(wrapped_key))

    path = tmp_path / "file"
    write(path, crypto_factory(kms))
    assert read(path, CryptoFactory(lambda connection: Theirs())).equals(TABLE)


def test_key_material_in_the_file_names_the_master_keys(kms, tmp_path):
    """As Parquet's key tools have it, so that key management finds them."""
    path = tmp_path / "file"
    write(path, crypto_factory(kms), plaintext_footer=True, double_wrapping=False)
    content = path.read_bytes()
    start = content.index(b'{"keyMaterialType"')
    material = json.loads(content[start : content.index(b"}", start) + 1])
    assert material["masterKeyID"] in ("footers", "cards")
    kms.decrypt(base64.b64decode(material["wrappedDEK"]))


@pytest.mark.parametrize("double_wrapping", [False, True])
def test_keys_beside_the_file_are_wrapped_anew(kms, tmp_path, double_wrapping):
    """Under the newest version of the master keys; the data stays as it is."""
    path, connection = tmp_path / "file", KmsConnectionConfig()
    factory = crypto_factory(kms)
    named = EncryptionConfiguration(
        footer_key="footers",
        column_keys={"cards": ["card"]},
        double_wrapping=double_wrapping,
        internal_key_material=False,
    )
    properties = factory.file_encryption_properties(connection, named, path)
    with pq.ParquetWriter(path, TABLE.schema, encryption_properties=properties) as writer:
        writer.write_table(TABLE)
    material = tmp_path / "_KEY_MATERIAL_FOR_file.json"
    before = path.read_bytes(), material.read_bytes()
    for alias in ("footers", "cards"):
        kms.key(alias).rotate()
    factory.rotate_master_keys(connection, path, double_wrapping=double_wrapping)
    assert path.read_bytes() == before[0]
    assert material.read_bytes() != before[1]
    for current in (crypto_factory(kms), factory):
        properties = current.file_decryption_properties(connection, parquet_file_path=path)
        assert pq.ParquetFile(path, decryption_properties=properties).read().equals(TABLE)


@pytest.mark.parametrize("given", ["kms.toml", {}, 5], ids=repr)
def test_what_is_no_open_provider(given):
    """A configuration goes by its name."""
    with pytest.raises(InvalidRequest, match="config="):
        crypto_factory(given)


def test_pages_of_a_column_are_opened_by_hand(kms, tmp_path):
    """With the column's data key, and the associated data of Parquet's specification."""
    path = tmp_path / "file"
    properties = crypto_factory(kms).file_encryption_properties(
        KmsConnectionConfig(),
        EncryptionConfiguration(
            footer_key="footers",
            column_keys={"cards": ["card"]},
            plaintext_footer=True,
            double_wrapping=False,
        ),
    )
    cards = TABLE.select(["card"])
    plain = {"compression": "none", "use_dictionary": False, "data_page_size": 1}
    with pq.ParquetWriter(
        path, cards.schema, encryption_properties=properties, write_batch_size=30, **plain
    ) as writer:
        writer.write_table(cards)
    content = path.read_bytes()

    materials = [
        json.JSONDecoder().raw_decode(content[found.start() :].decode(errors="replace"))[0]
        for found in re.finditer(rb'{"keyMaterialType"', content)
    ]
    material = next(each for each in materials if each["masterKeyID"] == "cards")
    cipher = AESGCM(kms.key("cards").decrypt(base64.b64decode(material["wrappedDEK"])))
    # AesGcmV1, in Thrift: field 2 has 8 bytes, field 3 is false; it ends, and what it is in too.
    unique = re.findall(rb"\x1c\x28\x08(.{8})\x12\0\0", content, re.DOTALL)[-1]
    place, opened = 4, {b"\x04": b"", b"\x02": b""}  # headers of data pages, and data pages
    for page in range(4):
        for module in opened:
            size = int.from_bytes(content[place : place + 4], "little")
            nonce, sealed = content[place + 4 : place + 16], content[place + 16 : place + 4 + size]
            ordinals = bytes(4) + page.to_bytes(2, "little")  # row group, column, page
            opened[module] += cipher.decrypt(nonce, sealed, unique + module + ordinals)
            place += 4 + size
    found = re.findall(rb"4711-\d{4}", opened[b"\x02"])
    assert [card.decode() for card in found] == TABLE["card"].to_pylist()


def test_wrapped_keys_that_are_none_are_refused(kms):
    """Whatever stands in a file that somebody made."""
    from kmscore.context import EncryptionContext
    from kmscore.integrations.parquet import ParquetKmsClient, Providers

    client = ParquetKmsClient(Providers(kms, None), None, EncryptionContext())
    for wrapped in ("", "not base64!", "ä", base64.b64encode(b"x" * 100).decode()):
        with pytest.raises((CiphertextInvalid, kmscore.errors.InvalidRequest)):
            client.unwrap_key(wrapped, "footers")


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    """An installation without it says what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet.encryption", None)
    monkeypatch.delitem(sys.modules, "kmscore.integrations.parquet")
    with pytest.raises(ConfigError, match="pyarrow") as caught:
        import kmscore.integrations.parquet  # noqa: F401
    assert "kmscore[parquet]" in caught.value.hint
