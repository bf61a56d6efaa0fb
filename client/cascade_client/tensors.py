"""Python values to request tensors: padding, dtypes, and refusals that name the value."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any, Callable

import numpy as np

from cascade_client.errors import RequestRefused, WrongServer

__all__ = [
    "NO_ITEM",
    "NULLS",
    "NUMPY",
    "Tensor",
    "encode_column",
    "encode_context",
    "encode_lists",
    "to_int",
    "to_text",
]

# What pads a list that is shorter than the longest of its batch, by datatype.
NO_ITEM: dict[str, Any] = {"INT64": -1, "BYTES": b""}
# What says "not known" of one user's context value, by datatype.
NULLS: dict[str, Any] = {"INT64": -(2**63), "FP32": np.nan, "FP64": np.nan, "BYTES": b""}
NUMPY: dict[str, Any] = {
    "INT64": np.int64,
    "INT32": np.int32,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}


@dataclass(frozen=True)
class Tensor:
    """An input of a request: `array` is [B, width]; BYTES are objects of type bytes."""

    name: str
    datatype: str
    array: np.ndarray


def encode_column(name: str, values: Sequence[Any], datatype: str) -> Tensor:
    """One value a user, as [B, 1].

    Raises:
        RequestRefused: a value does not fit the datatype; names it.
        WrongServer: no input of this sort has the datatype.
    """
    return encode_lists(name, [[value] for value in values], datatype)


def encode_context(name: str, values: Sequence[Any], datatype: str) -> Tensor:
    """A context feature, one value a user, as [B, 1]; None, NaN and pandas' NA and NaT are not known.

    Booleans are the integers 1 and 0, and whole floats and decimals are integers where the model takes these.

    Raises:
        RequestRefused: a value does not fit the datatype; names it.
        WrongServer: no context feature has the datatype.
    """
    if datatype not in NULLS:
        raise WrongServer(f"input {name} of the model has datatype {datatype}, which no context feature has")
    array = np.empty((len(values), 1), NUMPY[datatype])
    for row, value in enumerate(values):
        array[row, 0] = NULLS[datatype] if _is_null(value) else _context(name, value, datatype)
    return Tensor(name, datatype, array)


def encode_lists(name: str, rows: Sequence[Sequence[Any]], datatype: str) -> Tensor:
    """Lists of any lengths, one a user, padded right with NO_ITEM to [B, longest]; at least one wide.

    Raises:
        RequestRefused: a value does not fit the datatype, or a list is not a list; names the value.
        WrongServer: no input of this sort has the datatype.
    """
    convert = _converter(name, datatype)
    for row in rows:
        if isinstance(row, (str, bytes)) or not hasattr(row, "__len__"):
            raise RequestRefused(f"{name} must be one list of ids a user, got {row!r} in place of a list")
    width = max((len(row) for row in rows), default=0) or 1
    array = np.full((len(rows), width), NO_ITEM.get(datatype, 0), NUMPY[datatype])
    for position, row in enumerate(rows):
        for column, value in enumerate(row):
            array[position, column] = convert(value)
    return Tensor(name, datatype, array)


def _converter(name: str, datatype: str) -> Callable[[Any], Any]:
    """A function that turns one Python value into the datatype, or raises RequestRefused."""
    if datatype == "BYTES":
        return lambda value: to_text(name, value)
    if datatype in ("INT64", "INT32"):
        return lambda value: to_int(name, datatype, value)
    raise WrongServer(f"input {name} of the model has datatype {datatype}, which this client does not know; update it")


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
        is_whole = isinstance(value, (float, np.floating, Decimal)) and math.isfinite(value) and value == int(value)
        return to_int(name, datatype, int(value) if is_whole or isinstance(value, (bool, np.bool_)) else value)
    return _to_float(name, datatype, value)


def to_text(name: str, value: Any) -> bytes:
    """An id: bytes that are UTF-8.

    Raises:
        RequestRefused: it is no text.
    """
    found = _to_bytes(name, value)
    try:
        found.decode()
    except UnicodeDecodeError:
        raise RequestRefused(f"{name} must be text in UTF-8, got {value!r}") from None
    return found


def _to_bytes(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise RequestRefused(f"{name} must be text that UTF-8 can hold, got {value!r}") from None
    if isinstance(value, bytes):
        return value
    raise RequestRefused(f"{name} must be strings on this server, got {value!r} ({type(value).__name__})")


def to_int(name: str, datatype: str, value: Any) -> int:
    """An integer of the datatype.

    Raises:
        RequestRefused: it is none, or does not fit.
    """
    limits = np.iinfo(NUMPY[datatype])
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise RequestRefused(
            f"{name} must be integers on this server, got {value!r} ({type(value).__name__})"
        ) from None
    if not limits.min <= number <= limits.max:
        raise RequestRefused(f"{name} must fit {datatype} ({limits.min} to {limits.max}), got {number}")
    return number


def _to_float(name: str, datatype: str, value: Any) -> Any:
    if not isinstance(value, (Real, Decimal, np.bool_)):
        raise RequestRefused(
            f"{name} must be numbers ({datatype}) on this server, got {value!r} ({type(value).__name__})"
        )
    largest = float(np.finfo(NUMPY[datatype]).max)
    size: Any = abs(value.item() if isinstance(value, np.generic) else value)  # NumPy would compare in its own dtype
    if largest < size < np.inf:
        raise RequestRefused(f"{name} must fit {datatype} (up to {largest:g}), got {value!r:.80}")
    return float(value)
