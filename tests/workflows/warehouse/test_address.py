"""URLs of warehouses: what is kept, what is hidden, what is refused without being shown."""

from __future__ import annotations

import re

import msgspec
import pytest

from workflows.core.errors import ConfigError
from workflows.tables.config import DataConfig
from workflows.tables.warehouse.address import address_of, blurred, is_warehouse, without_secrets

SHOWN = [
    ("postgresql://ann:s3cret@db:5432/shop", "postgresql://ann@db:5432/shop"),
    ("POSTGRES://ann:s3cret@db/shop", "postgresql://ann@db/shop"),
    ("postgresql://ann@db/shop", "postgresql://ann@db/shop"),
    ("postgresql://ann:@db/shop", "postgresql://ann@db/shop"),
    ("postgresql:///shop?host=/tmp&password=s3cret", "postgresql:///shop?host=/tmp"),
    ("postgresql://ann:${PW}@db/shop", "postgresql://ann:${PW}@db/shop"),
    ("postgresql://ann:s3cret${PW}@db/shop", "postgresql://ann@db/shop"),
    ("postgresql://db/shop?sslmode=require&sslkey=/home/ann/s3cret.key", "postgresql://db/shop?sslmode=require"),
    (
        "snowflake://ann:s3cret@org-acc/DB/PUBLIC?warehouse=W&token=s3cret",
        "snowflake://ann@org-acc/DB/PUBLIC?warehouse=W",
    ),
    ("snowflake://ann@acc/DB?private_key_file=${KEY}", "snowflake://ann@acc/DB?private_key_file=${KEY}"),
    ("bigquery://project/shop?location=EU&credentials=/s3cret.json", "bigquery://project/shop?location=EU"),
]


@pytest.mark.parametrize(("source", "shown"), SHOWN)
def test_the_config_holds_the_url_without_its_secrets(source: str, shown: str) -> None:
    data = DataConfig(source=source)
    assert data.source == shown
    assert b"s3cret" not in msgspec.json.encode(data)
    assert "s3cret" not in repr(data)
    assert without_secrets(data.source) == shown
    assert msgspec.structs.replace(data, events="t").source == shown


def test_the_address_has_them() -> None:
    source = without_secrets(
        "postgresql://an%40n:s3cret%2F%3A@db:5432/shop?sslkey=%2Fhome%2Fs3cret.key&sslmode=require"
    )
    address = address_of(source, {})
    assert (address.user, address.password, address.host, address.port) == ("an@n", "s3cret/:", "db", "5432")
    assert address.path == ["shop"]
    assert address.parameters == {"sslmode": "require", "sslkey": "/home/s3cret.key"}
    said = "no s3cret/: nor s3cret%2F%3A, /home/s3cret.key or postgresql://an@n:what@db:5432/shop"
    assert address.scrubbed(said) == "no *** nor ***, *** or postgresql://***"


@pytest.mark.parametrize(
    ("place", "host", "port"), [("[::1]:5433", "::1", "5433"), ("[::1]", "::1", ""), ("db", "db", "")]
)
def test_hosts_and_ports(place: str, host: str, port: str) -> None:
    address = address_of(without_secrets(f"postgresql://ann:s3cret@{place}/shop"), {})
    assert (address.host, address.port, address.user) == (host, port, "ann")


def test_values_of_the_environment_are_taken_as_they_are() -> None:
    source = without_secrets("postgresql://${WHO}:${PW}@${WHERE}:${PORT}/shop${N}?sslkey=${KEY}")
    known = {"WHO": "ann", "PW": "a%2Fb/@:", "WHERE": "db", "PORT": "5433", "N": "2", "KEY": "/k"}
    address = address_of(source, known)
    assert (address.user, address.password, address.host, address.port) == ("ann", "a%2Fb/@:", "db", "5433")
    assert (address.path, address.parameters) == (["shop2"], {"sslkey": "/k"})
    assert address.scrubbed("a%2Fb/@: /k ann") == "*** *** ann"
    with pytest.raises(ConfigError, match=re.escape("data.source: ${PW} is no environment variable; set PW")):
        address_of(source, {name: value for name, value in known.items() if name != "PW"})


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://ann:s3/cret@db/shop",
        "postgresql://ann:s3#cret@db/shop",
        "postgresql://ann:s3?cret@db/shop",
        "postgresql://ann:s3@cret@db/shop#x",
        "postgresql://db:s3cret/shop",
    ],
)
def test_what_cannot_be_read_is_refused_and_not_shown(source: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.source: the URL of the warehouse cannot be read") as caught:
        DataConfig(source=source)
    assert "s3" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_what_is_no_warehouse_stays() -> None:
    assert [is_warehouse(source) for source in ("shop", "tables", "s3://x", "bigquery://x")] == [
        False,
        False,
        False,
        True,
    ]
    assert without_secrets("s3://a:b@c") == "s3://a:b@c"
    assert blurred("got 'snowflake://a:b@c/d', and x") == "got 'snowflake://***', and x"
