"""What was answered beside what is answered now: bit for bit, or where they first differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "compare", "within_rounding"]

# Another processor or library rounds differently; a logit may be off by this much and mean the same.
LOGIT_TOLERANCE = 2.0**-18


@dataclass(frozen=True)
class Difference:
    """The first difference of two answers.

    Attributes:
        what: the tensor, the place in it and both values.
        is_rounding: whether all items are the same and all scores within what rounding may do.
        overlap: of the items, from 0 to 1.
    """

    what: str
    is_rounding: bool
    overlap: float


def compare(logged: Mapping[str, Any], now: Mapping[str, Any]) -> Difference | None:
    """Compare the answers to one user; None: every bit is the same.

    Args:
        logged: item_rows, scores, num_items, path and, of a chain that explores, log_propensity, as columns of
            operations.log.schema have them.
        now: the same, scores and log_propensity as the bits of float32; its lists may be padded.
    """
    count = now["num_items"]
    rows, bits = np.array(now["item_rows"][:count], np.int64), np.array(now["scores"][:count], np.int32)
    before, scores = np.array(logged["item_rows"], np.int64), np.array(logged["scores"], np.float32)
    what = (
        _first(before, scores.view(np.int32), rows, bits)
        or _of_draw(logged, now, count)
        or ("" if logged["path"] == now["path"] else f"path: was {logged['path']}, is {now['path']}")
    )
    if not what:
        return None
    same = len(rows) == len(before) and bool((rows == before).all()) and logged["path"] == now["path"]
    is_rounding = same and bool(within_rounding(scores, bits.view(np.float32)).all())
    overlap = len(np.intersect1d(rows, before)) / max(len(rows), len(before), 1)
    return Difference(what, is_rounding, overlap)


def _first(before: NDArray, old_bits: NDArray, rows: NDArray, bits: NDArray) -> str:
    if len(rows) != len(before):
        return f"num_items: was {len(before)}, is {len(rows)}"
    for name, old, new in (("item_id", before, rows), ("score", old_bits, bits)):
        places = np.flatnonzero(old != new)
        if len(places):
            place = int(places[0])
            if name == "item_id":
                return f"item_id[{place}]: was row {old[place]}, is row {new[place]}"
            was, now = (array.view(np.float32)[place] for array in (old_bits, bits))
            return (
                f"score[{place}]: was {was:.9g} ({_hex(old[place])}), is {now:.9g} ({_hex(new[place])}), "
                f"{abs(int(new[place]) - int(old[place]))} ulps apart"
            )
    return ""


def _of_draw(logged: Mapping[str, Any], now: Mapping[str, Any], count: int) -> str:
    """The first probability that differs; between chains of which one does not explore none can."""
    if logged.get("log_propensity") is None or "log_propensity" not in now:
        return ""
    old, new = np.array(logged["log_propensity"], np.float32), np.array(now["log_propensity"][:count], np.int32)
    places = np.flatnonzero(old.view(np.int32) != new)
    if not len(places):
        return ""
    was, is_now = old[places[0]], new.view(np.float32)[places[0]]
    return f"log_propensity[{places[0]}]: was {was:.9g}, is {is_now:.9g}"


def _hex(bits: np.int32) -> str:
    return f"{int(bits) & 0xFFFFFFFF:#010x}"


def within_rounding(old: NDArray[np.float32], new: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which scores are those of the same logits, nearly, in the shape of both; the same bits always are."""
    before, after = old.astype(np.float64), new.astype(np.float64)
    # Of a score that is no probability, such as a count, the part that is off counts.
    slope = np.where((before >= 0) & (before <= 1), before * (1 - before), np.abs(before))
    with np.errstate(invalid="ignore"):
        # One step of a float32 beside it: a probability near 1 says little of its logit.
        steps = np.spacing(np.maximum(np.abs(old), np.abs(new))).astype(np.float64)
        is_near = np.abs(after - before) <= LOGIT_TOLERANCE * slope + steps
    is_same: NDArray[np.bool_] = is_near | (old.view(np.int32) == new.view(np.int32))
    return is_same
