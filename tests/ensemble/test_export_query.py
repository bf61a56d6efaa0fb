"""The graph of the query step."""

from __future__ import annotations

import shutil

import numpy as np
import onnx

from ensemble.export.query import write_query
from runtime.onnx import OnnxGraph
from tests.ensemble.synthetic_models import query_tower, ranker_query
from workflows.features.schema import HISTORY, Feature


def test_the_query_graph_gives_what_its_two_parts_give(tmp_path):
    rng = np.random.default_rng(3)
    user = Feature("age_group", "user", "categorical", 9, 0, "age_group")
    number = Feature("spend", "user", "continuous", 0, 0, "spend")
    listed = Feature(HISTORY, "history", "categorical", 40, 5, "item_id")
    tower, ranker = tmp_path / "parts/query_tower.onnx", tmp_path / "parts/ranker_query.onnx"
    tower.parent.mkdir()
    query_tower(rng, [user, listed], 6, tower)
    num_fields = ranker_query(rng, [user, number, listed], ranker)
    for path in (tower, ranker):
        model = onnx.load(path)
        onnx.save_model(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=60)
    folder = tmp_path / "chain"
    folder.mkdir()
    write_query(tower, ranker, folder)
    tower_alone, ranker_alone = OnnxGraph(tower), OnnxGraph(ranker)
    shutil.move(tower.parent, tmp_path / "gone")
    inputs = {
        "age_group": rng.integers(0, 9, (11, 1)).astype(np.int32),
        "spend": rng.normal(size=(11, 1)).astype(np.float32),
        HISTORY: rng.integers(0, 40, (11, 5)).astype(np.int32),
    }
    got = OnnxGraph(folder / "query.onnx").run(inputs)
    parts = ranker_alone.run(inputs)
    assert list(got) == ["query", "ranker_fields", "ranker_hidden"]
    np.testing.assert_array_equal(got["query"], tower_alone.run(inputs)["query"])
    np.testing.assert_array_equal(got["ranker_fields"].reshape(11, num_fields, -1), parts["fields"])
    np.testing.assert_array_equal(got["ranker_hidden"], parts["hidden"])
    alone = [OnnxGraph(folder / "query.onnx").run_rows({n: v[i : i + 1] for n, v in inputs.items()}) for i in range(11)]
    for name, values in OnnxGraph(folder / "query.onnx").run_rows(inputs).items():
        np.testing.assert_array_equal(values, np.concatenate([one[name] for one in alone]))
