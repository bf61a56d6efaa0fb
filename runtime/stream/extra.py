"""What an event carries beside its own fields: context columns and the input `extra`, kept as one JSON object."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.encoders import NULL_INT
from runtime.stream.fields import in_extra
from runtime.stream.spec import StreamSpec

__all__ = ["MAX_EXTRA_BYTES", "extras"]

MAX_EXTRA_BYTES = 4096
EXAMPLE = '{"page": "home"}'


def extras(
    spec: StreamSpec, columns: Mapping[str, NDArray], given: NDArray[np.object_]
) -> tuple[NDArray[np.object_], dict[int, str]]:
    """Join both.

    Args:
        spec: of the stream.
        columns: of a request, [n] each.
        given: the input `extra`, objects of bytes [n].

    Returns:
        Objects of bytes [n], b"" where there is nothing; and why one is refused, by its place.
    """
    context = [t.name for t in spec.context if t.name in columns and t.name not in in_extra(spec)]
    made = np.full(len(given), b"", object)
    reasons: dict[int, str] = {}
    if not context and not given.any():
        return made, reasons
    values = [columns[name].tolist() for name in context]
    for place, text in enumerate(given.tolist()):
        try:
            fields = _object(text) if text else {}
            known = {name: _known(column[place]) for name, column in zip(context, values, strict=True)}
            fields |= {name: value for name, value in known.items() if value is not None}
            # Escaped, so that it is ASCII whatever came.
            made[place] = json.dumps(fields, separators=(",", ":")).encode() if fields else b""
            if len(made[place]) > MAX_EXTRA_BYTES:
                raise ValueError(f"is {len(made[place])} bytes long as JSON; it may have {MAX_EXTRA_BYTES}")
        except (ValueError, RecursionError) as error:
            why = str(error) if type(error) is ValueError else "is no JSON"
            made[place] = b""
            reasons[place] = f"extra {text[:60].decode('utf-8', 'backslashreplace')!r} {why}; an example is {EXAMPLE}"
    return made, reasons


def _object(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_EXTRA_BYTES:
        raise ValueError(f"is {len(text)} bytes long; it may have {MAX_EXTRA_BYTES}")
    fields = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(fields, dict):
        raise ValueError("must be a JSON object")
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"holds {name}, which is no JSON")


def _known(value: Any) -> Any:
    """A context value as JSON has it; None where it is not known."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace") or None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if value == NULL_INT else value
