"""The towers' training: its events and settings, everything that is settled before they are built."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Events, Features, load_events, load_features, load_state, positive_label
from models.dataset.new_positives import nothing_new
from models.retrieval.config import RetrievalConfig
from models.retrieval.settled import TowerTraining, log_facts, settled
from models.retrieval.validation import ValidationSet, validation_set
from workflows.core import console
from workflows.core.errors import DataError
from workflows.core.run import Run

__all__ = ["RetrievalTask", "load_task"]


class RetrievalTask(msgspec.Struct, frozen=True):
    """A training.

    Attributes:
        training: what [retrieval] comes to on this log.
        features: of the run.
        train: positive events to learn from.
        valid: those that tell the best epoch.
        both: both together, to refit on.
        validation: users of valid with what is new to them; none: no epoch can be told from another.
        popularity, popularity_of_both: float32 [N], positive events of each item in train, and in train and valid.
    """

    training: TowerTraining
    features: Features
    train: Events
    valid: Events
    both: Events
    validation: ValidationSet
    popularity: NDArray[np.float32]
    popularity_of_both: NDArray[np.float32]


def load_task(run: Run, config: RetrievalConfig, num_processes: int) -> RetrievalTask:
    """Read the log and resolve what the config leaves open.

    Raises:
        ConfigError: the label is not one of the data's, or the kind of examples does not fit them.
        DataError: the training split has fewer positive events than there are processes.
    """
    features, state = load_features(run), load_state(run, "train")
    label = positive_label(features.schema, config.label)
    train, valid, both = (
        load_events(run, *splits).select(positives_of=label, known_items_only=True)
        for splits in (("train",), ("valid",), ("train", "valid"))
    )
    if len(train) < num_processes:
        raise DataError(
            f"the training split has {len(train) or 'no'} positive event (label {label or 'none'!r}), expected at "
            f"least {num_processes}; check data.labels"
        )
    validation = validation_set(features, valid, state, config.validation_users, config.seed)
    facts = log_facts(run, features, train=train, valid=valid, both=both, can_validate=len(validation) > 0)
    training = settled(config, facts)
    if not len(validation):
        console.say(
            f"retrieval: {nothing_new(run, 'valid', label)}, so no epoch can be told from another: "
            f"{training.max_epochs} are run, and the last one is kept"
        )
    popularity, of_both = (np.asarray(s.popularity) for s in (state, load_state(run, "eval")))
    return RetrievalTask(training, features, train, valid, both, validation, popularity, of_both)
