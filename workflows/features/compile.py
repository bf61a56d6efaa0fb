"""Fitted workflow -> the lookup tables of `runtime.encoders`, checked against the workflow itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import nvtabular as nvt
import pandas as pd
import pyarrow as pa
from merlin.dag import Graph

from runtime.encoders import FIRST, FORMAT_VERSION, Encoder
from workflows.core.errors import ArtefactError, DataError
from workflows.features.bulk import encode_table
from workflows.features.source import Column, to_frame

__all__ = ["check_parity", "compile_workflow", "vocabulary", "write_encoder"]

MAX_TEXT_BYTES = 1024
RELATIVE, ABSOLUTE = 1e-5, 1e-6


def compile_workflow(
    side: str, workflow: nvt.Workflow, columns: Sequence[Column], categories: Path, *, history_length: int = 0
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Read the fitted values out of a workflow.

    Args:
        side: name of the encoder; arrays are called `side`.N.keys.npy and `side`.N.codes.npy.
        workflow: fitted.
        columns: its raw columns, in feature order.
        categories: the folder of Categorify's vocabularies (`unique.NAME.parquet`).
        history_length: set for the history workflow, which keeps the latest values of its list.

    Returns:
        A record a feature, and the arrays by file name.

    Raises:
        DataError: a categorical string is too long.
    """
    statistics = {}
    for node in Graph.get_nodes_by_op_type([workflow.output_node], nvt.ops.Normalize):
        statistics.update({name: (node.op.means[name], node.op.stds[name]) for name in node.op.means})
    records: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for number, column in enumerate(columns):
        record = _record(column, history_length)
        if column.spec.kind == "continuous":
            mean, std = statistics[column.name]
            record["mean"] = float(mean) if np.isfinite(mean) else None
            record["std"] = float(std) if std > 0 else 1.0
        if column.spec.kind in ("categorical", "list"):
            keys, codes = vocabulary(categories / f"unique.{column.name}.parquet", column)
            record["keys"], record["codes"] = f"{side}.{number}.keys.npy", f"{side}.{number}.codes.npy"
            record["cardinality"] = FIRST + len(keys)
            arrays |= {record["keys"]: keys, record["codes"]: codes}
        records.append(record)
    return records, arrays


def _record(column: Column, history_length: int) -> dict[str, Any]:
    spec = column.spec
    given = column.given or column.dtype
    record: dict[str, Any] = {"name": column.name, "column": column.column, "kind": spec.kind}
    record |= {"dtype": given, "length": 0}
    if spec.kind == "list":
        separator = None if column.is_list else spec.separator
        length = history_length or spec.max_length
        record |= {"length": length, "separator": separator, "from_end": bool(history_length)}
    elif spec.kind == "hashed":
        record |= {"num_buckets": spec.num_buckets, "cardinality": FIRST + spec.num_buckets}
    elif spec.kind == "bucketised":
        record |= {"boundaries": column.boundaries, "cardinality": FIRST + len(spec.boundaries) + 1}
    elif spec.kind == "continuous":
        record |= {"log": spec.log, "cardinality": 0}
    return record


def vocabulary(path: Path, column: Column) -> tuple[np.ndarray, np.ndarray]:
    """Categorify's file of one column as (ascending keys: int64 or UTF-8 bytes [V], their codes: int32 [V])."""
    frame = pd.read_parquet(path)
    codes = np.asarray(frame.index, np.int64)
    if len(codes) and codes[0] < FIRST:  # some writers drop the index; Categorify then counts on from 3, and so do we
        codes = codes + FIRST
    values = frame.iloc[:, 0]
    there = values.notna().to_numpy()
    if column.dtype == "int64":
        keys = values[there].to_numpy(np.int64)
    else:
        keys = _text_keys(column.column, [str(value).encode() for value in values[there]])
    order = np.argsort(keys, kind="stable")
    return keys[order], codes[there][order].astype(np.int32)


def _text_keys(name: str, texts: list[bytes]) -> np.ndarray:
    longest = max(texts, key=len, default=b"")
    if len(longest) > MAX_TEXT_BYTES:
        raise DataError(
            f"column {name!r} holds a value of {len(longest)} bytes ({longest[:40]!r}...); categorical values may have "
            f"{MAX_TEXT_BYTES} bytes, use kind 'hashed' for longer ones"
        )
    return np.array(texts, f"S{max(len(longest), 1)}")


def write_encoder(
    folder: Path, name: str, records: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]
) -> Encoder:
    """Write `name`.json and its .npy arrays, and load them back as a server would."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, array in arrays.items():
        np.save(folder / file, array, allow_pickle=False)
    text = json.dumps({"format_version": FORMAT_VERSION, "name": name, "features": list(records)}, indent=1)
    (folder / f"{name}.json").write_text(text + "\n")
    return Encoder.load(folder, name)


def check_parity(
    encoder: Encoder,
    workflow: nvt.Workflow,
    raw: Mapping[str, np.ndarray],
    table: pa.Table,
    device: Literal["cpu", "gpu"] = "cpu",
) -> None:
    """Compare the encoder, row by row and in bulk, with the workflow: codes exactly, floats to rounding.

    Args:
        encoder: compiled.
        workflow: fitted.
        raw: column, by its name in the table, -> values [n], as a request would carry them.
        table: the same rows as canonical columns.
        device: where the workflow runs.

    Raises:
        ArtefactError: they differ; names the feature, the raw value and both results.
    """
    expected = workflow.transform(to_frame(table, device))
    if hasattr(expected, "to_pandas"):
        expected = expected.to_pandas()
    for got in (encoder.encode(raw), encode_table(encoder, table)):
        for record in encoder.features:
            _check_feature(record, got[record["name"]], expected[record["name"]], raw[record["column"]])


def _check_feature(record: Mapping[str, Any], got: np.ndarray, expected: pd.Series, raw: np.ndarray) -> None:
    wanted = np.stack(list(expected)) if record["length"] else expected.to_numpy()
    if record["kind"] == "continuous":
        same = np.isclose(got, wanted, rtol=RELATIVE, atol=ABSOLUTE)
    else:
        same = (got == wanted).reshape(len(wanted), -1).all(axis=1)
    if not same.all():
        row = int(np.flatnonzero(~same)[0])
        raise ArtefactError(
            f"the compiled encoder of feature {record['column']!r} gives {got[row]} for {raw[row]!r} where its "
            f"NVTabular workflow gives {wanted[row]}: this is a bug; report it with the value"
        )
