"""NVTabular operators of our own, where the stock ones fail on nulls, empty partitions or differ between CPU and GPU.

Each works on pandas and cuDF columns. Codes: 0 padding, 1 null, 2 out of vocabulary, real values from 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import nvtabular as nvt
import pandas as pd
from dask.delayed import delayed
from merlin.schema import Tags

from runtime.encoders import FIRST, MOST_DEVIATIONS, hash_bytes, hash_ints, latest
from workflows.features.counts import list_elements, write_empty
from workflows.features.schema import NULL
from workflows.features.source import to_series

__all__ = ["Buckets", "Codes", "HashCodes", "ListCodes", "Numbers", "Scaled"]

CONSTANT_SPREAD = 1e-13  # of the mean: what the rounding of 64 bits alone spreads


def _on_cpu(series: Any) -> bool:
    return isinstance(series, pd.Series)


def _via_host(series: Any, convert: Callable[[pd.Series], pd.Series]) -> Any:
    """Apply a pandas conversion; a cuDF column makes the trip over host memory (strings, small tables)."""
    if _on_cpu(series):
        return convert(series)
    return type(series).from_pandas(convert(_host(series)))


def _host(series: Any) -> pd.Series:
    """A cuDF column in host memory, through Arrow, so that integers with nulls stay integers."""
    return to_series(series.to_arrow()).rename(series.name)


def _floats(series: Any) -> Any:
    """float64 with NaN for null: cuDF keeps nulls apart from NaN, and comparisons with null are null there."""
    floats = series.astype("float64", copy=False)
    return floats if _on_cpu(series) else floats.fillna(np.nan)


class Numbers(nvt.ops.Operator):
    """Any numeric column as float64; infinite values become missing, and so do values of -1 or less before a logarithm.

    Args:
        log: a logarithm of 1 + x follows.
    """

    def __init__(self, log: bool = False) -> None:
        super().__init__()
        self.log = log

    def transform(self, col_selector: nvt.ColumnSelector, df: Any) -> Any:
        """Convert the selected columns."""
        out = type(df)()
        for name in col_selector.names:
            values = _floats(df[name])
            good = (values > (-1.0 if self.log else -np.inf)) & (values < np.inf)
            out[name] = values.where(good)
        return out

    @property
    def output_dtype(self) -> Any:
        """float64."""
        return np.float64

    @property
    def output_tags(self) -> list[Tags]:
        """Continuous."""
        return [Tags.CONTINUOUS]


class Scaled(nvt.ops.Normalize):
    """Numbers less their mean, over their standard deviation: both by sums that large numbers of small spread survive.

    NVTabular's own take the sum of the squares, of which nothing is left of a column of, say, instants in seconds. No
    value counts as further from the mean than MOST_DEVIATIONS: one that training had cannot be, and one that it did not
    have would drown every other feature.
    """

    def __init__(self) -> None:
        super().__init__(out_dtype=np.float32)

    def fit(self, col_selector: nvt.ColumnSelector, ddf: Any) -> Any:
        """Count, mean and sum of squared deviations of every partition, and of all together."""
        names = list(col_selector.names)
        parts = [delayed(_statistics)(part, names) for part in ddf[names].to_delayed()]
        return delayed(_merged)(parts)

    def fit_finalize(self, dask_stats: dict[str, tuple[float, float]]) -> None:
        """Keep them; what is spread by no more than rounding is constant."""
        for name, (mean, std) in dask_stats.items():
            self.means[name] = mean
            self.stds[name] = std if std > CONSTANT_SPREAD * abs(mean) else 0.0

    def transform(self, col_selector: nvt.ColumnSelector, df: Any) -> Any:
        """Scale the selected columns."""
        scaled = super().transform(col_selector, df)
        for name in col_selector.names:
            scaled[name] = scaled[name].clip(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        return scaled


def _statistics(df: Any, names: Sequence[str]) -> dict[str, tuple[int, float, float]]:
    """Column -> number of values, their mean, and the sum of their squared deviations from it."""
    found = {}
    for name in names:
        values = df[name].dropna().astype("float64")
        mean = float(values.mean()) if len(values) else 0.0
        found[name] = (len(values), mean, float(((values - mean) ** 2).sum()) if len(values) else 0.0)
    return found


def _merged(parts: Sequence[dict[str, tuple[int, float, float]]]) -> dict[str, tuple[float, float]]:
    """Column -> mean and standard deviation of all parts together; NaN without any value.

    Reference: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for sample variances", 1979.
    """
    result = {}
    for name in parts[0]:
        count, mean, squares = 0, 0.0, 0.0
        for part in parts:
            more, other_mean, other_squares = part[name]
            if more:
                step, total = other_mean - mean, count + more
                mean += step * more / total
                squares += other_squares + step * step * count * more / total
                count = total
        result[name] = (mean if count else math.nan, math.sqrt(squares / (count - 1)) if count > 1 else 0.0)
    return result


class _CodesOut(nvt.ops.Operator):
    @property
    def output_dtype(self) -> Any:
        """int32."""
        return np.int32

    @property
    def output_tags(self) -> list[Tags]:
        """Categorical."""
        return [Tags.CATEGORICAL]


class Buckets(_CodesOut):
    """A number cut at boundaries: 3 below the first one, 3 + n from the n-th on; null is 1.

    Args:
        boundaries: ascending; a value equal to a boundary falls into the bucket above it.
    """

    def __init__(self, boundaries: Sequence[float]) -> None:
        super().__init__()
        self.boundaries = list(boundaries)

    def transform(self, col_selector: nvt.ColumnSelector, df: Any) -> Any:
        """Cut the selected columns."""
        out = type(df)()
        for name in col_selector.names:
            values = _floats(df[name])
            codes = sum((values >= boundary).astype("int32") for boundary in self.boundaries) + FIRST
            out[name] = codes.where(values.abs() < np.inf, NULL).astype("int32")
        return out


class HashCodes(_CodesOut):
    """3 + hash modulo `num_buckets`; null is 1. NVTabular's HashBucket gives other codes on GPU than on CPU."""

    def __init__(self, num_buckets: int) -> None:
        super().__init__()
        self.num_buckets = num_buckets

    def transform(self, col_selector: nvt.ColumnSelector, df: Any) -> Any:
        """Hash the selected columns."""
        out = type(df)()
        for name in col_selector.names:
            out[name] = _via_host(df[name], self._codes)
        return out

    def _codes(self, series: pd.Series) -> pd.Series:
        nulls = series.isna().to_numpy()
        if series.dtype == object:
            hashes = hash_bytes([b"" if null else value.encode() for value, null in zip(series, nulls, strict=True)])
        else:
            hashes = hash_ints(series.fillna(0).to_numpy(np.int64))
        codes = (hashes % np.uint64(self.num_buckets)).astype(np.int32) + FIRST
        return pd.Series(np.where(nulls, NULL, codes).astype(np.int32), index=series.index)


class Codes(nvt.ops.Categorify):
    """Categorify that takes columns which are all null, and integers with nulls (NVTabular's fails on both).

    Args:
        elements: type of the values, "int64" or "string".
        categorify: arguments of Categorify.
    """

    def __init__(self, *, elements: str, **categorify: Any) -> None:
        super().__init__(**categorify)
        self.elements = "object" if elements == "string" else "int64"

    def fit_finalize(self, categories: dict[str, str]) -> None:
        """Note the vocabularies; Categorify writes no file for a column without any value."""
        for name, path in categories.items():
            if name != "no-op" and not Path(path).exists():
                write_empty(Path(path), name, self.elements)
        super().fit_finalize(categories)

    def transform(self, col_selector: nvt.ColumnSelector, df: Any) -> Any:
        """Encode the selected columns."""
        out = type(df)()
        for name in col_selector.names:
            if _on_cpu(df[name]) or not df[name].notna().any():
                out[name] = type(df[name])(self._look_up(name, df[name]), index=df.index)
            else:
                out[name] = super().transform(nvt.ColumnSelector([name]), df[[name]])[name]
        return out

    def _look_up(self, name: str, series: pd.Series) -> np.ndarray:
        """int32 [n]; Categorify sees only the values that are there, in a frame with row numbers of its own."""
        codes = np.full(len(series), NULL, np.int32)
        if series.notna().any():
            there = series.notna().to_numpy()
            values = series[there]
            plain = values if series.dtype == object else values.astype("int64")
            frame = pd.DataFrame({name: plain.to_numpy()})
            codes[there] = super().transform(nvt.ColumnSelector([name]), frame)[name].to_numpy()
        return codes


class ListCodes(Codes):
    """Categorify on the elements of separated strings or list columns, cut to `length` and padded right with 0.

    Null and blank elements are left out; a null list is all padding. Elements pass through host memory: lists are
    columns of the catalogue or of requests, and stock Categorify mixes up lists that are null or empty.

    Args:
        elements: their type, "int64" or "string".
        separator: splits strings; None where the column holds lists.
        length: values kept.
        from_end: keep the last values instead of the first; the order stays.
        categorify: arguments of Categorify.
    """

    def __init__(
        self, *, elements: str, separator: str | None, length: int, from_end: bool = False, **categorify: Any
    ) -> None:
        super().__init__(elements=elements, **categorify)
        self.separator = separator
        self.length = length
        self.from_end = from_end

    def transform(self, col_selector: nvt.ColumnSelector, df: Any) -> Any:
        """Encode, cut and pad the selected columns."""
        out = type(df)()
        for name in col_selector.names:
            out[name] = _via_host(df[name], self._encode)
        return out

    def _encode(self, series: pd.Series) -> pd.Series:
        lists = [list_elements(value, self.separator) for value in series]
        lengths = np.array([len(values) for values in lists], np.int64)
        codes = self._look_up(str(series.name), self._flat(lists))
        fixed = latest(codes, lengths, self.length, from_end=self.from_end)
        return pd.Series(list(fixed), index=series.index, dtype=object)

    def _flat(self, lists: list[list[Any]]) -> pd.Series:
        return pd.Series([value for values in lists for value in values], dtype=self.elements)

    def _compute_shape(self, col_schema: Any, input_schema: Any) -> Any:
        return col_schema.with_shape((None, (self.length, self.length)))
