"""How close the values of a slate come to those of what its user took, place by place.

Reference: Steck 2018, "Calibrated recommendations": the divergence KL(p | q) of the shares p of a user's history from
the shares q of his slate, of which a part ALPHA is p, so that it stays finite. What one more item takes off the
divergence of the whole slate depends on its value alone, and diminishes.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import numpy as np
from numpy.typing import NDArray

from runtime.slate_spec import Calibration

__all__ = ["Calibrated", "calibrated_of", "divergence"]

ALPHA = 0.01
# Padding, null and what is out of vocabulary have codes of items below any of a known item.
NONE = -1


def calibrated_of(
    calibration: Calibration | None, files: Mapping[str, NDArray], rows: NDArray, history: NDArray | None, wanted: int
) -> Calibrated | None:
    """The calibration of a slate; None where none is asked for, or nothing is known of what the user took.

    Args:
        calibration: weight and column.
        files: with the codes of the items' values, int32 [N], and of the codes in histories, int32 [K].
        rows: candidates int32 [C]; -1: padding.
        history: int [L], item id codes of the user; padding and unknown items are of no value.
        wanted: places of the slate.
    """
    if calibration is None or history is None:
        return None
    taken = files[calibration.taken_file]
    values = taken[history[history < len(taken)]]
    known, counts = np.unique(values[values > NONE], return_counts=True)
    if not len(known):
        return None
    shares = dict(zip(known.tolist(), (counts / counts.sum()).tolist(), strict=True))
    codes = np.where(rows >= 0, files[calibration.file][rows], NONE)
    return Calibrated(codes, shares, calibration.weight, wanted)


class Calibrated:
    """What each candidate would take off the divergence, as a penalty below 0.

    Args:
        codes: int32 [C], of the candidates' values; -1: none.
        shares: of the history, by code.
        weight: of the divergence, for each place of the slate.
        wanted: places of the slate.

    Attributes:
        penalties: float64 [C], as of the places so far.
    """

    def __init__(self, codes: NDArray[np.int32], shares: Mapping[int, float], weight: float, wanted: int) -> None:
        self._codes, self._shares, self._scale, self._wanted = codes, shares, weight * wanted, wanted
        self._shown = dict.fromkeys(shares, 0)
        known = np.array(sorted(shares))
        gains = np.array([self._penalty(int(code)) for code in known])
        places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        self.penalties = np.where(known[places] == codes, gains[places], 0.0)

    def take(self, place: int) -> None:
        """The slate shows the candidate at this place next."""
        code = int(self._codes[place])
        if code in self._shown:
            self._shown[code] += 1
            self.penalties[self._codes == code] = self._penalty(code)

    def _penalty(self, code: int) -> float:
        share = self._shares[code]
        before = (1 - ALPHA) * self._shown[code] / self._wanted + ALPHA * share
        return -self._scale * share * log(1 + (1 - ALPHA) / self._wanted / before)


def divergence(had: NDArray, shown: NDArray) -> float:
    """KL(p | q) of the values of a history from those of a slate; NaN where there is no value or no slate.

    Args:
        had: codes of the history; -1: no value.
        shown: those of the slate.
    """
    values, counts = np.unique(had[had >= 0], return_counts=True)
    if not len(values) or not len(shown):
        return float("nan")
    shares = counts / counts.sum()
    of_slate = (shown == values[:, None]).mean(axis=1)
    return float((shares * np.log(shares / ((1 - ALPHA) * of_slate + ALPHA * shares))).sum())
