"""A gate whose advantage is known, and candidates for it."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.send_gate.check import Check
from models.send_gate.config import SendGateConfig
from models.send_gate.effects import Effects
from models.send_gate.encoding import Encoding
from models.send_gate.gate import SendGate

__all__ = ["GATE", "NOON", "advantage", "write_candidates"]

NOON = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
# P(open) is the sigmoid of the score, and a push is worth P(open) - 1/2.
GATE = SendGate(
    encoding=Encoding(["score"], {}, [], [], [0.0, 0.0], [1.0, 1.0]),
    heads={"open": [0.0, 1.0, 0.0], "opt_out": [0.0, 0.0, 0.0], "visit": [0.0, 0.0, 0.0]},
    effects=Effects([-0.5, 1.0, 0.0, 0.0], [[0.0] * 4] * 4, [1.0, 0.5, 0.0, 0.0], 0.0, 0.1),
    check=Check(0.0, 0.1, 0.0, 0.1, 1, 1),
    gap=1.0,
    num_decisions=1,
    num_users=1,
    config=SendGateConfig(),
)


def advantage(scores: np.ndarray) -> np.ndarray:
    """What the gate says of them."""
    return 1 / (1 + np.exp(-np.asarray(scores, float))) - 0.5


def write_candidates(path: Path, scores: list[float] | np.ndarray, first: int = 0, **columns: object) -> Path:
    """Write candidates push-`first` and on, one for each of users 1, 2, ..; `columns` are added or replaced."""
    size = len(scores)
    table = {
        "decision_id": [f"push-{first + row}" for row in range(size)],
        "user_id": np.arange(1, size + 1),
        "score": np.asarray(scores, float),
        **columns,
    }
    pq.write_table(pa.table(table), path)
    return path
