"""What a training row is, decided from the data. Imports TensorFlow."""

from __future__ import annotations

import msgspec

from models.data import Events, Features
from models.refit import refitting
from models.retrieval.config import RetrievalConfig
from models.retrieval.event_rows import EventRows
from models.retrieval.objective import takes_all_negatives
from models.retrieval.sets import SetRows
from models.retrieval.windows import WindowRows
from workflows.core.errors import ConfigError
from workflows.features.schema import ITEM_ID

__all__ = ["refitting_rows", "settled", "training_rows"]

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
    """The config with "auto" rows decided, and what follows from the kind of rows in the places where events have it.

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
        windows, cells = config.windows, num_positives * features.num_items
        affordable = windows.max_epochs
        if takes_all_negatives(config, features.num_items):
            affordable = max(windows.min_epochs, windows.max_cells // max(cells, 1))
        return msgspec.structs.replace(
            config,
            rows=rows,
            learning_rate=windows.learning_rate,
            max_epochs=min(config.max_epochs, windows.max_epochs, affordable),
            patience=windows.patience,
        )
    if rows == "events":
        return msgspec.structs.replace(config, rows=rows)
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
