"""A cache of every kind: each test gets an empty one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ensemble.slates.services import AWS, dynamodb, valkey

KINDS = [
    "lmdb",
    pytest.param("redis", marks=pytest.mark.service("valkey")),
    pytest.param("dynamodb", marks=pytest.mark.service("dynamodb")),
]


@pytest.fixture(scope="module")
def new_cache(request, tmp_path_factory) -> Iterator[Callable[[], str]]:
    """Gives URLs of empty caches; parametrised by `kinds`."""
    kind = getattr(request, "param", "lmdb")
    folder: Path = tmp_path_factory.mktemp("caches")
    if kind == "lmdb":
        yield lambda: f"lmdb:{folder / uuid.uuid4().hex}"
        return
    with pytest.MonkeyPatch.context() as patch, valkey(folder) if kind == "redis" else dynamodb() as url:
        for name, value in AWS.items():
            patch.setenv(name, value)
        if kind == "redis":
            yield lambda: f"{url}?prefix={uuid.uuid4().hex}"
        else:
            yield lambda: url.replace("slates", f"slates-{uuid.uuid4().hex}")
