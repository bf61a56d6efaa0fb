"""Sources whose score of an item is the same for everybody: popularity, what is trending, what is new."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.sources.base import NOT_MEANT, AsOf, Fitted, numbers_of
from models.sources.config import LatestConfig, TrendingConfig
from workflows.core.errors import ConfigError

__all__ = ["FittedScores", "LatestFit", "PopularityFit", "TrendingFit", "dates_of"]

DAY_NS = 86_400 * 10**9


class FittedScores:
    """A score an item.

    Args:
        name: of the source.
        scores: float32 [N]; NOT_MEANT for items that it never gives.
        setting: what was chosen, for the record.
    """

    def __init__(self, name: str, scores: NDArray[np.float32], setting: float | None = None) -> None:
        self._scores, self.setting = scores, setting
        self.files: dict[str, NDArray] = {f"sources/{name}/scores.npy": np.where(np.isfinite(scores), scores, 0)}

    def scores(self, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
        """[1, N]."""
        return self._scores[None]


class PopularityFit:
    """How often an item was a positive."""

    name: ClassVar[str] = "popularity"
    step: ClassVar[str] = "runtime.sources.item_scores:Popularity"

    def candidates(self, as_of: AsOf) -> list[Fitted] | str:
        """The counts beside the largest; the chain's own files hold them already."""
        counts = np.asarray(as_of.state.popularity)
        fitted = FittedScores(self.name, (counts / max(float(counts.max()), 1.0)).astype(np.float32))
        fitted.files = {}
        return [fitted]


class TrendingFit:
    """Counts that halve with every half-life.

    Args:
        config: its section.
    """

    name: ClassVar[str] = "trending"
    step: ClassVar[str] = "runtime.sources.item_scores:Trending"

    def __init__(self, config: TrendingConfig) -> None:
        self._config = config

    def candidates(self, as_of: AsOf) -> list[Fitted] | str:
        """One a half-life."""
        if not len(as_of.times):
            return "the events have no timestamps"
        age_days = (as_of.now - as_of.times) / DAY_NS
        return [self._fit(as_of, age_days, half_life) for half_life in self._config.half_life_days]

    def _fit(self, as_of: AsOf, age_days: NDArray, half_life: float) -> Fitted:
        counts = np.bincount(as_of.item_rows, np.exp2(-age_days / half_life), as_of.num_items)
        scores = (counts / max(float(counts.max()), 1e-30)).astype(np.float32)
        return FittedScores(self.name, np.where(scores > 0, scores, NOT_MEANT).astype(np.float32), half_life)


class LatestFit:
    """The newest items first.

    Args:
        config: its section.
    """

    name: ClassVar[str] = "latest"
    step: ClassVar[str] = "runtime.sources.item_scores:Latest"

    def __init__(self, config: LatestConfig) -> None:
        self._config = config

    def candidates(self, as_of: AsOf) -> list[Fitted] | str:
        """By the column of the items table, or by an item's first event; what is not dated yet is left out.

        Raises:
            ConfigError: the items table has no such column, or it holds no dates.
        """
        dates = self._dates(as_of)
        if dates is None:
            return "the events have no timestamps and sources.latest.column names no column of the items table"
        known = np.isfinite(dates)
        if len(as_of.times) and self._config.column and np.nanmax(dates[known], initial=0) > 10**15:
            known &= dates <= as_of.now
        if not known.any():
            return "no item has a date"
        # By rank: the distance in time says nothing of how good an item is.
        _, rank = np.unique(dates[known], return_inverse=True)
        scores = np.full(as_of.num_items, NOT_MEANT, np.float32)
        scores[known] = ((rank + 1) / (rank.max() + 1)).astype(np.float32)
        return [FittedScores(self.name, scores)]

    def _dates(self, as_of: AsOf) -> NDArray[np.float64] | None:
        """float64 [N], NaN where there is none."""
        if not self._config.column:
            if not len(as_of.times):
                return None
            first = np.full(as_of.num_items, np.inf)
            np.minimum.at(first, as_of.item_rows, as_of.times.astype(np.float64))
            return np.where(np.isfinite(first), first, np.nan)
        return _dated(self._config.column, as_of.item_column(self._config.column))


def dates_of(items: Path, column: str) -> NDArray[np.float64]:
    """What the column that says what is new holds of each item, float64 [N], NaN where there is none.

    Args:
        items: data/items.parquet.
        column: sources.latest.column.

    Raises:
        ConfigError: there is no such column, or it holds no dates.
    """
    return _dated(column, numbers_of(items, column))


def _dated(column: str, values: NDArray[np.float64] | str) -> NDArray[np.float64]:
    if isinstance(values, str):
        raise ConfigError(f"sources.latest.column = '{column}': the items table {values}; expected dates or numbers")
    return values
