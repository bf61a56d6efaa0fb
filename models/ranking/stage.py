"""The train-ranking stage: features and the trained retriever -> the DLRM ranker and its compiled forms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from models.dataset.features import load_events, load_features, load_state, positive_label
from models.ranking.config import RankingConfig
from models.ranking.meta import Calibration, RankingMeta
from models.ranking.rules import count_labels, trains_on_samples, wants_user_id
from models.training.refit import epochs_to_best, refitting
from models.training.team import Team, run_stage_together
from workflows.core import console, device
from workflows.core.artefacts import Manifest, fingerprint
from workflows.core.errors import DataError
from workflows.core.origins import origins
from workflows.core.quiet import quiet
from workflows.core.run import Run

__all__ = ["train_ranking"]

STAGE = "ranking"
REFIT = "refit"
AFTER = ("data", "features", "retrieval", "neighbours")
SCAN_ROWS = 100_000
LEAST_SPREAD = 1e-5


def train_ranking(run: Run, config: RankingConfig, force: bool = False) -> Manifest:
    """Train the ranker and write everything that serving and evaluation need.

    "impressions": the logged train events with their label; early stopping and calibration on the valid split.
    "sampled": the positives of the valid split, which neither retrieval source was fitted on, with drawn negatives; a
    fifth of the users is held out for early stopping and calibration. Where valid has no such positive, the latest one
    of each user in train; where there is nothing to hold out, all epochs are run and calibration is that of training.
    The item counts and item-item weights behind the pair features are those of the moment: the train split for the
    training rows, train and valid in what is exported.

    Raises:
        ArtefactError: an earlier stage has not finished, or an exported graph differs from the trained model.
        ConfigError: the label is not one of the data's, impressions are asked for without one, or the device is
            missing.
        DataError: there is no row to train on, or fewer than there are processes.
    """
    return run_stage_together(
        run,
        STAGE,
        config={STAGE: config},
        after=AFTER,
        body=lambda folder, team: _train(run, config, folder, team),
        force=force,
    )


def _train(run: Run, config: RankingConfig, folder: Path | None, team: Team) -> Mapping[str, Any]:
    quiet()
    import tensorflow as tf

    chosen = device.choose(config.device, "tensorflow")
    device.announce("train-ranking", chosen)
    mark = _mark(run, config)
    team.connect(chosen.kind, mark)  # before Merlin is imported: that starts TensorFlow, and it is too late then

    from models.metrics.classification import classification_metrics
    from models.onnx.export import full_float32
    from models.ranking.calibrate import fit_platt
    from models.ranking.export import export_ranker
    from models.ranking.fit import fit, predict, sigmoid
    from models.ranking.model import Ranker
    from models.ranking.pairing import choose_pairs
    from models.ranking.sources import training_sources
    from models.retrieval.checkpoint import Checkpoint

    features = load_features(run)
    label = positive_label(features.schema, config.label)
    counts = count_labels(load_events(run, "train"), label, features.num_users)
    sampled = trains_on_samples(counts, label, config)
    has_user_id = wants_user_id(counts, config, sampled=sampled)
    config = msgspec.structs.replace(config, use_user_id=has_user_id)
    names = choose_pairs(config, sampled=sampled)
    kind: Literal["sampled", "impressions"] = "sampled" if sampled else "impressions"
    positives = f"events with {label} = 1" if label else "events"
    trained_on = (
        f"{positives}, each beside {config.negatives_per_positive} drawn negatives"
        if sampled
        else (f"logged events, label {label}")
    )
    console.say(
        f"train-ranking: on {trained_on}; pair features {', '.join(names) or 'none'}, "
        f"{'with' if has_user_id else 'without'} a user id"
    )
    train, valid, both = training_sources(run, config, features, label, names, sampled)
    if valid is None:
        console.say(
            f"ranking: nothing is left to hold out and stop by: {config.max_epochs} epochs are run, and the last is "
            "kept; calibration is measured on the training rows"
        )
    if not train.share(team.shard).num_rows:
        raise DataError(f"ranking: {train.num_rows} rows to train on are too few for {team.size} process(es)")
    mean, scale = _moments(train, len(names))
    with tf.device("/GPU:0" if chosen.kind == "gpu" else "/CPU:0"):
        tf.keras.utils.set_random_seed(config.seed)
        skip = np.full(len(names), 1.0 / max(len(names), 1))
        model = Ranker(features.schema, config, mean, scale, skip)
        scratch = run.scratch(STAGE)
        history = fit(model, train.share(team.shard), valid, config, Checkpoint(scratch, mark), mark, team)
        if folder is not None:
            labels, logits = predict(model, train if valid is None else valid, config.batch_size).flat()
            factor, offset = fit_platt(labels, logits) if sampled else (1.0, 0.0)
        refit = []
        if config.refit_share and both is not None:
            more = refitting(config, epochs_to_best(history), seed=config.seed + config.max_epochs)
            console.say(f"ranking: {more.max_epochs} epochs over train and valid follow")
            refit = fit(model, both.share(team.shard), None, more, Checkpoint(scratch / REFIT, mark), mark, team)
        if folder is None:
            return {}
        model.rescale(factor, offset)
        with full_float32():
            shape = export_ranker(folder, model, features, config.max_stored_mb)
    _write_popularity(run, names, folder)
    calibration = classification_metrics(labels, sigmoid(factor * logits + offset))
    known = {name.replace("_", " "): value for name, value in calibration.items() if np.isfinite(value)}
    figures = ", ".join(f"{name} {value:.4f}" for name, value in known.items())
    measured_on: Literal["train", "valid"] = "train" if valid is None else "valid"
    console.say(f"ranking: on {measured_on}: {figures}")
    RankingMeta(
        factored=shape["factored"],
        item_parts=shape["item_parts"],
        query_inputs=tuple(feature.name for feature in model.query_features),
        item_inputs=tuple(feature.name for feature in features.schema.side("item")),
        pair_inputs=tuple(names),
        label=label,
        **{name: shape[name] for name in ("num_query_fields", "num_item_fields", "field_dim", "hidden")},
        training_rows=kind,
        calibration=Calibration(on=measured_on, factor=factor, offset=offset, **calibration),
    ).save(folder)
    _write_json(folder / "history.json", history)
    _write_json(folder / "refit.json", refit)
    measured = {name: shape[name] for name in ("factored", "factored_difference", "onnx_difference")}
    return {
        "epochs": len(history),
        "refit_epochs": len(refit),
        "training_rows": train.num_rows,
        "rows": kind,
        **measured,
        "calibration": calibration,
    }


def _moments(train: Any, num_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the pair features over the training rows, float32 [P] each; 1 of a constant."""
    if not num_pairs:
        return np.zeros(0, np.float32), np.ones(0, np.float32)
    group = next(iter(train.batches(SCAN_ROWS, seed=0)))
    values = group.pair[group.mask]
    mean, spread = values.mean(axis=0), values.std(axis=0)
    # Dividing a constant by next to nothing would leave the compiled ranker nothing but rounding.
    return mean, np.where(spread > LEAST_SPREAD * np.maximum(np.abs(mean), 1.0), spread, np.float32(1.0))


def _write_popularity(run: Run, names: list[str], folder: Path) -> None:
    """The counts behind the pair feature, as of just before the test split."""
    from runtime.ranker.pairs import POPULARITY, popularity_values

    if POPULARITY in names:
        np.save(folder / "item_popularity.npy", popularity_values(np.asarray(load_state(run, "eval").popularity)))


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))


def _mark(run: Run, config: RankingConfig) -> str:
    return fingerprint({"config": msgspec.to_builtins(config), "after": origins(run.root, AFTER)})
