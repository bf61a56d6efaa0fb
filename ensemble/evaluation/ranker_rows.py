"""Which rows the ranker is measured on, and what that says."""

from __future__ import annotations

from typing import Any

import msgspec

from ensemble.config import Config
from ensemble.evaluation.ranker import classification_quality
from workflows.core.run import Run

__all__ = ["ranker_quality"]

ROWS = {
    "impressions": "logged impressions of the test split",
    "sampled": "rows: positives of the test split and negatives drawn as in training; calibration is to that mix",
}


def ranker_quality(run: Run, config: Config) -> dict[str, Any]:
    """The "ranker" record of metrics.json.

    Args:
        run: its ranking stage has finished.
        config: of the run.
    """
    from models.ranking.scores import ranking_scores

    meta = msgspec.json.decode((run.folder("ranking") / "meta.json").read_bytes())
    labels, probabilities = ranking_scores(run, "test")
    quality = classification_quality(labels, probabilities)
    return {"label": meta["label"] or "interaction", "rows": ROWS.get(meta["training_rows"], "rows"), **quality}
