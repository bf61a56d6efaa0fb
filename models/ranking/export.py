"""Write a trained ranker: SavedModel, ONNX graphs, factored arrays, and check that all agree. Imports TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from models.dataset.features import Features
from models.onnx.export import check_parity, export_onnx, feature_widths, random_inputs, session
from models.ranking.config import RankingConfig
from models.ranking.factor import Factors, factor
from models.ranking.model import Ranker
from runtime.ranker.factored import load_weights, score
from runtime.ranker.spec import GATHERED, STORED
from workflows.core import console
from workflows.core.disk import save_npz
from workflows.core.plain import plain

__all__ = ["export_ranker"]

PARITY_QUERIES, PARITY_ITEMS, TOP = 32, 64, 10
RELATIVE_TOLERANCE = 1e-4
PAIR = "pair"
MIB = 2**20


def export_ranker(
    folder: Path, model: Ranker, features: Features, max_stored_mb: float = RankingConfig().max_stored_mb
) -> dict[str, Any]:
    """Write ranker/, ranker.onnx, ranker_query.onnx, top.npz, and the items' arrays or the tables to gather from.

    Args:
        folder: where to write.
        model: trained.
        features: the encoded items.
        max_stored_mb: see RankingConfig.

    Returns:
        The shape as meta.json describes it, and `factored`: whether the arrays give the model's logits and top items.

    Raises:
        ArtefactError: an ONNX graph differs from the TensorFlow model.
    """
    factors = factor(model)
    widths = feature_widths([*model.query_features, *model.item_features])
    if model.num_pairs:
        widths[PAIR] = (np.float32, model.num_pairs)

    def plain(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"logit": model(inputs)}

    _save(folder / "ranker", model, widths)
    inputs = _random(model, PARITY_QUERIES)
    tolerance = RELATIVE_TOLERANCE * max(1.0, float(np.abs(plain(_constants(inputs))["logit"]).max()))
    export_onnx(plain, widths, folder / "ranker.onnx")
    export_onnx(factors.query, feature_widths(model.query_features), folder / "ranker_query.onnx")
    _save_top(folder / "top.npz", factors)
    item_parts = _write_items(folder, factors, features, max_stored_mb)
    difference = check_parity(folder / "ranker.onnx", plain, inputs, tolerance)
    query = {feature.name: inputs[feature.name] for feature in model.query_features}
    check_parity(folder / "ranker_query.onnx", factors.query, query, tolerance)
    agrees, factored_difference = _compare(folder, model, features)
    if not agrees:
        console.say(f"ranking: the factored form differs by {factored_difference:.1e}; the plain graph will be served")
    return {
        "factored": agrees,
        "item_parts": item_parts,
        "num_query_fields": factors.num_query_fields,
        "num_item_fields": factors.num_item_fields,
        "field_dim": factors.field_dim,
        "hidden": factors.hidden,
        "onnx_difference": difference,
        "factored_difference": factored_difference,
    }


def _save(path: Path, model: Ranker, widths: dict[str, tuple[Any, int]]) -> None:
    specs = {name: tf.TensorSpec([None, width], tf.as_dtype(dtype), name) for name, (dtype, width) in widths.items()}

    @tf.function(input_signature=[specs], autograph=False)
    def serve(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"logit": model(inputs)}

    module = tf.Module()
    module.variables_of_model = model.variables
    module.serve = serve
    with plain(path.parent) as folder:
        tf.saved_model.save(module, str(folder / path.name), signatures=serve)


def _write_items(folder: Path, factors: Factors, features: Features, max_stored_mb: float) -> str:
    size_mb = factors.stored_bytes(features.num_items) / MIB
    if size_mb <= max_stored_mb:
        factors.write_stored(folder, features)
        return STORED
    factors.write_tables(folder)
    console.say(
        f"ranking: item parts are gathered from tables at request time; stored, they would take {size_mb:,.0f} MiB, "
        f"more than ranking.max_stored_mb = {max_stored_mb:g}"
    )
    return GATHERED


def _save_top(path: Path, factors: Factors) -> None:
    arrays = {"cross": factors.cross, "pair": factors.pair, "skip": factors.skip}
    for number, (kernel, bias) in enumerate(factors.layers, start=1):
        arrays |= {f"w{number}": kernel, f"b{number}": bias}
    save_npz(path, {name: np.asarray(values, np.float32) for name, values in arrays.items()})


def _compare(folder: Path, model: Ranker, features: Features) -> tuple[bool, float]:
    """What was written against the model on random queries and items: same logits, same top items."""
    random = np.random.default_rng(0)
    rows = random.integers(0, features.num_items, (PARITY_QUERIES, PARITY_ITEMS))
    query = random_inputs(model.query_features, PARITY_QUERIES)
    pair = _random_pairs(model, PARITY_QUERIES * PARITY_ITEMS)
    fields, hidden = session(folder / "ranker_query.onnx").run(["fields", "hidden"], query)
    weights = load_weights(folder, features.items)
    got = score(fields, hidden, rows, pair.reshape(*rows.shape, model.num_pairs), weights)
    inputs = {name: np.repeat(values, PARITY_ITEMS, axis=0) for name, values in query.items()}
    inputs |= features.item_inputs(rows.ravel())
    if model.num_pairs:
        inputs[PAIR] = pair
    expected = model(_constants(inputs)).numpy().reshape(got.shape)
    difference = float(np.abs(got - expected).max() / max(1.0, float(np.abs(expected).max())))
    first = [logits[..., 0] if model.tasks else logits for logits in (got, expected)]
    return difference < RELATIVE_TOLERANCE and _same_top(first[0], first[1]), difference


def _same_top(got: np.ndarray, expected: np.ndarray) -> bool:
    """Whether the model's own logits of the factored top items are its best ones, up to rounding."""
    chosen = np.take_along_axis(expected, np.argsort(-got, axis=1, kind="stable")[:, :TOP], axis=1)
    best = -np.sort(-expected, axis=1)[:, :TOP]
    return bool((best - chosen).max() <= 2 * RELATIVE_TOLERANCE * max(1.0, float(np.abs(expected).max())))


def _random(model: Ranker, num_rows: int) -> dict[str, np.ndarray]:
    inputs = random_inputs([*model.query_features, *model.item_features], num_rows)
    if model.num_pairs:
        inputs[PAIR] = _random_pairs(model, num_rows)
    return inputs


def _random_pairs(model: Ranker, num_rows: int) -> np.ndarray:
    """Pair features distributed as in training."""
    values = np.random.default_rng(1).standard_normal((num_rows, model.num_pairs)).astype(np.float32)
    scaled: np.ndarray = values * model.pair_scale.numpy() + model.pair_mean.numpy()
    return scaled


def _constants(inputs: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(values) for name, values in inputs.items()}
