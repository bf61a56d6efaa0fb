"""The train-ranking stage: features and the trained retriever -> the DLRM ranker and its compiled forms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from models.dataset.features import load_state
from models.ranking.config import RankingConfig
from models.ranking.meta import Calibration, RankingMeta
from models.training.team import Team, run_stage_together
from workflows.core import console, device
from workflows.core.artefacts import MANIFEST_NAME, Manifest, fingerprint_of
from workflows.core.errors import DataError
from workflows.core.origins import origins
from workflows.core.quiet import quiet
from workflows.core.run import Run
from workflows.tables.info import DataInfo

if TYPE_CHECKING:
    from models.ranking.task import RankingTask
    from models.ranking.trainer import Trainer

__all__ = ["ranking_inputs", "train_ranking"]

STAGE = "ranking"
AFTER = ("data", "features", "retrieval", "neighbours")


def train_ranking(run: Run, config: RankingConfig, force: bool = False) -> Manifest:
    """Train the ranker and write everything that serving and evaluation need.

    "impressions": the logged train events with their label; early stopping and calibration on the valid split.
    "sampled": the positives of the valid split, which neither retrieval source was fitted on, with drawn negatives; a
    fifth of the users is held out for early stopping and calibration. Where valid has no such positive, the latest one
    of each user in train; where there is nothing to hold out, all epochs are run and calibration is that of training.
    The item counts and item-item weights behind the pair features are those of the snapshot: the train split for the
    training examples, train and valid in what is exported.

    Raises:
        ArtefactError: an earlier stage has not finished, or an exported graph differs from the trained model.
        ConfigError: the label is not one of the data's, impressions are asked for without one, or the device is
            missing.
        DataError: there is no example to train on, or fewer than there are processes.
    """
    return run_stage_together(
        run,
        STAGE,
        config={STAGE: config},
        after=AFTER,
        body=lambda folder, team: _train(run, config, folder, team),
        inputs=ranking_inputs(run, config),
        force=force,
    )


def _train(run: Run, config: RankingConfig, folder: Path | None, team: Team) -> Mapping[str, Any]:
    """Load, fit, refit, write; without a folder, in a process that helps another one, all but the last."""
    quiet()
    import tensorflow as tf

    chosen = device.choose(config.device, "tensorflow", "ranking.device")
    device.announce("train-ranking", chosen)
    fingerprint = _fingerprint(run, config)
    team.connect(chosen.kind, fingerprint)  # before Merlin is imported: that starts TensorFlow, and it is too late then

    from models.ranking.task import load_task
    from models.ranking.trainer import Trainer

    task = load_task(run, config, team.size)
    if not task.train.share(team.shard).num_rows:
        raise DataError(f"ranking: {task.train.num_rows} examples to train on are too few for {team.size} process(es)")
    with tf.device("/GPU:0" if chosen.kind == "gpu" else "/CPU:0"):
        trainer = Trainer(task, run.scratch(STAGE), fingerprint, team)
        history = trainer.fit()
        calibration = None if folder is None else trainer.calibrate()
        refit = trainer.refit(history)
        if folder is None or calibration is None:
            return {}
        shape = trainer.export(folder, calibration)
    for outcome in trainer.task_calibrations:
        _say_calibration(outcome.calibration, f"{outcome.task} ")
    if not trainer.task_calibrations:
        _say_calibration(calibration)
    _write_popularity(run, task.pair_inputs, folder)
    _meta(task, trainer, shape, calibration).save(folder)
    _write_json(folder / "history.json", history)
    _write_json(folder / "refit.json", refit)
    return {
        "epochs": len(history),
        "refit_epochs": len(refit),
        "num_examples": task.train.num_rows,
        "examples": task.training_examples,
        "batch_size": task.config.batch_size,
        **{name: shape[name] for name in ("factored", "factored_difference", "onnx_difference")},
        "calibration": calibration.figures,
    }


def _meta(task: RankingTask, trainer: Trainer, shape: Mapping[str, Any], calibration: Calibration) -> RankingMeta:
    shapes = ("factored", "item_parts", "num_query_fields", "num_item_fields", "field_dim", "hidden")
    return RankingMeta(
        **{name: shape[name] for name in shapes},
        query_inputs=tuple(feature.name for feature in trainer.model.query_features),
        item_inputs=tuple(feature.name for feature in task.features.schema.side("item")),
        pair_inputs=tuple(task.pair_inputs),
        label=task.label,
        training_examples=task.training_examples,
        calibration=calibration,
        shares=task.shares,
        tasks=trainer.task_calibrations,
    )


def _say_calibration(calibration: Calibration, task: str = "") -> None:
    known = {name.replace("_", " "): value for name, value in calibration.figures.items() if value is not None}
    figures = ", ".join(f"{name} {value:.4f}" for name, value in known.items())
    console.say(f"ranking: {task}on {calibration.on}: {figures}")


def _write_popularity(run: Run, names: list[str], folder: Path) -> None:
    """The counts behind the pair feature, as of just before the test split."""
    from runtime.ranker.pairs import POPULARITY, popularity_values

    if POPULARITY in names:
        np.save(folder / "item_popularity.npy", popularity_values(np.asarray(load_state(run, "eval").popularity)))


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))


def ranking_inputs(run: Run, config: RankingConfig) -> dict[str, Any]:
    """What decides the result and is in no file of an earlier stage; empty as in earlier releases where it can be."""
    data = run.folder("data")
    if config.training_examples != "auto" or not (data / MANIFEST_NAME).is_file() or not DataInfo.load(data).of_kinds:
        return {}
    return {"of_kinds": True}


def _fingerprint(run: Run, config: RankingConfig) -> str:
    parts = {"config": msgspec.to_builtins(config), "after": origins(run.root, AFTER)}
    return fingerprint_of({**parts, **ranking_inputs(run, config)})
