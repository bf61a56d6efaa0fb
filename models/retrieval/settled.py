"""Resolve [retrieval] on a log: the kind of examples, and every number of their training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from models.retrieval.config import ContrastConfig, ExampleKind, Negatives, RetrievalConfig, TowerConfig
from workflows.core.errors import ConfigError
from workflows.core.run import Run
from workflows.features.schema import ITEM_ID, USER_ID
from workflows.tables.info import DataInfo

if TYPE_CHECKING:
    from models.dataset.features import Events, Features

__all__ = ["MAX_EPOCHS", "LogFacts", "TowerTraining", "check_examples", "log_facts", "possible_examples", "settled"]

# "auto" epochs of each kind, and those of all but windows where nothing can end training early: their bound is one that
# early stopping is expected to undercut. Windows run all of theirs, over which their learning rate falls to 0.
MAX_EPOCHS: dict[ExampleKind, int] = {"events": 60, "windows": 12, "sets": 60}
UNVALIDATED_EPOCHS = 10
# "auto": the largest batch of each kind, which a small log does not fill (`models.retrieval.event_examples`); and ids
# hidden where features can take their place.
LARGEST_BATCH: dict[ExampleKind, int] = {"events": 2048, "windows": 2048, "sets": 512}
ID_DROPOUT = 0.1


class LogFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of the data that decide.

    Attributes:
        num_users, num_items: of the run.
        num_positives: training examples that are targets, an epoch.
        ordered: whether the events have timestamps.
        in_memory: whether the training examples fit in memory.
        context: names of the context features.
        item_features, user_features: names of those beside the id.
        num_valid: positives of the valid split.
        can_validate: whether one of them is new to its user.
    """

    num_users: int
    num_items: int
    num_positives: int
    ordered: bool
    in_memory: bool
    context: tuple[str, ...] = ()
    item_features: tuple[str, ...] = ()
    user_features: tuple[str, ...] = ()
    num_valid: int = 1
    can_validate: bool = True


class TowerTraining(TowerConfig, frozen=True, kw_only=True):
    """The training of the towers with nothing left open: what the loop, the towers and the losses read.

    Attributes:
        examples: the kind of examples.
        batch_size: examples a step; of windows targets, of sets users.
        small_log_batches: whether a small log takes fewer, so that an epoch has enough steps.
        learning_rate, max_epochs, patience: of the kind of examples.
        negatives, num_uniform_negatives, logq: what an example is held against.
        id_dropout, history_dropout: shares that are hidden in training.
        num_blocks, num_heads, attention_dropout: of the attention over windows; no other examples have any.
    """

    examples: ExampleKind
    batch_size: int
    small_log_batches: bool = False
    learning_rate: float
    max_epochs: int
    patience: int
    negatives: Negatives
    num_uniform_negatives: int = 0
    logq: bool = False
    id_dropout: float
    history_dropout: float = 0.0
    num_blocks: int = 0
    num_heads: int = 0
    attention_dropout: float = 0.0


def log_facts(
    run: Run, features: Features, *, train: Events, valid: Events, both: Events, can_validate: bool
) -> LogFacts:
    """The facts of a run.

    Args:
        run: its features stage has finished.
        features: of the run.
        train: positives of the train split.
        valid: of the valid split.
        both: of both together.
        can_validate: whether one of the valid ones is new to its user.
    """
    schema = features.schema
    return LogFacts(
        num_users=features.num_users,
        num_items=features.num_items,
        num_positives=len(train),
        ordered=DataInfo.load(run.folder("data")).has_timestamp,
        in_memory=both.fits_memory,
        context=tuple(feature.name for feature in schema.side("context")),
        item_features=tuple(feature.name for feature in schema.side("item") if feature.name != ITEM_ID),
        user_features=tuple(feature.name for feature in schema.side("user") if feature.name != USER_ID),
        num_valid=len(valid),
        can_validate=can_validate,
    )


def check_examples(examples: ExampleKind | Literal["auto"], *, ordered: bool, context: Sequence[str]) -> None:
    """Refuse a kind of examples that the events cannot be.

    Args:
        examples: as given.
        ordered: whether the events have timestamps.
        context: names of the context features.

    Raises:
        ConfigError: sets are asked for, but there are features of the context, which belong to single events; or
            windows are, but there is no order.
    """
    if examples == "sets" and context:
        raise ConfigError(
            f"retrieval.examples is 'sets', one example a user, but features.context has {', '.join(context)}, which "
            f"differ between the events of a user; use 'events', or leave them out"
        )
    if examples == "windows" and not ordered:
        raise ConfigError(
            "retrieval.examples is 'windows', but the events have no timestamps, so that histories have no order; set "
            "data.timestamp, or use 'events' or 'sets'"
        )


def possible_examples(
    examples: ExampleKind | Literal["auto"], *, ordered: bool, has_context: bool
) -> tuple[ExampleKind, ...]:
    """The kinds of examples that a config can come to before the size of the data is known.

    Args:
        examples: as given.
        ordered: whether the events have timestamps.
        has_context: whether there are features of the context.
    """
    if examples != "auto":
        return (examples,)
    if ordered:
        return ("windows",)
    return ("events",) if has_context else ("sets", "events")


def settled(config: RetrievalConfig, facts: LogFacts) -> TowerTraining:
    """Decide every "auto".

    Args:
        config: as given.
        facts: of the log.

    Raises:
        ConfigError: the events cannot be the examples that are asked for (`check_examples`).
    """
    check_examples(config.examples, ordered=facts.ordered, context=facts.context)
    kinds = possible_examples(config.examples, ordered=facts.ordered, has_context=bool(facts.context))
    is_small = facts.in_memory and facts.num_users * facts.num_items <= config.sets_up_to_cells
    examples = kinds[0] if len(kinds) == 1 else "sets" if is_small else "events"
    if examples == "windows":
        return _windows(config, facts)
    return _sets(config, facts) if examples == "sets" else _events(config, facts)


def _windows(config: RetrievalConfig, facts: LogFacts) -> TowerTraining:
    own = config.windows
    batch_size = _batch_size("windows", own.batch_size)
    wanted = MAX_EPOCHS["windows"] if own.max_epochs == "auto" else own.max_epochs
    candidates = {"in_batch": batch_size, "mixed": batch_size + own.num_uniform_negatives, "all": facts.num_items}

    def affordable(num_candidates: int) -> int:
        cells = max(facts.num_positives, 1) * num_candidates
        return min(wanted, max(own.min_epochs, own.max_cells // cells))

    are_cheap = facts.num_items <= candidates["mixed"] or affordable(facts.num_items) >= wanted // 2
    negatives = _negatives(own, facts.num_items, are_cheap=are_cheap)
    return TowerTraining(
        **_shared(config),
        examples="windows",
        batch_size=batch_size,
        small_log_batches=own.batch_size == "auto",
        learning_rate=own.learning_rate,
        max_epochs=affordable(candidates[negatives]) if own.max_epochs == "auto" else wanted,
        patience=own.patience,
        negatives=negatives,
        num_uniform_negatives=own.num_uniform_negatives,
        logq=own.logq,
        id_dropout=own.id_dropout,
        history_dropout=own.history_dropout,
        num_blocks=own.num_blocks,
        num_heads=own.num_heads,
        attention_dropout=own.dropout,
    )


def _sets(config: RetrievalConfig, facts: LogFacts) -> TowerTraining:
    own = config.sets
    affordable = max(1, own.max_cells // (facts.num_users * facts.num_items))
    max_epochs = min(_auto_epochs("sets", facts), affordable) if own.max_epochs == "auto" else own.max_epochs
    id_dropout = (ID_DROPOUT if facts.item_features else 0.0) if own.id_dropout == "auto" else own.id_dropout
    return TowerTraining(
        **_shared(config),
        examples="sets",
        batch_size=_batch_size("sets", own.batch_size),
        small_log_batches=own.batch_size == "auto",
        learning_rate=own.learning_rate,
        max_epochs=max_epochs,
        patience=own.patience,
        negatives="all",
        id_dropout=id_dropout,
    )


def _events(config: RetrievalConfig, facts: LogFacts) -> TowerTraining:
    own = config.events
    return TowerTraining(
        **_shared(config),
        examples="events",
        batch_size=_batch_size("events", own.batch_size),
        small_log_batches=own.batch_size == "auto",
        learning_rate=own.learning_rate,
        max_epochs=_auto_epochs("events", facts) if own.max_epochs == "auto" else own.max_epochs,
        patience=own.patience,
        negatives=_negatives(own, facts.num_items),
        num_uniform_negatives=own.num_uniform_negatives,
        logq=own.logq,
        id_dropout=own.id_dropout,
        history_dropout=own.history_dropout,
    )


def _batch_size(examples: ExampleKind, given: int | Literal["auto"]) -> int:
    return LARGEST_BATCH[examples] if given == "auto" else given


def _shared(config: RetrievalConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in TowerConfig.__struct_fields__}


def _negatives(own: ContrastConfig, num_items: int, *, are_cheap: bool = True) -> Negatives:
    if own.negatives != "auto":
        return own.negatives
    return "all" if num_items <= own.all_negatives_up_to and are_cheap else "mixed"


def _auto_epochs(examples: Literal["events", "sets"], facts: LogFacts) -> int:
    return MAX_EPOCHS[examples] if facts.can_validate else min(MAX_EPOCHS[examples], UNVALIDATED_EPOCHS)
