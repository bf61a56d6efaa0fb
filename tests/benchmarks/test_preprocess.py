"""The preprocess benchmark at a small size: every way that is installed gives the same output."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.result import load
from workflows.core.quiet import quiet

quiet()


@pytest.mark.long
def test_every_way_gives_the_same_output(tmp_path: Path) -> None:
    from benchmarks.commands.preprocess import preprocess

    preprocess(tmp_path, num_rows=500, rounds=1)
    result = load(tmp_path / "benchmarks" / "preprocess.json")
    (table,) = result.figures
    same = {row[0]: row[-1] for row in table.rows}
    has_polars = importlib.util.find_spec("polars") is not None
    ours = ["cascade, the whole stage", "cascade, the same work"]
    assert same == dict.fromkeys([*ours, "pandas", *["polars"] * has_polars, "stock NVTabular"], "yes")
    assert bool(result.notes) is not has_polars
    assert [target.value for target in result.targets] == pytest.approx([table.rows[1][3], table.rows[0][3]], abs=1e-3)
    assert not (tmp_path / "preprocess").exists()


def test_another_code_or_number_is_not_the_same_output(tmp_path: Path) -> None:
    from benchmarks.preprocess.measure import same_output
    from benchmarks.preprocess.wide import CATEGORICAL, CONTINUOUS

    columns = {name: [1, 3, 4] for name in CATEGORICAL} | {name: [0.0, 1.0, -1.0] for name in CONTINUOUS}
    pq.write_table(pa.table(columns), tmp_path / "ours.parquet")
    pq.write_table(pa.table(columns), tmp_path / "same.parquet")
    pq.write_table(pa.table(columns | {CATEGORICAL[-1]: [1, 3, 5]}), tmp_path / "code.parquet")
    pq.write_table(pa.table(columns | {"number_3": [0.0, 1.0, -1.001]}), tmp_path / "number.parquet")
    found = [
        same_output(tmp_path / "ours.parquet", tmp_path / f"{name}.parquet") for name in ("same", "code", "number")
    ]
    assert found == [True, False, False]


def test_a_ratio_leaves_the_first_round_out_and_pairs_the_others() -> None:
    from benchmarks.preprocess.measure import over_pandas

    seconds = {"pandas": [1.0, 2.0, 9.0, 8.0], "ours": [100.0, 4.0, 3.0, 4.0]}
    assert over_pandas(seconds, "ours") == 2.0  # of 1/2, 3 and 2
