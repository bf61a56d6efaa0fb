"""Python values to request tensors and back: padding, dtypes, and refusals that name the value."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import msgspec
import numpy as np

from ensemble.serving.slates import Slate, Slates
from workflows.core.errors import RequestError, ServingError

__all__ = ["NO_ITEM", "Tensor", "decode", "encode_column", "encode_context", "encode_lists"]

# What pads a list that is shorter than the longest of its batch, by datatype.
NO_ITEM: dict[str, Any] = {"INT64": -1, "BYTES": b""}
# What says "not known" of one user's context value, by datatype.
NULLS: dict[str, Any] = {"INT64": -(2**63), "FP32": np.nan, "FP64": np.nan, "BYTES": b""}
NUMPY: dict[str, Any] = {
    "INT64": np.int64,
    "INT32": np.int32,
    "FP32": np.float32,
    "FP64": np.float64,
    "BOOL": np.bool_,
    "BYTES": np.object_,
}
OUTPUTS = ("item_id", "score", "num_items", "path")
OTHER_MODEL = "serve a repository that this version of Cascade exported"


class Tensor(msgspec.Struct, frozen=True):
    """An input of a request: `array` is [B, width]; BYTES are objects of type bytes."""

    name: str
    datatype: str
    array: np.ndarray


def encode_column(name: str, values: Sequence[Any], datatype: str) -> Tensor:
    """One value a user, as [B, 1].

    Raises:
        RequestError: a value does not fit the datatype; names it.
    """
    return encode_lists(name, [[value] for value in values], datatype)


def encode_context(name: str, values: Sequence[Any], datatype: str) -> Tensor:
    """A context feature, one value a user, as [B, 1]; None, NaN and pandas' NA and NaT are not known.

    Booleans are the integers 1 and 0, and whole floats and decimals are integers where the model takes these.

    Raises:
        RequestError: a value does not fit the datatype; names it.
    """
    if datatype not in NULLS:
        raise ServingError(f"input {name} of the model has datatype {datatype}, which no context feature has")
    array = np.empty((len(values), 1), NUMPY[datatype])
    for row, value in enumerate(values):
        array[row, 0] = NULLS[datatype] if _is_null(value) else _context(name, value, datatype)
    return Tensor(name, datatype, array)


def encode_lists(name: str, rows: Sequence[Sequence[Any]], datatype: str) -> Tensor:
    """Lists of any lengths, one a user, padded right with NO_ITEM to [B, longest]; at least one wide.

    Raises:
        RequestError: a value does not fit the datatype, or a list is not a list; names the value.
    """
    convert = _converter(name, datatype)
    for row in rows:
        if isinstance(row, str | bytes) or not hasattr(row, "__len__"):
            raise RequestError(f"{name} must be one list of ids a user, got {row!r} in place of a list")
    width = max((len(row) for row in rows), default=0) or 1
    array = np.full((len(rows), width), NO_ITEM.get(datatype, 0), NUMPY[datatype])
    for position, row in enumerate(rows):
        for column, value in enumerate(row):
            array[position, column] = convert(value)
    return Tensor(name, datatype, array)


def decode(user_ids: Sequence[Any], outputs: Mapping[str, np.ndarray]) -> Slates:
    """The slates of a response.

    Args:
        user_ids: the B users asked for.
        outputs: item_id [B, S], score [B, S], num_items [B, 1] and path [B, 1].

    Raises:
        ServingError: an output is missing, of another shape, or no text: the server runs another model.
    """
    wrong = _why_wrong(len(user_ids), outputs)
    if wrong:
        raise ServingError(f"the model's answer cannot be read: {wrong}; {OTHER_MODEL}")
    counts = outputs["num_items"].reshape(-1).tolist()
    paths = [_text("path", path) for path in outputs["path"].reshape(-1).tolist()]
    slates = []
    for row, user_id in enumerate(user_ids):
        items = [_text("item_id", item) for item in outputs["item_id"][row, : counts[row]].tolist()]
        scores = outputs["score"][row, : counts[row]].tolist()
        slates.append(Slate(_text("user_id", user_id), items, scores, str(paths[row])))
    return Slates(slates)


def _why_wrong(num_users: int, outputs: Mapping[str, np.ndarray]) -> str:
    """What is wrong with the shapes and types of an answer; "" when they fit."""
    missing = [name for name in OUTPUTS if outputs.get(name) is None]
    if missing:
        return f"it has {', '.join(sorted(outputs)) or 'no outputs'}, and no {', '.join(missing)}"
    shapes = {name: outputs[name].shape for name in OUTPUTS}
    width = shapes["item_id"][1:]
    expected = {"item_id": (num_users, *width), "score": (num_users, *width)}
    for name in OUTPUTS:
        fits = shapes[name] == expected[name] if name in expected else outputs[name].size == num_users
        if not fits or len(width) != 1:
            return f"{name} has the shape {list(shapes[name])}, for {num_users} users"
    kinds = {"item_id": "iuO", "score": "f", "num_items": "iu", "path": "O"}
    for name in OUTPUTS:
        if outputs[name].dtype.kind not in kinds[name]:
            return f"{name} is of type {outputs[name].dtype}"
    counts = outputs["num_items"]
    if ((counts < 0) | (counts > width[0])).any():
        return f"num_items says {counts.reshape(-1).tolist()} of {width[0]} items"
    return ""


def _text(name: str, value: Any) -> Any:
    """Bytes as text; other values as they are."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise ServingError(f"the model's answer cannot be read: {name} {value!r} is not UTF-8; {OTHER_MODEL}") from None


def _converter(name: str, datatype: str) -> Callable[[Any], Any]:
    """A function that turns one Python value into the datatype, or raises RequestError."""
    if datatype == "BYTES":
        return lambda value: _to_bytes(name, value)
    if datatype in ("INT64", "INT32"):
        return lambda value: _to_int(name, datatype, value)
    raise ServingError(f"input {name} of the model has datatype {datatype}, which this client does not know; update it")


def _is_null(value: Any) -> bool:
    """None, and what differs from itself or cannot say whether it does."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA
        return True
    except (ValueError, ArithmeticError):  # an array; a signalling NaN
        return False


def _context(name: str, value: Any, datatype: str) -> Any:
    if datatype == "BYTES":
        return _to_bytes(name, value)
    if datatype == "INT64":
        is_whole = isinstance(value, float | np.floating | Decimal) and math.isfinite(value) and value == int(value)
        return _to_int(name, datatype, int(value) if is_whole or isinstance(value, bool | np.bool_) else value)
    return _to_float(name, datatype, value)


def _to_bytes(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise RequestError(f"{name} must be text that UTF-8 can hold, got {value!r}") from None
    if isinstance(value, bytes):
        return value
    raise RequestError(f"{name} must be strings on this server, got {value!r} ({type(value).__name__})")


def _to_int(name: str, datatype: str, value: Any) -> int:
    limits = np.iinfo(NUMPY[datatype])
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise RequestError(f"{name} must be integers on this server, got {value!r} ({type(value).__name__})") from None
    if not limits.min <= number <= limits.max:
        raise RequestError(f"{name} must fit {datatype} ({limits.min} to {limits.max}), got {number}")
    return number


def _to_float(name: str, datatype: str, value: Any) -> Any:
    if not isinstance(value, Real | Decimal | np.bool_):
        raise RequestError(
            f"{name} must be numbers ({datatype}) on this server, got {value!r} ({type(value).__name__})"
        )
    largest = float(np.finfo(NUMPY[datatype]).max)
    size: Any = abs(value)
    if largest < size < np.inf:
        raise RequestError(f"{name} must fit {datatype} (up to {largest:g}), got {value!r:.80}")
    return float(value)
