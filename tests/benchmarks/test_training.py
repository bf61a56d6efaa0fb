"""The training benchmark at a small size, and the PyTorch twins against our networks."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from workflows.core.quiet import quiet

quiet()

from benchmarks.training.examples import feature_schema, random_features, write_events  # noqa: E402
from benchmarks.training.measure import Sizes, measure_training, over  # noqa: E402
from models.ranking.config import RankingConfig  # noqa: E402
from models.retrieval.config import EventsConfig, RetrievalConfig  # noqa: E402
from tests.models.facts import training_of  # noqa: E402

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.mark.long
def test_every_loop_is_timed_and_every_target_judged(tmp_path: Path) -> None:
    ranking = RankingConfig(embedding_dim=4, bottom=(4,), top=(8,), batch_size=64, embedding_spread=0.0)
    retrieval = RetrievalConfig(embedding_dim=4, hidden=(8,), events=EventsConfig(batch_size=32))
    sizes = Sizes(num_rows=300, num_items=50, steps=2, rounds=1, vocabularies=(40,), vocabulary_steps=1)
    result = measure_training(tmp_path, sizes, ranking, retrieval)
    examples, growth = result.figures
    ways = {tuple(row[:2]) for row in examples.rows}
    assert ways >= {(model, f"cascade{kind}") for model in ("DLRM", "two towers") for kind in ("", ", one batch")}
    assert ((("DLRM", "PyTorch, 1 thread") in ways), ("two towers", "PyTorch, 1 thread") in ways) == (HAS_TORCH,) * 2
    assert all(row[2] > 0 for row in examples.rows)
    assert [row[0] for row in growth.rows] == [40]
    assert [target.value is None for target in result.targets] == [False, not HAS_TORCH, False, not HAS_TORCH, False]
    assert bool(result.notes) is not HAS_TORCH
    assert "--vocabulary 40" in result.command
    assert not list(tmp_path.iterdir())


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    rates = {"ours": [10.0, 2.0, 30.0], "a": [5.0, 1.0, 60.0], "b": [4.0, 8.0, 10.0]}
    assert over(rates, "ours", ["a"]) == 2.0
    assert over(rates, "ours", ["a", "b"]) == 0.5  # of 2, 1/4 and 1/2: the faster twin of each round


def test_rows_have_twelve_categories_and_four_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    schema = feature_schema(30)
    kinds = [feature.kind for feature in schema.features if not feature.length]
    assert (kinds.count("categorical"), kinds.count("continuous")) == (12, 4)
    features, events = random_features(schema, rng), write_events(schema, tmp_path, 100, rng)
    inputs = features.event_inputs(events.columns) | features.item_inputs(events.columns["item_row"])
    assert sorted(inputs) == sorted(feature.name for feature in schema.features)
    for feature in schema.features:
        assert inputs[feature.name].shape == (100, feature.length or 1)
        if feature.kind == "categorical":
            assert 0 < inputs[feature.name].min() <= inputs[feature.name].max() < feature.cardinality


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch, of the extra `benchmark`, is not installed")
def test_twins_have_as_many_weights_as_our_networks() -> None:
    import torch

    from benchmarks.training.loops import batches_of
    from benchmarks.training.twins import TorchRanker, TorchTowers
    from models.ranking.fit import build
    from models.ranking.model import Ranker
    from models.retrieval.towers import build_towers

    schema = feature_schema(30)
    none = np.zeros(0, np.float32)
    config = RankingConfig(embedding_spread=0.0)
    model = Ranker(schema, config, none, none, none)
    build(model, batches_of(schema, 8, 1, np.random.default_rng(0)), config)
    ours = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    theirs = sum(weights.numel() for weights in TorchRanker(schema, config).parameters())
    assert theirs == ours
    towers = build_towers(schema, training_of(RetrievalConfig()))
    ours = sum(int(np.prod(variable.shape)) for variable in towers.variables)
    twin = TorchTowers(schema, training_of(RetrievalConfig()), torch.zeros(30))
    assert sum(weights.numel() for weights in twin.parameters()) == ours
