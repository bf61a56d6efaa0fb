"""The train-retrieval stage: features -> towers, item embeddings, the ONNX query tower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from models.dataset.features import Features, load_events, load_features, load_state, positive_label
from models.dataset.new_positives import nothing_new
from models.retrieval.config import RetrievalConfig
from models.retrieval.meta import RetrievalMeta
from models.training.refit import epochs_to_best
from models.training.team import Team, run_stage_together
from workflows.core import console, device
from workflows.core.artefacts import Manifest, fingerprint
from workflows.core.errors import DataError
from workflows.core.origins import origins
from workflows.core.plain import plain
from workflows.core.quiet import quiet
from workflows.core.run import Run

if TYPE_CHECKING:
    from models.retrieval.settled import TowerTraining
    from models.retrieval.towers import Towers

__all__ = ["train_retrieval"]

STAGE = "retrieval"
TRAIN, REFIT = "train", "refit"
AFTER = ("data", "features")
PARITY_ROWS = 257
# Times and running numbers of names; the item embeddings of both moments say what was learned.
VOLATILE = ("history.json", "refit.json", "*.onnx", "*_tower/*")


def train_retrieval(run: Run, config: RetrievalConfig, force: bool = False) -> Manifest:
    """Train the two-tower model and write everything that retrieval needs, as of two moments.

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
    quiet()
    import tensorflow as tf

    chosen = device.choose(config.device, "tensorflow")
    device.announce("train-retrieval", chosen)
    mark = _mark(run, config)
    team.connect(chosen.kind, mark)  # before Merlin is imported: that starts TensorFlow, and it is too late then

    from models.onnx.export import full_float32
    from models.retrieval.checkpoint import Checkpoint
    from models.retrieval.rows import refitting_rows, training_rows
    from models.retrieval.settled import log_facts, settled
    from models.retrieval.towers import build_towers
    from models.retrieval.training import train
    from models.retrieval.validation import validation_set

    features, state = load_features(run), load_state(run, "train")
    label = positive_label(features.schema, config.label)
    positives, valid, both = (
        load_events(run, *splits).select(positives_of=label, known_items_only=True)
        for splits in (("train",), ("valid",), ("train", "valid"))
    )
    if len(positives) < team.size:
        raise DataError(
            f"the training split has {len(positives) or 'no'} positive event (label {label or 'none'!r}), expected at "
            f"least {team.size}; check data.labels"
        )
    validation = validation_set(features, valid, state, config.validation_users, config.seed)
    facts = log_facts(run, features, train=positives, valid=valid, both=both, can_validate=len(validation) > 0)
    training = settled(config, facts)
    if not len(validation):
        console.say(
            f"retrieval: {nothing_new(run, 'valid', label)}, so no epoch can be told from another: "
            f"{training.max_epochs} are run, and the last one is kept"
        )
    scratch = run.scratch(STAGE)
    with tf.device("/GPU:0" if chosen.kind == "gpu" else "/CPU:0"):
        tf.keras.utils.set_random_seed(training.seed)
        towers = build_towers(features.schema, training)
        rows = training_rows(positives, features, training)
        history = train(towers, rows, np.asarray(state.popularity), validation, Checkpoint(scratch, mark), mark, team)
        refit, differences = [], []
        if folder is not None:
            with full_float32():
                differences.append(_write_retriever(folder / TRAIN, towers, features, training))
        num_epochs = epochs_to_best(history)
        if training.refit_share and len(valid):
            rows = refitting_rows(both, features, training, num_epochs)
            console.say(
                f"retrieval: the best was epoch {num_epochs}; {rows.config.max_epochs} over train and valid follow"
            )
            popularity = np.asarray(load_state(run, "eval").popularity)
            refit = train(towers, rows, popularity, None, Checkpoint(scratch / REFIT, mark), mark, team)
        if folder is None:
            return {}
        with full_float32():
            differences.append(_write_retriever(folder, towers, features, training))
        with plain(folder) as target:
            towers.query.save(target / "query_tower", include_optimizer=False)
            towers.item.save(target / "item_tower", include_optimizer=False)
    for name, records in (("history.json", history), ("refit.json", refit)):
        (folder / name).write_bytes(msgspec.json.format(msgspec.json.encode(records), indent=1))
    return {
        "epochs": len(history),
        "refit_epochs": len(refit),
        "rows": training.rows,
        "training_rows": len(positives),
        "onnx_difference": max(differences),
    }


def _write_retriever(folder: Path, towers: Towers, features: Features, training: TowerTraining) -> float:
    """Write embeddings, the ONNX query tower and meta.json; returns the ONNX tower's difference."""
    from models.onnx.export import check_parity, export_onnx, feature_widths, random_inputs
    from models.retrieval.training import embed_items

    folder.mkdir(exist_ok=True)
    np.save(folder / "item_embeddings.npy", embed_items(towers, features))

    def query(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"query": towers.query({f.name: inputs[f.name] for f in towers.query_features})}

    path = folder / "query_tower.onnx"
    export_onnx(query, feature_widths(towers.query_features), path)
    difference = check_parity(path, query, random_inputs(towers.query_features, PARITY_ROWS))
    names = tuple(feature.name for feature in towers.query_features)
    RetrievalMeta(embedding_dim=training.embedding_dim, temperature=training.temperature, query_inputs=names).save(
        folder
    )
    return difference


def _mark(run: Run, config: RetrievalConfig) -> str:
    return fingerprint({"config": msgspec.to_builtins(config), "after": origins(run.root, AFTER)})
