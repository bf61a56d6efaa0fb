"""The request of one user as people put it, in raw ids and texts, and as the chain checks it."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.chain import Chain
from runtime.encoders import NULL_INT
from runtime.errors import BadRequest
from runtime.order_spec import DETERMINISTIC
from runtime.request import Parsed
from runtime.spec import FLOATS, FORCE_POLICY, ChainSpec, Tensor
from runtime.step import RequestStep
from workflows.core.errors import RequestError

__all__ = ["OPTIONS", "Names", "RawRequest", "id_bytes", "whole"]

# What pandas and Python have where nothing is known, as text.
MISSING = ("None", "nan", "<NA>", "NaT")


class Names(NamedTuple):
    """What a sentence calls the parts of a request."""

    user: str
    context: str
    recent: str
    excluded: str


OPTIONS = Names("--user-id", "--context", "--recent", "--exclude")


@dataclass(frozen=True)
class RawRequest:
    """A request as people put it, in raw ids.

    Attributes:
        user: of the request.
        context: values by context column; a text is read in the column's type.
        recent: recent_item_ids, oldest first.
        excluded: exclude_item_ids.
        slate_size: None: the chain's own.
    """

    user: int | str
    context: Mapping[str, Any]
    recent: Sequence[int | str] = ()
    excluded: Sequence[int | str] = ()
    slate_size: int | None = None

    def checked(self, chain: Chain, names: Names = OPTIONS) -> Parsed:
        """The request as the chain's first step reads it; nothing of its slate is drawn at random.

        Args:
            chain: that answers.
            names: in the sentences of what is wrong.

        Raises:
            RequestError: a value is not of its type, or the chain refuses the request.
        """
        spec, step = chain.spec, chain.nodes[0].step
        assert isinstance(step, RequestStep)
        request = {
            "user_id": _ids(names.user, [self.user], spec.user_id_dtype),
            **{name: _context(names.context, spec, name, value) for name, value in self.context.items()},
        }
        if self.recent:
            request["recent_item_ids"] = _ids(names.recent, self.recent, spec.item_id_dtype)
        if self.excluded:
            request["exclude_item_ids"] = _ids(names.excluded, self.excluded, spec.item_id_dtype)
        if self.slate_size is not None:
            request["slate_size"] = np.array([[_size(self.slate_size)]], np.int32)
        if spec.explores:  # what a slate was drawn as, a logged request alone can say
            request[FORCE_POLICY] = np.array([[DETERMINISTIC.encode()]], object)
        try:
            return step.parse(request)
        except BadRequest as error:
            raise RequestError(str(error)) from None


def whole(value: Any) -> int:
    """A number, or a text of one, that must be whole; nothing is rounded.

    Raises:
        TypeError: it is neither.
        ValueError: it is not whole.
    """
    if isinstance(value, (str, bytes)):
        return int(value)
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{value!r} is no number")
    # A column of ids in which one is missing has floats in pandas.
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        if not float(value).is_integer():
            raise ValueError(f"{value!r} is not whole")
        return int(float(value))
    return int(operator.index(value))


def id_bytes(value: Any) -> bytes:
    """A raw id that is a text, as arrays of ids have it.

    Raises:
        TypeError: it is neither a text nor a whole number.
    """
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        operator.index(value)
    return str(value).encode("utf-8", "surrogateescape")


def _id_text(called: str, value: Any) -> bytes:
    try:
        return id_bytes(value)
    except TypeError:
        raise RequestError(f"{called} must be texts, as the ids of this chain are; got {value!r}") from None


def _size(value: Any) -> int:
    try:
        size = whole(value)
        if abs(size) < 2**31:
            return size
    except (TypeError, ValueError, OverflowError):
        pass
    raise RequestError(f"slate_size must be a whole number from 1 on, got {value!r}") from None


def _ids(called: str, values: Sequence[int | str], dtype: str) -> NDArray:
    """[1, n] in the type of the ids."""
    if dtype == "BYTES":
        made = np.empty((1, len(values)), object)
        made[0] = [_id_text(called, value) for value in values]
        return made
    try:
        return np.array([[whole(value) for value in values]], np.int64)
    except (TypeError, ValueError, OverflowError):
        raise RequestError(
            f"{called} must be 64-bit integers, as the ids of this chain are; got {', '.join(map(repr, values))}"
        ) from None


def _context(called: str, spec: ChainSpec, name: str, value: Any) -> NDArray:
    """[1, 1] in the type of the column; an empty text is a value that is not known."""
    column = next((column for column in spec.context_columns if column.name == name), None)
    if column is None:
        known = ", ".join(column.name for column in spec.context_columns) or "none"
        raise RequestError(f"{called} {name}: the chain has no such context column, only {known}")
    if isinstance(value, (list, tuple, set, dict, np.ndarray)):
        raise RequestError(f"{called} {name} must be one value, got {value!r}")
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
    if not isinstance(value, (str, bytes)) and text in MISSING:
        text = ""
    if column.dtype == "BYTES":
        made = np.empty((1, 1), object)
        made[0, 0] = text.encode("utf-8", "surrogateescape")
        return made
    return np.array([[_number(called, column, text)]], column.numpy_dtype)


def _number(called: str, column: Tensor, text: str) -> float | int:
    is_float = column.dtype in FLOATS
    if not text.strip():
        return np.nan if is_float else NULL_INT
    truth = {"true": 1, "false": 0}.get(text.lower())
    try:
        number = float(text) if is_float else int(text) if truth is None else truth
        if is_float or -(2**63) <= number < 2**63:
            return number
    except ValueError:
        pass
    kind = "a number" if is_float else "a 64-bit integer"
    raise RequestError(f"{called} {column.name} must be {kind}, got {text!r}")
