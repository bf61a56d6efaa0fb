"""Evaluated and exported runs without training: what they lack, and another day's data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ensemble.synthetic import sign_again
from workflows.core.run import Run

__all__ = ["later", "ranker_scores"]


@contextmanager
def ranker_scores() -> Iterator[None]:
    """The synthetic ranker has no rows of its own."""
    rng = np.random.default_rng(3)
    users, labels = np.arange(600) // 3, (rng.random(600) < 0.3).astype(np.float32)
    scores = users, labels, np.clip(0.2 + 0.2 * labels + 0.1 * rng.random(600), 0, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.ranking.scores.ranking_scores", lambda run, split, history=None: scores)
        yield


def later(run: Run, by: int) -> None:
    """The test split's events happen later."""
    for stage in ("data", "features"):
        for path in run.folder(stage).glob("test/*.parquet"):
            table = pq.read_table(path)
            at = pa.array(np.asarray(table["at"].to_numpy()) + by, table["at"].type)
            pq.write_table(table.set_column(table.column_names.index("at"), "at", at), path)
    sign_again(run)
