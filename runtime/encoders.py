"""The fitted workflows as lookup tables: raw request columns in, codes and floats out, with numpy alone.

This file is copied into the model repository and runs there by itself: numpy and the standard library only, nothing
else of ours. `workflows.features.compile` writes what it reads and checks it against the NVTabular Workflow.
Codes: 0 padding, 1 null, 2 out of vocabulary, real values from 3. The empty string is a value, not a null.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["NULL_INT", "Column", "Encoder", "hash_bytes", "hash_ints", "latest", "split_text"]

FORMAT_VERSION = 3
# What stands for null where integers travel without a mask of their own: in a request, and so in context columns.
NULL_INT = -(2**63)
PADDING, NULL, OOV, FIRST = 0, 1, 2, 3
# No number counts as further from the mean of training, in its standard deviations: it would drown all other features.
MOST_DEVIATIONS = 1000.0
LARGEST = float(np.finfo(np.float32).max)
# A scalar column [B] or [B, 1]; a list column [B] of sequences or strings, or (padded [B, R], lengths [B]).
Column = np.ndarray | tuple[np.ndarray, np.ndarray]

FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
MIX_STEP, MIX_1, MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


def hash_ints(values: np.ndarray) -> np.ndarray:
    """The SplitMix64 output function of each integer: int64 [n] -> uint64 [n]; the same on every machine."""
    mixed = values.astype(np.int64).view(np.uint64) + MIX_STEP
    mixed = (mixed ^ (mixed >> np.uint64(30))) * MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * MIX_2
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def hash_bytes(values: Sequence[bytes]) -> np.ndarray:
    """FNV-1a (64 bit) of each byte string, then SplitMix64: n strings -> uint64 [n]; the same on every machine."""
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    data = np.frombuffer(b"".join(values), np.uint8).astype(np.uint64)
    starts = np.cumsum(lengths) - lengths
    hashes = np.full(len(values), FNV_OFFSET)
    if len(values) and (lengths == lengths[0]).all():
        for column in data.reshape(len(values), lengths[0]).T:
            hashes = (hashes ^ column) * FNV_PRIME
        return hash_ints(hashes.view(np.int64))
    alive = np.flatnonzero(lengths)
    position = 0
    while len(alive):
        hashes[alive] = (hashes[alive] ^ data[starts[alive] + position]) * FNV_PRIME
        position += 1
        alive = alive[lengths[alive] > position]
    return hash_ints(hashes.view(np.int64))


def latest(flat: np.ndarray, lengths: np.ndarray, length: int, *, from_end: bool) -> np.ndarray:
    """Cut lists to a fixed length.

    Args:
        flat: [sum of lengths], the lists one after the other.
        lengths: int64 [B].
        length: L, how many values to keep.
        from_end: keep the last L values of each list instead of the first; the order stays.

    Returns:
        [B, L] of flat's dtype, padded right with 0.
    """
    kept = np.minimum(lengths, length)
    ends = np.cumsum(lengths)
    starts = ends - (kept if from_end else lengths)
    steps = np.arange(length)
    inside = steps < kept[:, None]
    out = np.zeros((len(lengths), length), flat.dtype)
    out[inside] = flat[(starts[:, None] + steps)[inside]]
    return out


def split_text(text: str, separator: str) -> list[str]:
    """The parts of a separated string, stripped, blanks left out."""
    return [part for piece in text.split(separator) if (part := piece.strip())]


class Encoder:
    """One compiled workflow: the features of one side, from raw columns.

    Args:
        name: "user", "item", "context" or "history".
        features: one record a feature, as written by workflows.features.compile.
        arrays: the arrays that the records name.
    """

    def __init__(self, name: str, features: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray]) -> None:
        self.name = name
        self.features = list(features)
        self._arrays = dict(arrays)

    def part(self, columns: Collection[str], *, without: bool = False) -> Encoder:
        """The features of some of the raw columns, or of all others."""
        kept = [feature for feature in self.features if (feature["column"] in columns) != without]
        return Encoder(self.name, kept, self._arrays)

    @classmethod
    def load(cls, folder: str | Path, name: str) -> Encoder:
        """Read `folder`/`name`.json and the arrays that it names (memory-mapped, no pickle).

        Raises:
            ValueError: written in another format version.
            OSError: a file is missing.
        """
        record = json.loads((Path(folder) / f"{name}.json").read_text())
        if record["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"encoder {name} has format version {record['format_version']}, this reads {FORMAT_VERSION}; "
                "run cascade prepare again"
            )
        files = {feature[key] for feature in record["features"] for key in ("keys", "codes") if key in feature}
        # asarray keeps the map but sheds numpy's memmap class, which is slow to index.
        arrays = {f: np.asarray(np.load(Path(folder) / f, mmap_mode="r", allow_pickle=False)) for f in files}
        return cls(name, record["features"], arrays)

    @property
    def columns(self) -> list[str]:
        """The raw columns that it reads, in feature order."""
        return [feature["column"] for feature in self.features]

    def encode(self, columns: Mapping[str, Column], num_rows: int | None = None) -> dict[str, np.ndarray]:
        """Encode a batch.

        Args:
            columns: raw column -> values. Integer columns: any integer or boolean array, floats (NaN is null), or
                objects with None. Text columns: objects (str, UTF-8 bytes or None), or "S"/"U" arrays. Numbers: any
                numeric array. Lists: [B] objects (sequences, separated strings or None), or padded [B, R] with the
                lengths [B].
            num_rows: B; when given, an absent column counts as all null.

        Returns:
            feature -> int32 [B] codes, float32 [B] values, or int32 [B, L] codes padded right with 0; in feature order.

        Raises:
            ValueError: a column is absent, has the wrong type, or columns differ in length.
        """
        encoded = {feature["name"]: self._encode(feature, columns, num_rows) for feature in self.features}
        lengths = {name: len(values) for name, values in encoded.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of a batch must have one length, got {lengths}")
        return encoded

    def _encode(self, feature: Mapping[str, Any], columns: Mapping[str, Column], num_rows: int | None) -> np.ndarray:
        column = columns.get(feature["column"])
        if column is not None:
            return self.encode_column(feature, column)
        if num_rows is None:
            raise ValueError(f"column {feature['column']!r} is missing; expected {self.columns}")
        return _all_null(feature, num_rows)

    def encode_column(self, feature: Mapping[str, Any], column: Column) -> np.ndarray:
        """Encode the column of one of `features`, as `encode` does."""
        name = feature["column"]
        if feature["length"]:
            return self._encode_list(feature, column)
        if isinstance(column, tuple):
            raise ValueError(f"column {name!r} takes one value a row, got a list column")
        values = column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
        if values.ndim != 1:
            raise ValueError(f"column {name!r} takes one value a row, got shape {list(column.shape)}")
        if feature["kind"] == "continuous":
            return _continuous(feature, values)
        return self._codes(feature, values)

    def _encode_list(self, feature: Mapping[str, Any], column: Column) -> np.ndarray:
        flat, lengths = _flatten(feature, column)
        codes = self._codes(feature, flat)
        if (codes == NULL).any():
            rows = np.repeat(np.arange(len(lengths)), lengths)
            lengths = np.bincount(rows[codes != NULL], minlength=len(lengths))
            codes = codes[codes != NULL]
        return latest(codes, lengths, feature["length"], from_end=feature["from_end"])

    def _codes(self, feature: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
        if feature["kind"] == "bucketised":
            numbers = _numbers(feature["column"], values)
            codes = np.searchsorted(np.asarray(feature["boundaries"], np.float64), numbers, side="right") + FIRST
            return np.where(np.isnan(numbers), NULL, codes).astype(np.int32)
        if feature["dtype"] == "int64":
            return self._int_codes(feature, values)
        return self._text_codes(feature, values)

    def _int_codes(self, feature: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
        ints, nulls, foreign = _ints(feature["column"], values)
        if feature["kind"] == "hashed":
            codes = _buckets(hash_ints(ints), feature["num_buckets"])
        else:
            codes = self._look_up(feature, ints)
        codes[foreign] = OOV
        codes[nulls] = NULL
        return codes

    def _text_codes(self, feature: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
        texts, nulls = _texts(feature["column"], values)
        if feature["kind"] == "hashed":
            codes = _buckets(hash_bytes(texts), feature["num_buckets"])
        else:
            cut = np.array(texts, self._arrays[feature["keys"]].dtype)
            codes = self._look_up(feature, cut)
            # numpy cuts fixed-width bytes at the width and at trailing zeros: such values cannot be in the vocabulary.
            codes[np.char.str_len(cut) != np.fromiter(map(len, texts), np.int64, len(texts))] = OOV
        codes[nulls] = NULL
        return codes

    def _look_up(self, feature: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
        keys, codes = self._arrays[feature["keys"]], self._arrays[feature["codes"]]
        if len(keys) == 0:
            return np.full(len(values), OOV, np.int32)
        at = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
        return np.where(keys[at] == values, codes[at], OOV).astype(np.int32)


def _all_null(feature: Mapping[str, Any], num_rows: int) -> np.ndarray:
    if feature["length"]:
        return np.full((num_rows, feature["length"]), PADDING, np.int32)
    if feature["kind"] == "continuous":
        return np.zeros(num_rows, np.float32)
    return np.full(num_rows, NULL, np.int32)


def _buckets(hashes: np.ndarray, num_buckets: int) -> np.ndarray:
    return np.asarray(hashes % np.uint64(num_buckets)).astype(np.int32) + np.int32(FIRST)


def _continuous(feature: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    numbers = _numbers(feature["column"], values)
    numbers = np.where(np.abs(numbers) <= LARGEST, numbers, np.nan)  # training has refused such numbers
    if feature["log"]:
        numbers = np.where(numbers > -1.0, numbers, np.nan).astype(np.float32)
        numbers = np.log(numbers + np.float32(1.0))
    if feature["mean"] is None:  # no value in training: nothing to measure against
        return np.zeros(len(numbers), np.float32)
    scaled = np.clip((numbers - feature["mean"]) / feature["std"], -MOST_DEVIATIONS, MOST_DEVIATIONS)
    return np.where(np.isnan(scaled), 0.0, scaled).astype(np.float32)


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, (float, np.floating)) and value != value)


def _null_mask(values: np.ndarray) -> np.ndarray:
    return np.fromiter((_is_null(value) for value in values), bool, len(values))


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    """float64 [n]; null and infinite values become NaN."""
    try:
        numbers = np.where(_null_mask(values), np.nan, values) if values.dtype == object else values
        numbers = np.asarray(numbers).astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"column {name!r} must hold numbers, got {_describe(values)}") from None
    if values.dtype.kind in "SU":
        raise ValueError(f"column {name!r} must hold numbers, got {_describe(values)}")
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _ints(name: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int64 [n], which are null, and which are no int64 at all (fractions, too large)."""
    if values.dtype.kind in "bi":
        none = np.zeros(len(values), bool)
        return values.astype(np.int64), none, none
    if values.dtype.kind == "u":
        foreign = values > np.uint64(np.iinfo(np.int64).max)
        return np.where(foreign, 0, values).astype(np.int64), np.zeros(len(values), bool), foreign
    if values.dtype == object:
        nulls = _null_mask(values)
        kept = [0 if null else value for value, null in zip(values.tolist(), nulls, strict=True)]
        if not all(isinstance(value, (int, float, np.integer, np.floating, np.bool_)) for value in kept):
            raise ValueError(f"column {name!r} must hold integers, got {_describe(values)}")
        foreign = np.array([not -(2**63) <= value < 2**63 or value != int(value) for value in kept], bool)
        return (
            np.array([0 if bad else int(value) for value, bad in zip(kept, foreign, strict=True)], np.int64),
            nulls,
            foreign,
        )
    if values.dtype.kind != "f":
        raise ValueError(f"column {name!r} must hold integers, got {_describe(values)}")
    nulls = np.isnan(values)
    with np.errstate(invalid="ignore"):
        foreign = ~nulls & ((values != np.trunc(values)) | (values < -(2.0**63)) | (values >= 2.0**63))
    return np.where(nulls | foreign, 0, values).astype(np.int64), nulls, foreign


def _texts(name: str, values: np.ndarray) -> tuple[list[bytes], np.ndarray]:
    """UTF-8 bytes (empty where null) and which are null."""
    if values.dtype.kind in "SU":
        values = values.astype(object)
    if values.dtype != object:
        raise ValueError(f"column {name!r} must hold strings, got {_describe(values)}")
    with suppress(TypeError, UnicodeEncodeError):  # all of it plain text, which is most columns: at C's speed
        return list(map(str.encode, values.tolist())), np.zeros(len(values), bool)
    nulls = _null_mask(values)
    texts = [b"" if null else _as_bytes(name, value) for value, null in zip(values.tolist(), nulls, strict=True)]
    return texts, nulls


def _as_bytes(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise ValueError(f"column {name!r} must hold strings, got a value of type {type(value).__name__}")


def _flatten(feature: Mapping[str, Any], column: Column) -> tuple[np.ndarray, np.ndarray]:
    """The values of all lists one after the other, and each list's length; long ones are cut where that is safe."""
    length, from_end = feature["length"], feature["from_end"]
    if isinstance(column, tuple):
        values, lengths = column
        if values.ndim != 2 or lengths.shape != (len(values),):
            raise ValueError(f"column {feature['column']!r} takes [B, R] and lengths [B], got {list(values.shape)}")
        lengths = np.clip(lengths.astype(np.int64), 0, values.shape[1])
        steps = np.arange(values.shape[1])
        inside = steps < lengths[:, None]
        if values.dtype.kind in "biuSU":  # no nulls that would have to be left out before the cut
            kept = np.minimum(lengths, length)
            inside &= (steps >= (lengths - kept)[:, None]) if from_end else (steps < length)
            lengths = kept
        return values[inside], lengths
    if column.ndim == 2 and not feature["separator"]:
        return column.reshape(-1), np.full(len(column), column.shape[1], np.int64)
    window = slice(-length, None) if from_end else slice(length)
    lists = [_as_list(feature, value)[window] for value in column.reshape(len(column)).tolist()]
    lengths = np.array([len(values) for values in lists], np.int64)
    flat = np.empty(int(lengths.sum()), object)
    flat[:] = [value for values in lists for value in values]
    return flat, lengths


def _as_list(feature: Mapping[str, Any], value: Any) -> Sequence[Any]:
    if _is_null(value):
        return []
    if isinstance(value, (str, bytes)):
        if not feature["separator"]:
            raise ValueError(f"column {feature['column']!r} must hold lists, got a string")
        text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
        return split_text(text, feature["separator"])
    if isinstance(value, (list, tuple, np.ndarray)):
        return [element for element in value if not _is_null(element)]
    raise ValueError(f"column {feature['column']!r} must hold lists, got a value of type {type(value).__name__}")


def _describe(values: np.ndarray) -> str:
    if values.dtype != object:
        return f"dtype {values.dtype}"
    return "values of type " + ", ".join(sorted({type(value).__name__ for value in values.tolist()[:100]}))
