"""The train-retrieval stage: features -> towers, item embeddings, the ONNX query tower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from models.retrieval.config import RetrievalConfig
from models.training.team import Team, run_stage_together
from workflows.core import device
from workflows.core.artefacts import Manifest, fingerprint_of
from workflows.core.origins import origins
from workflows.core.quiet import quiet
from workflows.core.run import Run

__all__ = ["train_retrieval"]

STAGE = "retrieval"
TRAIN = "train"
AFTER = ("data", "features")
# Times and running numbers of names; the item embeddings of both snapshots say what was learned.
VOLATILE = ("history.json", "refit.json", "*.onnx", "*_tower/*")


def train_retrieval(run: Run, config: RetrievalConfig, force: bool = False) -> Manifest:
    """Train the two-tower model and write everything that retrieval needs, as of two snapshots.

    Early stopping on the valid split chooses the best epoch; its towers are kept for what is tuned or trained on that
    split. Those that are served then go on over both splits.

    Raises:
        ArtefactError: an earlier stage has not finished, or the exported query tower differs from the trained one.
        ConfigError: the label is not one of the data's, or the device is missing.
        DataError: the training split has no positive event, or fewer than there are processes.
    """
    return run_stage_together(
        run,
        STAGE,
        config={STAGE: config},
        after=AFTER,
        body=lambda folder, team: _train(run, config, folder, team),
        volatile=VOLATILE,
        force=force,
    )


def _train(run: Run, config: RetrievalConfig, folder: Path | None, team: Team) -> Mapping[str, Any]:
    """Load, fit, refit, write; without a folder, in a process that helps another one, nothing is written."""
    quiet()
    import tensorflow as tf

    chosen = device.choose(config.device, "tensorflow", "retrieval.device")
    device.announce("train-retrieval", chosen)
    fingerprint = _fingerprint(run, config)
    team.connect(chosen.kind, fingerprint)  # before Merlin is imported: that starts TensorFlow, and it is too late then

    from models.retrieval.task import load_task
    from models.retrieval.trainer import Trainer

    task = load_task(run, config, team.size)
    with tf.device("/GPU:0" if chosen.kind == "gpu" else "/CPU:0"):
        trainer = Trainer(task, run.scratch(STAGE), fingerprint, team)
        history = trainer.fit()
        differences = [trainer.write(folder / TRAIN)] if folder is not None else []
        refit = trainer.refit(history)
        if folder is None:
            return {}
        differences.append(trainer.write(folder))
        trainer.save_models(folder)
    for name, records in (("history.json", history), ("refit.json", refit)):
        (folder / name).write_bytes(msgspec.json.format(msgspec.json.encode(records), indent=1))
    return {
        "epochs": len(history),
        "refit_epochs": len(refit),
        "examples": task.training.examples,
        "num_examples": len(task.train),
        "batch_size": trainer.batch_size,
        "onnx_difference": max(differences),
    }


def _fingerprint(run: Run, config: RetrievalConfig) -> str:
    return fingerprint_of({"config": msgspec.to_builtins(config), "after": origins(run.root, AFTER)})
