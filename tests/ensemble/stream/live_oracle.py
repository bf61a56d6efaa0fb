"""The chain with stream features by brute force: windows counted in the Parquet of data/, row by row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from runtime.stream.features import COUNT, SINCE, LiveFeature
from tests.ensemble.oracle import Oracle
from workflows.core.artefacts import read_manifest
from workflows.tables.info import DataInfo

__all__ = ["LiveOracle"]

SECOND = 10**9


class LiveOracle(Oracle):
    """Answers as of an instant, with every event of the tables known.

    Args:
        root: the run directory.
        chain: its config.

    Attributes:
        t: the instant, nanoseconds.
        is_away: whether the state of live events is.
    """

    def __init__(self, root: Any, chain: Any) -> None:
        super().__init__(root, chain)
        parts = [pq.read_table(root / "data" / split).to_pydict() for split in ("train", "valid", "test")]
        names = ("user_row", "item_row", "at", "click")
        rows = [row for part in parts for row in zip(*(part[name] for name in names), strict=True)]
        self.rows = {"user": {}, "item": {}}
        for user, item, at, click in rows:
            for key, row in (("user", user), ("item", item)):
                self.rows[key].setdefault(row, []).append((at, click > 0))
        self.columns = DataInfo.of(read_manifest(root / "data"), root / "data").stream
        self.inputs_of = [f for f in self._schema() if f["column"] in {c.name for c in self.columns}]
        self.t, self.is_away = max(at for _, _, at, _ in rows), False

    def _schema(self) -> list[dict]:
        import json

        return json.loads((self.root / "features/encoders/context.json").read_text())["features"]

    def value(self, key: str, feature: LiveFeature, row: int) -> float:
        events = self.rows[key].get(row, [])
        latest = max((at for at, _ in events), default=0)
        if feature.ttl_s and events and self.t - latest > feature.ttl_s * SECOND:
            return math.nan
        if feature.kind == SINCE:
            return (self.t - latest) / SECOND if events else math.nan
        counts = [self.count(events, window.label, window.seconds) for window in feature.windows]
        if feature.kind == COUNT:
            return counts[0]
        return (counts[0] + feature.prior * feature.base) / (counts[1] + feature.prior)

    def count(self, events: list, label: str, seconds: int) -> int:
        hop = seconds * SECOND // 12
        since = (self.t - seconds * SECOND) // hop * hop
        return sum(at >= since and (label == "impression" or click) for at, click in events)

    def code(self, name: str, row: int) -> int:
        """Of a user's column: null, or its bucket."""
        column = next(c for c in self.columns if c.name == name)
        value = math.nan if self.is_away else self.value("user", column.feature, row)
        cuts = next(f["boundaries"] for f in self.inputs_of if f["column"] == name)
        return 1 if math.isnan(value) else 3 + sum(value >= cut for cut in cuts)

    def pair(self, item: int) -> list[float]:
        """Of an item: whether the state is there, then its columns."""
        found = [0.0 if self.is_away else 1.0]
        for column in (c for c in self.columns if c.key == "item"):
            value, feature = self.value("item", column.feature, item), column.feature
            value = math.log1p(value) if feature.kind == COUNT else math.log(max(value, 1e-6) / feature.base)
            found.append(0.0 if self.is_away else value)
        return found

    def inputs(self, row: int, context: dict, recent: list[int]) -> dict[str, np.ndarray]:
        codes = {f["name"]: np.array([[self.code(f["column"], row)]], np.int32) for f in self.inputs_of}
        return {**super().inputs(row, context, recent), **codes}

    def pairs(self, item: int, similarity: float, neighbour: float) -> np.ndarray:
        return np.append(super().pairs(item, similarity, neighbour), self.pair(item)).astype(np.float32)
