"""Simulated months of service: nothing changes, or one thing does, and the limits are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.signals.logged import KEY
from benchmarks.signals.traffic import Pool, days_of, taken
from ensemble.profile.ask import OpenChain
from ensemble.profile.profile import Profile
from operations.log.schema import CONTEXT
from operations.signals.features import MOST_ASKED, feature_signals
from operations.signals.kinds import Measured
from operations.signals.measure import measure_rows
from operations.signals.slates import Sample, sample_of
from operations.signals.table import Row, rows_of, with_states

__all__ = ["FIRST_DAY", "HISTORY", "MONTH", "Month", "Served", "false_tickets", "found", "history", "shifts"]

HISTORY, MONTH, WINDOWS = 28, 30, 2
FIRST_DAY = 20_000
PSI = 0.15
Change = Callable[[Sample], Sample]


@dataclass(frozen=True)
class Served:
    """What is simulated.

    Attributes:
        chain: that answered the pool.
        profile: of it.
        pool: requests and answers.
        num: requests a day.
    """

    chain: OpenChain
    profile: Profile
    pool: Pool
    num: int


@dataclass(frozen=True)
class Month:
    """One seed's days so far."""

    served: Served
    random: np.random.Generator
    rows: list[Row]

    def add(self, day: int, tilt: NDArray | None = None, change: Change | None = None) -> None:
        """Another day."""
        self.rows.extend(rows_of(list(_measured(self, day, tilt, change)), day, KEY, 1, self.served.num))


def history(served: Served, seed: int) -> Month:
    """Days that limits are learnt from."""
    month = Month(served, np.random.default_rng(seed), [])
    for day in range(FIRST_DAY, FIRST_DAY + HISTORY):
        month.add(day)
    return month


def false_tickets(month: Month) -> tuple[int, int]:
    """Alarms that begin in a month in which nothing changes, and how many signals were judged."""
    before = len(month.rows)
    for day in range(FIRST_DAY + HISTORY, FIRST_DAY + HISTORY + MONTH):
        month.add(day)
    judged = [row for row in with_states(month.rows, {}) if row.day >= FIRST_DAY + HISTORY]
    begun = {(row.name, row.since) for row in judged if row.is_alarm}
    del month.rows[before:]
    return len(begun), len({row.name for row in judged if row.state != "no_data" and np.isfinite(row.limit_high)})


def found(month: Month, shift: tuple[NDArray | None, Change | None]) -> list[str]:
    """The signals that are out of their limits two windows after a change, the cause first."""
    before, start = len(month.rows), FIRST_DAY + HISTORY
    for day in range(start, start + WINDOWS):
        month.add(day, *shift)
    out = [row for row in with_states(month.rows, {}) if row.day == start + WINDOWS - 1 and row.is_alarm]
    del month.rows[before:]
    return [row.name for row in out]


def shifts(served: Served, column: str) -> Mapping[str, tuple[NDArray | None, Change | None]]:
    """Name -> more or fewer of some requests, and what becomes of the rows of a day."""
    values = served.pool.table[CONTEXT + column].to_numpy(zero_copy_only=False)
    names, counts = np.unique([str(value) for value in values], return_counts=True)
    least = names[np.argsort(counts)[1]]
    is_least = np.array([str(value) == least for value in values])
    return {
        f"PSI {PSI} in {column}": (np.where(is_least, _tilt(is_least.mean()), 1.0), None),
        f"no request of {column} {least}": (np.where(is_least, 0.0, 1.0), None),
        "scores x 0.8": (None, lambda sample: Sample(_scaled(sample.table, 0.8))),
    }


def _tilt(share: float) -> float:
    """How much more often one of two kinds must be drawn for a PSI of PSI between the two distributions."""
    low, high = 1.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        new = share * middle / (share * middle + 1 - share)
        psi = (new - share) * np.log(new / share * (1 - share) / (1 - new))
        low, high = (middle, high) if psi < PSI else (low, middle)
    return low


def _scaled(table: pa.Table, factor: float) -> pa.Table:
    scores = table["scores"].combine_chunks()
    scaled = pc.multiply(scores.flatten(), pa.scalar(factor, pa.float32()))
    return table.set_column(
        table.column_names.index("scores"), "scores", pa.ListArray.from_arrays(_offsets(scores), scaled)
    )


def _offsets(lists: pa.ListArray) -> pa.Array:
    return pc.subtract(lists.offsets, lists.offsets[0])


def _measured(month: Month, day: int, tilt: NDArray | None, change: Change | None) -> Iterator[Measured]:
    served = month.served
    at = days_of(served.pool, day, served.num, month.random, tilt)
    table = served.pool.table.take(pa.array(at))
    keys = pa.array(month.random.integers(0, 2**63, len(at)).astype(np.uint64))
    sample = sample_of(table.set_column(table.column_names.index("key"), "key", keys))
    sample = sample if change is None else change(sample)
    yield from measure_rows(sample, served.profile)
    again = np.sort(np.argsort(keys.to_numpy(), kind="stable")[:MOST_ASKED])
    asked = sample.where(np.isin(np.arange(len(at)), again))
    yield from feature_signals(served.chain, asked, taken(served.pool.answers, at[again]), served.profile)
