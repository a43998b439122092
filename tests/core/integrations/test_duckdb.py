"""DuckDB as a reader of Parquet files: its Parquet is its own, and not Arrow's."""

import base64
import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet.encryption import EncryptionConfiguration, KmsConnectionConfig

import kmscore
from kmscore.integrations.parquet import crypto_factory

ROWS = 3_000
TABLE = pa.table(
    {
        "id": list(range(ROWS)),
        "card": [f"4711-{number:04}" for number in range(ROWS)],
        "city": [("深圳", "München", None)[number % 3] for number in range(ROWS)],
        "amount": [number / 8 for number in range(ROWS)],
    }
)


@pytest.fixture
def kms(tmp_path):
    """A provider with a key for footers and one for cards."""
    dev = {"type": "software", "path": str(tmp_path / "dev"), "root_key": lambda: bytes(32)}
    with kmscore.connect("dev", config={"providers": {"dev": dev}}) as kms:
        kms.create_key("AES_256", alias="footers")
        kms.create_key("AES_256", alias="cards")
        yield kms


def write(path, kms, **options):
    """A file of several row groups, with and without dictionaries."""
    properties = crypto_factory(kms, context={"lake": "sales"}).file_encryption_properties(
        KmsConnectionConfig(), EncryptionConfiguration(footer_key="footers", **options)
    )
    with pq.ParquetWriter(
        path, TABLE.schema, encryption_properties=properties, use_dictionary=["city"]
    ) as writer:
        writer.write_table(TABLE, row_group_size=1000)


def write_uniform(path, kms):
    """All of it under one data key of a length that DuckDB takes in base64."""
    write(path, kms, uniform_encryption=True, double_wrapping=False, data_key_length_bits=256)


def data_key(path, kms):
    """The data key of a file, by the key material that is in it."""
    content = path.read_bytes()
    text = content[content.rindex(b'{"keyMaterialType"') :].decode(errors="replace")
    material, _ = json.JSONDecoder().raw_decode(text)
    assert material["masterKeyID"] == "footers"
    return kms.decrypt(base64.b64decode(material["wrappedDEK"]), context={"lake": "sales"})


def read(path, key, columns="*"):
    """What DuckDB makes of it, with a data key or without any."""
    with duckdb.connect() as duck:
        config = ""
        if key:
            duck.execute(f"PRAGMA add_parquet_key('key', '{base64.b64encode(key).decode()}')")
            config = ", encryption_config = {footer_key: 'key'}"
        query = f"SELECT {columns} FROM read_parquet('{path}'{config})"  # noqa: S608 - its own names
        return duck.sql(query).fetchall()


def test_duckdb_reads_a_file_under_one_key(kms, tmp_path):
    """With the data key that a provider of kmscore unwraps: every value of it."""
    path = tmp_path / "file"
    write_uniform(path, kms)
    assert path.read_bytes()[:4] == b"PARE"
    assert read(path, data_key(path, kms)) == list(zip(*TABLE.to_pydict().values(), strict=True))


def test_duckdb_needs_the_data_key(kms, tmp_path):
    """No key and another key are refused."""
    path = tmp_path / "file"
    write_uniform(path, kms)
    with pytest.raises(duckdb.Error, match="is encrypted"):
        read(path, None)
    with pytest.raises(duckdb.Error, match="AES tag"):
        read(path, bytes(32))


def test_duckdb_refuses_an_altered_file(kms, tmp_path):
    """One bit of a page is enough."""
    path = tmp_path / "file"
    write_uniform(path, kms)
    key = data_key(path, kms)
    assert len(read(path, key)) == ROWS
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(duckdb.Error, match="AES tag"):
        read(path, key)


def test_duckdb_reads_the_open_columns_of_a_file_with_an_open_footer(kms, tmp_path):
    """Columns with keys of their own it cannot read yet."""
    path = tmp_path / "file"
    write(path, kms, column_keys={"cards": ["card"]}, plaintext_footer=True)
    assert read(path, None, "sum(id), max(city)") == [(sum(range(ROWS)), "深圳")]
    with pytest.raises(duckdb.Error):
        read(path, None, "max(card)")
