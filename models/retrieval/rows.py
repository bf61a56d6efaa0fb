"""What a training row is, decided from the data. Imports TensorFlow."""

from __future__ import annotations

import msgspec

from models.dataset.features import Events, Features
from models.retrieval.config import RetrievalConfig
from models.retrieval.event_rows import EventRows
from models.retrieval.sets import SetRows
from models.retrieval.windows import WindowRows
from models.training.refit import refitting
from workflows.core.errors import ConfigError
from workflows.features.schema import ITEM_ID

__all__ = ["UNVALIDATED_EPOCHS", "refitting_rows", "settled", "training_rows", "unvalidated"]

UNVALIDATED_EPOCHS = 10

KINDS = {"events": EventRows, "sets": SetRows, "windows": WindowRows}


def training_rows(positives: Events, features: Features, config: RetrievalConfig) -> EventRows:
    """Rows of the kind that a settled config names."""
    return KINDS[config.rows](positives, features, config)


def refitting_rows(positives: Events, features: Features, config: RetrievalConfig, num_epochs: int) -> EventRows:
    """Rows of the same kind, to go on with over more events: other draws, and a learning rate that falls from half.

    Args:
        positives: those of training and those that told its best epoch.
        features: of the run.
        config: settled.
        num_epochs: that the best epoch was the last of; `config.refit_share` of them follow.
    """
    config = refitting(config, num_epochs, seed=config.seed + 1)
    return KINDS[config.rows](positives, features, config, falls=True)


def settled(
    config: RetrievalConfig, features: Features, *, ordered: bool, in_memory: bool, num_positives: int
) -> RetrievalConfig:
    """The config with "auto" rows and negatives decided, and what follows from the kind of rows where events have it.

    Args:
        config: as given.
        features: of the run.
        ordered: whether the events have timestamps.
        in_memory: whether the training rows fit in memory.
        num_positives: of an epoch.

    Raises:
        ConfigError: sets are asked for, but there are features of the context, which belong to single events; or
            windows are, but there is no order.
    """
    context = [feature.name for feature in features.schema.side("context")]
    if config.rows == "sets" and context:
        raise ConfigError(
            f"retrieval.rows is 'sets', one row a user, but features.context has {', '.join(context)}, which differ "
            f"between the events of a user; use 'events', or leave them out"
        )
    if config.rows == "windows" and not ordered:
        raise ConfigError(
            "retrieval.rows is 'windows', but the events have no timestamps, so that histories have no order; set "
            "data.timestamp, or use 'events' or 'sets'"
        )
    rows, cells = config.rows, features.num_users * features.num_items
    if rows == "auto":
        are_few = cells <= config.sets.up_to_cells
        rows = "windows" if ordered else "sets" if are_few and in_memory and not context else "events"
    if rows == "windows":
        config = msgspec.structs.replace(
            config,
            learning_rate=config.windows.learning_rate,
            max_epochs=min(config.max_epochs, config.windows.max_epochs),
            patience=config.windows.patience,
        )
    if rows != "sets":
        return _with_negatives(msgspec.structs.replace(config, rows=rows), features.num_items, num_positives)
    only_ids = [feature.name for feature in features.schema.side("item")] == [ITEM_ID]
    return msgspec.structs.replace(
        config,
        rows=rows,
        negatives="all",
        batch_size=config.sets.batch_size,
        learning_rate=config.sets.learning_rate,
        max_epochs=min(config.max_epochs, config.sets.max_epochs, max(1, config.sets.max_cells // cells)),
        patience=config.sets.patience,
        history_dropout=0.0,  # the coins hide half of it
        id_dropout=0.0 if only_ids else config.id_dropout,
    )


def unvalidated(config: RetrievalConfig) -> RetrievalConfig:
    """A settled config where no user of the valid split can be asked, so that nothing ends training early.

    Windows run all of their epochs, over which their learning rate falls to 0; other rows a few, since their bound is
    one that early stopping is expected to undercut.
    """
    if config.rows == "windows":
        return config
    return msgspec.structs.replace(config, max_epochs=min(config.max_epochs, UNVALIDATED_EPOCHS))


def _with_negatives(config: RetrievalConfig, num_items: int, num_positives: int) -> RetrievalConfig:
    """With "auto" negatives decided, and as many epochs over windows as their logits allow."""
    windows, negatives = config.windows, config.negatives
    candidates = {"all": num_items, "mixed": config.batch_size + config.num_uniform_negatives}

    def affordable(num_candidates: int) -> int:
        if config.rows != "windows":
            return config.max_epochs
        cells = max(num_positives, 1) * num_candidates
        return min(config.max_epochs, max(windows.min_epochs, windows.max_cells // cells))

    if negatives == "auto":
        are_few = num_items <= config.all_negatives_up_to
        enough = min(config.max_epochs, windows.max_epochs // 2)
        are_cheap = num_items <= candidates["mixed"] or affordable(num_items) >= enough
        negatives = "all" if are_few and are_cheap else "mixed"
    num_epochs = affordable(candidates.get(negatives, config.batch_size))
    return msgspec.structs.replace(config, negatives=negatives, max_epochs=num_epochs)
