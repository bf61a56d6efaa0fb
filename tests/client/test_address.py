"""What a URL means."""

from __future__ import annotations

import pytest

from cascade_client import BadSetting, parse_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("localhost:8001", "grpc://localhost:8001"),
        ("localhost:8000", "http://localhost:8000"),
        ("localhost", "grpc://localhost:8001"),
        ("http://host", "http://host:8000"),
        ("http://host:8001/", "http://host:8001"),
        ("grpc://[::1]:9000", "grpc://[::1]:9000"),
    ],
)
def test_a_url_means_one_protocol_and_port(url: str, expected: str) -> None:
    assert str(parse_url(url)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "https://host:1",
        "host:port",
        "host:99999",
        "host:0",
        "host:1/v2",
        "host:1?a=b",
        "me@host:1",
        "[::1",
        "",
        "ftp://host",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(BadSetting):
        parse_url(url)


def test_a_contradicting_protocol_is_refused() -> None:
    with pytest.raises(BadSetting, match="contradicts"):
        parse_url("http://host:8000", "grpc")
    with pytest.raises(BadSetting, match="protocol must be 'grpc' or 'http', got 'ftp'"):
        parse_url("host:8000", "ftp")  # type: ignore[arg-type]


def test_an_address_says_its_host_and_port() -> None:
    address = parse_url("http://[::1]:9000")
    assert (address.host, address.port, address.is_local) == ("::1", 9000, True)
    assert not parse_url("shop.example:8001").is_local
