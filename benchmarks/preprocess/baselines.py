"""The same work by each library, and by the stage's own functions: Parquet in, fitted, encoded, Parquet out.

Codes and numbers are those of the features stage: values by descending frequency from 3 on, 1 for null; numbers through
log(1 + x) in float32 where asked, standardised by their training mean and deviation, 0.0 for null.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.preprocess.wide import CATEGORICAL, CONTINUOUS
from workflows.features.config import FeatureSpec
from workflows.features.schema import NULL
from workflows.features.source import Kept, coded, pieces, resolve

__all__ = ["BASELINES", "with_cascade", "with_pandas", "with_polars", "with_stock_nvtabular"]

FIRST_CODE = 3
MEMORY_BYTES = 2 << 30
COLUMNS = [*CATEGORICAL, *CONTINUOUS]


def with_pandas(source: Path, out: Path) -> None:
    """One pandas frame: value_counts, get_indexer, and vector arithmetic."""
    frame = pq.read_table(source, columns=COLUMNS).to_pandas()
    encoded = {}
    for name in CATEGORICAL:
        counts = frame[name].value_counts(sort=False).sort_index().sort_values(ascending=False)
        codes = counts.index.get_indexer(frame[name]).astype(np.int32) + FIRST_CODE
        codes[frame[name].isna().to_numpy()] = NULL
        encoded[name] = codes
    for name, log in CONTINUOUS.items():
        values = np.log1p(frame[name].astype(np.float32)) if log else frame[name]
        encoded[name] = ((values - values.mean()) / values.std()).fillna(0.0).astype(np.float32)
    table = pa.table(encoded)
    pq.write_table(table, out, compression="zstd", compression_level=1, use_dictionary=False)


def with_polars(source: Path, out: Path) -> None:
    """Polars expressions over one frame, on all cores."""
    import polars as pl

    frame = pl.read_parquet(source, columns=COLUMNS)
    expressions = []
    for name in CATEGORICAL:
        counts = frame.get_column(name).drop_nulls().value_counts().sort(name)
        values = counts[name].gather(_as_pandas_orders(counts["count"].to_numpy().astype(np.int64)))
        codes = np.arange(FIRST_CODE, FIRST_CODE + len(values), dtype=np.int32)
        looked_up = pl.col(name).replace_strict(values, codes, default=NULL, return_dtype=pl.Int32)
        expressions.append(pl.when(pl.col(name).is_null()).then(NULL).otherwise(looked_up).cast(pl.Int32).alias(name))
    for name, log in CONTINUOUS.items():
        number = pl.col(name).cast(pl.Float32).log1p() if log else pl.col(name)
        scaled = (number - number.mean()) / number.std()
        expressions.append(scaled.fill_null(0.0).cast(pl.Float32).alias(name))
    frame.select(expressions).write_parquet(out, compression="zstd", compression_level=1)


def _as_pandas_orders(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions by descending count, ties as pandas' sort_values and so Categorify leave them."""
    return np.asarray(pd.Series(counts).sort_values(ascending=False).index, np.int64)


def with_cascade(source: Path, out: Path) -> None:
    """The stage's own functions on these columns: fitted, saved and compiled, encoded and written piece by piece."""
    from workflows.features.bulk import encode_table
    from workflows.features.compile import compile_workflow, write_encoder
    from workflows.features.graphs import fit_workflow
    from workflows.features.tables import context_table
    from workflows.features.write import write_part

    for folder in (out, out.with_suffix(".fitted")):
        shutil.rmtree(folder, ignore_errors=True)
    schema = pq.read_schema(source)
    specs = {name: FeatureSpec() for name in CATEGORICAL}
    specs |= {name: FeatureSpec(kind="continuous", log=log) for name, log in CONTINUOUS.items()}
    columns = [resolve(schema, name, spec, table="context", usable=schema.names) for name, spec in specs.items()]
    cut = pieces(source, "cpu")
    tables = Kept(lambda n: coded(context_table(cut[n], columns), columns), lambda table: table.nbytes, MEMORY_BYTES)
    fitted = out.with_suffix(".fitted")
    workflow = fit_workflow("context", columns, tables, len(cut), "cpu", fitted / "statistics")
    workflow.save(str(fitted / "workflow"))
    records, arrays = compile_workflow("context", workflow, columns, fitted / "workflow" / "categories")
    encoder = write_encoder(fitted / "encoders", "context", records, arrays)

    def encode(number: int) -> None:
        encoded = encode_table(encoder, tables(number))
        write_part(out, number, {name: pa.array(values) for name, values in encoded.items()}, [])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(encode, range(len(cut))))


def with_stock_nvtabular(source: Path, out: Path) -> None:
    """The workflow as NVTabular's examples write it: Categorify, LogOp, Normalize, FillMissing, to_parquet."""
    import nvtabular as nvt
    from merlin.io import Dataset
    from merlin.io.worker import clean_worker_cache

    clean_worker_cache()
    statistics = out.with_suffix(".statistics")
    shutil.rmtree(statistics, ignore_errors=True)

    def scaled(names: list[str], log: bool) -> Any:
        logged = (names >> nvt.ops.LogOp()) if log else names
        return logged >> nvt.ops.Normalize(out_dtype=np.float32) >> nvt.ops.FillMissing(0.0)

    graph = CATEGORICAL >> nvt.ops.Categorify(out_path=str(statistics), dtype=np.int32)
    for log in (False, True):
        graph += scaled([name for name, logged in CONTINUOUS.items() if logged is log], log)
    workflow = nvt.Workflow(graph)
    dataset = Dataset(str(source), engine="parquet", cpu=True)
    workflow.fit(dataset)
    workflow.transform(dataset).to_parquet(str(out))


BASELINES: dict[str, Callable[[Path, Path], None]] = {
    "cascade, the same work": with_cascade,
    "pandas": with_pandas,
    "polars": with_polars,
    "stock NVTabular": with_stock_nvtabular,
}
