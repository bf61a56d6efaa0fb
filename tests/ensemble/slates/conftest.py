"""A cache of every kind: each test gets an empty one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.ensemble.slates.services import AWS, dynamodb, valkey

KINDS = [
    "lmdb",
    pytest.param("redis", marks=pytest.mark.service("valkey")),
    pytest.param("dynamodb", marks=pytest.mark.service("dynamodb")),
]


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory) -> Iterator[str]:
    with valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture(scope="session")
def dynamodb_url() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, dynamodb() as url:
        for name, value in AWS.items():
            patch.setenv(name, value)
        yield url


@pytest.fixture
def new_cache(request, tmp_path) -> Callable[[], str]:
    """Gives URLs of empty caches; parametrised by `KINDS`."""
    kind = getattr(request, "param", "lmdb")
    if kind == "redis":
        url = request.getfixturevalue("valkey_url")
        return lambda: f"{url}?prefix={uuid.uuid4().hex}"
    if kind == "dynamodb":
        url = request.getfixturevalue("dynamodb_url")
        return lambda: url.replace("slates", f"slates-{uuid.uuid4().hex}")
    return lambda: f"lmdb:{tmp_path / uuid.uuid4().hex}"
