"""Views of what was collected, by the names of other servers: DuckDB runs them as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from operations.log.collect import collect
from operations.log.views import VIEWS
from runtime.log.folder import LogSettings
from scripts.log import View
from tests.runtime.log.made import Process, Request, ask, record, segment


@pytest.fixture(scope="module")
def mon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One request of two users, one that is refused, and one of a chain with other columns; at an odd place."""
    root = tmp_path_factory.mktemp("it's here")
    process = Process(LogSettings(root / "LOG", 1.0, ("web",)))
    process.answer([Request("a", {"consumer": "web"})], [ask(0, users=2)[1]])
    process.answer([Request("b")], [{"user_id": np.array([[1]]), "slate_size": np.array([[0]], np.int32)}])
    process.close()
    segment(root / "LOG/ready/other.seg", [record(3, wall=0)], context=[["colour", "BYTES"]], share=0.25)
    collect(root / "LOG", root / "MON", views=list(VIEWS))
    return root / "MON"


def asked(mon: Path, name: str, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute((mon / f"views/{name}.sql").read_text())
        return connection.execute(
            f"SELECT {columns} FROM {name} WHERE {where} ORDER BY request_id, position"
        ).fetchall()


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_has_its_names_and_all_columns(mon: Path, name: str) -> None:
    with duckdb.connect() as connection:
        connection.execute((mon / f"views/{name}.sql").read_text())
        found = [row[0] for row in connection.execute(f"DESCRIBE {name}").fetchall()]
        assert connection.execute(f"SELECT count(*) FROM {name}").fetchone() == (4,)
    assert found[: len(VIEWS[name])] == list(VIEWS[name])
    assert {"item_rows", "context_hour", "context_colour", "weight"} <= set(found)
    assert len(found) == len({column.lower() for column in found})


def test_events_as_kserve_names_them(mon: Path) -> None:
    first, second, refused, _ = asked(mon, "kserve", "id, source, data")
    assert [row[:2] for row in (first, second, refused)] == [(name, "cascade/1") for name in ("a", "a", "b")]
    assert json.loads(first[2])["num_items"] == len(json.loads(first[2])["item_rows"]) > 0
    assert json.loads(refused[2])["error"].startswith("slate_size must be from 1 to")


def test_rows_as_databricks_names_them(mon: Path) -> None:
    columns = "client_request_id, status_code, sampling_fraction, request, request_metadata"
    first, _, refused, sampled = asked(mon, "databricks", columns)
    assert first[:3] == ("a", 200, 1.0)
    assert json.loads(first[3])["slate_size"] > 0
    assert dict(first[4]) == {"model_name": "cascade", "model_version": "1"}
    assert refused[:3] == ("b", 400, 1.0)
    assert sampled[2] == 0.25
    (milliseconds,) = asked(mon, "databricks", 'timestamp_ms - epoch_ms("at")', "client_request_id = 'b'")
    assert milliseconds == (0,)


def test_the_command_knows_every_view() -> None:
    assert [view.value for view in View] == list(VIEWS)
