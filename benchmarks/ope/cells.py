"""Many logs of one setting, each estimated as `cascade evaluate-policy` does; kept, so that a run may be ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.ope.laboratory import Laboratory
from models.ope.config import OpeConfig
from models.ope.diagnostics import diagnose, refusal
from models.ope.evaluate import CAP, estimate
from models.ope.intervals import linearised
from models.ope.slate import cascade_doubly_robust
from models.ope.target import evidence_of
from workflows.core.disk import writing

__all__ = ["ESTIMATORS", "SETTINGS", "Cell", "Setting", "measured"]

ESTIMATORS = ("dm", "sips", "snips", "rips", "snrips", "cascade_dr", "clipped")
SAVED_EVERY = 50

Floats = NDArray[np.float64]


class Setting(msgspec.Struct, frozen=True):
    """One divergence under one model of clicks.

    Attributes:
        temperature: of the evaluated policy; the log's is 1.
        size: slates of a log.
        crowded: see `benchmarks.ope.laboratory.open_laboratory`.
    """

    temperature: float
    size: int
    crowded: bool

    @property
    def name(self) -> str:
        """Of its file."""
        return f"T{self.temperature:g}_N{self.size}_{'crowded' if self.crowded else 'plain'}"


# The coldest is there to be refused.
SETTINGS = tuple(
    Setting(temperature, size, crowded)
    for crowded in (False, True)
    for temperature, size in ((1.0, 3_000), (0.7, 5_000), (0.5, 15_000), (0.25, 10_000))
)


class Cell(msgspec.Struct, frozen=True):
    """What was estimated of L logs.

    Attributes:
        setting: of the logs.
        truth: what the policy is worth.
        values, lows, highs: float64 [L, ESTIMATORS]; bounds are NaN of what has no interval.
        ess: float64 [L].
        refused: bool [L].
    """

    setting: Setting
    truth: float
    values: Floats
    lows: Floats
    highs: Floats
    ess: Floats
    refused: NDArray[np.bool_]

    def rmse(self, name: str, of: NDArray[np.bool_]) -> float:
        """Root of the mean squared error of an estimator, over some logs."""
        errors = self.values[of, ESTIMATORS.index(name)] - self.truth
        return float(np.sqrt((errors**2).mean())) if len(errors) else float("nan")

    def coverage(self, name: str, of: NDArray[np.bool_]) -> float:
        """How often its interval holds the truth, over some logs."""
        place = ESTIMATORS.index(name)
        held = (self.lows[of, place] <= self.truth) & (self.truth <= self.highs[of, place])
        return float(held.mean()) if len(held) else float("nan")


def measured(
    folder: Path, setting: Setting, open_: Callable[[], Laboratory], num_logs: int, advance: Callable[[], None]
) -> Cell:
    """Estimate logs 0 to `num_logs` of a setting; what an earlier run kept of them is read.

    Args:
        folder: where cells are kept.
        setting: which.
        open_: its laboratory.
        num_logs: L.
        advance: is called after each log.
    """
    path = folder / f"{setting.name}.npz"
    kept: dict[str, NDArray] = {}
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            kept = dict(file)
    done = len(kept.get("ess", []))
    truth = float(kept["truth"]) if kept else open_().truth(setting.temperature)
    rows: list[Floats] = []
    for seed in range(done, num_logs):
        rows.append(_estimated(open_(), setting, seed))
        advance()
        if len(rows) == SAVED_EVERY or seed == num_logs - 1:
            kept = _kept(kept, rows, truth)
            rows = []
            with writing("the estimates", folder):
                folder.mkdir(parents=True, exist_ok=True)
                with path.with_suffix(".new").open("wb") as file:
                    np.savez(file, **kept)
                path.with_suffix(".new").replace(path)
    found = {name: kept[name][:num_logs] for name in ("values", "lows", "highs", "ess", "refused")}
    return Cell(setting, truth, **found)


def _estimated(laboratory: Laboratory, setting: Setting, seed: int) -> Floats:
    """One log: value, low and high of each estimator, then effective slates and whether it is refused."""
    evidence = evidence_of(*laboratory.log(setting.size, setting.temperature, seed), ())
    users, limits = evidence.slates.users, OpeConfig()
    found = np.full((3, len(ESTIMATORS)), np.nan)
    for place, name in enumerate(ESTIMATORS):
        if name == "clipped":
            assert evidence.values is not None
            terms = cascade_doubly_robust(evidence.slates, evidence.values, cap=CAP)
        else:
            known = estimate(name, evidence)
            assert known is not None
            terms = known
        interval = linearised(terms, users)  # also where the product shows none: that is the point
        found[:, place] = interval.value, interval.low, interval.high
    told = diagnose(evidence.slates)
    why = refusal(told, min_ess=limits.min_ess, max_weight_share=limits.max_weight_share)
    return np.append(found.reshape(-1), [told.ess, bool(why)])


def _kept(kept: dict[str, NDArray], rows: Sequence[Floats], truth: float) -> dict[str, NDArray]:
    """What was kept and new rows of it."""
    new = np.stack(rows)
    bounds = new[:, :-2].reshape(len(new), 3, -1)
    columns = {
        **{name: bounds[:, place] for place, name in enumerate(("values", "lows", "highs"))},
        "ess": new[:, -2],
        "refused": new[:, -1] > 0,
    }
    joined = {name: np.concatenate([kept[name], column]) if kept else column for name, column in columns.items()}
    return {**joined, "truth": np.array(truth)}
