"""Labels and probabilities of the ranker on a split, for AUC, log loss and calibration."""

from __future__ import annotations

import json
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.data import Features, load_events, load_features, load_state
from models.onnx import session
from models.ranking.config import RankingConfig
from models.ranking.rows import GroupSource
from workflows.core.artefacts import read_manifest
from workflows.core.run import Run

__all__ = ["ranking_scores"]

BATCH_ROWS = 8192
# What was known when a split began.
MOMENT: dict[str, Literal["train", "eval"]] = {"valid": "train", "test": "eval"}


def ranking_scores(run: Run, split: Literal["valid", "test"]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Score a split with the exported plain graph.

    A ranker of impressions is scored on the split's impressions, one of sampled rows on the split's positives and
    negatives drawn as in its training, as of the moment before the split. (The valid split is what a sampled ranker was
    trained on: only its test figures are held out.)

    Returns:
        Labels float32 [R], 1 or 0, and probabilities float64 [R].

    Raises:
        ArtefactError: ranking, or a stage before it, has not finished.
        DataError: the split has no row that can be scored.
    """
    folder = run.require("ranking", check=False)
    meta = json.loads((folder / "meta.json").read_text())
    config = msgspec.convert(read_manifest(folder).config["ranking"], RankingConfig)
    source = _source(run, config, load_features(run), meta, split)
    graph = session(folder / "ranker.onnx", num_threads=0)
    wanted = {node.name for node in graph.get_inputs()}
    labels, logits = [], []
    for group in source.batches(BATCH_ROWS):
        width = group.labels.shape[1]
        feeds = {name: np.repeat(values, width, axis=0) for name, values in group.query.items()} | group.items
        feeds["pair"] = group.pair.reshape(group.labels.size, -1)
        found = graph.run(["logit"], {name: values for name, values in feeds.items() if name in wanted})[0]
        labels.append(group.labels[group.mask])
        logits.append(found.reshape(group.labels.shape)[group.mask])
    return np.concatenate(labels), 0.5 * (1.0 + np.tanh(0.5 * np.concatenate(logits).astype(np.float64)))


def _source(run: Run, config: RankingConfig, features: Features, meta: dict, split: str) -> GroupSource:
    from models.neighbours.merged import MergedRetriever
    from models.ranking.pairing import PairSource
    from models.ranking.rows import ImpressionGroups
    from models.ranking.sampling import sample_groups

    events, names = load_events(run, split), meta["pair_inputs"]  # type: ignore[arg-type]
    state = load_state(run, MOMENT[split])
    pairs = PairSource(names, MergedRetriever(run, MOMENT[split], state), state)
    if meta["training_rows"] == "impressions":
        return ImpressionGroups(events, meta["label"], features, pairs)
    return sample_groups(events.select(positives_of=meta["label"]), features, state, pairs, config)
