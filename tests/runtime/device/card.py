"""Arrays that behave as CuPy's where NumPy's in their place would hide a fault: they mix with no array of the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["CardArray", "CardModule", "held"]

# What CuPy's arrays have and the steps use; those that give an array give one of the card.
METHODS = ("astype", "reshape", "ravel", "transpose", "sum", "max", "min", "take", "copy", "view", "any", "all")
VALUES = ("shape", "dtype", "ndim", "size", "nbytes", "flags")


class CardArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that only becomes NumPy's where it is asked to."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("an array of the card is not converted without being asked to")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        assert method == "__call__", f"CuPy has no {ufunc.__name__}.{method}"
        out = kwargs.pop("out", None)
        found = ufunc(*map(held, inputs), **kwargs, **({"out": tuple(map(held, out))} if out else {}))
        return out[0] if out else carded(found)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return carded(function(*held(args), **held(kwargs)))

    def __getattr__(self, name: str) -> Any:
        if name in VALUES:
            return getattr(self.array, name)
        if name not in METHODS:
            raise AttributeError(name)
        method = getattr(self.array, name)
        return lambda *args, **kwargs: carded(method(*held(args), **held(kwargs)))

    @property
    def T(self) -> CardArray:
        return CardArray(self.array.T)

    def sort(self, axis: int = -1) -> None:
        self.array.sort(axis=axis)

    def __getitem__(self, index: Any) -> CardArray:
        return CardArray(self.array[held(index, indices=True)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array[held(index, indices=True)] = held(value)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[CardArray]:
        return map(CardArray, self.array)

    def __int__(self) -> int:
        return int(self.array)

    def __float__(self) -> float:
        return float(self.array)

    def __bool__(self) -> bool:
        return bool(self.array)


class CardModule:
    """NumPy's functions over arrays of the card."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(np, name)
        return lambda *args, **kwargs: carded(function(*held(args), **held(kwargs)))

    def asarray(self, array: Any) -> CardArray:
        return array if isinstance(array, CardArray) else CardArray(np.array(array))


def held(value: Any, indices: bool = False) -> Any:
    """NumPy's arrays for those of the card, also within lists.

    Args:
        value: of a call.
        indices: whether an array of the host will do, as in CuPy between brackets.
    """
    if isinstance(value, CardArray):
        return value.array
    if isinstance(value, np.ndarray) and not indices:
        raise TypeError("an array of the host among those of the card")
    if isinstance(value, dict):
        return {name: held(each) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(held(each, indices) for each in value)
    return value


def carded(value: Any) -> Any:
    """An array of the card for NumPy's, also for its numbers: CuPy gives arrays without dimensions."""
    if isinstance(value, np.ndarray | np.generic):
        return CardArray(value)
    if type(value) in (list, tuple):
        return type(value)(map(carded, value))
    return value
