"""Keys of [retrieval] that have no effect on the kind of examples, or with the negatives, that a config comes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.retrieval.config import ContrastConfig, ExampleKind, RetrievalConfig
from models.retrieval.settled import LogFacts, settled
from workflows.core.given import Unused

__all__ = ["unused_by_config", "unused_on_log"]

KINDS: tuple[ExampleKind, ...] = ("windows", "sets", "events")


def unused_by_config(config: RetrievalConfig, kinds: Sequence[ExampleKind], why: str) -> Iterator[Unused]:
    """What the config alone tells.

    Args:
        config: the section.
        kinds: the kinds of examples that it can come to (`models.retrieval.settled.possible_examples`).
        why: these and no others: the rest of "... has no effect, since".
    """
    if config.examples != "auto" or "sets" not in kinds:
        yield Unused("retrieval.sets_up_to_cells", why, "drop it")
    yield from _unused(config, kinds, why)


def _unused(config: RetrievalConfig, kinds: Sequence[ExampleKind], why: str) -> Iterator[Unused]:
    for other in KINDS:
        if other not in kinds:
            yield from _of_another_kind(config, other, kinds, why)
    for kind in kinds:
        if kind != "sets":
            yield from _contrast(f"retrieval.{kind}", getattr(config, kind))
    windows = config.windows
    if "windows" in kinds and windows.max_epochs != "auto" and windows.negatives != "auto":
        for key in ("max_cells", "min_epochs"):
            yield Unused(
                f"retrieval.windows.{key}",
                f"retrieval.windows.max_epochs = {windows.max_epochs} is not bounded",
                "drop one of them",
            )
    if "sets" in kinds and config.sets.max_epochs != "auto":
        why = f"retrieval.sets.max_epochs = {config.sets.max_epochs} is not bounded"
        yield Unused("retrieval.sets.max_cells", why, "drop one of them")


def unused_on_log(config: RetrievalConfig, facts: LogFacts) -> Iterator[Unused]:
    """What the data tells besides.

    Args:
        config: the section.
        facts: of the log.

    Raises:
        ConfigError: the kind of examples cannot be had from this log.
    """
    training = settled(config, facts)
    why = _why(config, facts, training.examples)
    yield from _unused(config, [training.examples], why)
    if config.examples != "auto" or facts.ordered or facts.context or not facts.in_memory:
        yield Unused("retrieval.sets_up_to_cells", why, "drop it")
    if training.examples != "sets":
        own = config.windows if training.examples == "windows" else config.events
        if own.negatives == "auto" and training.negatives == "all":
            section = f"retrieval.{training.examples}"
            why = f"{section}.negatives = 'auto' takes all {facts.num_items:,} items"
            yield Unused(f"{section}.num_uniform_negatives", why, f"set {section}.negatives = 'mixed', or drop it")
            yield Unused(f"{section}.logq", why, f"set {section}.negatives = 'mixed' or 'in_batch', or drop it")
    elif not (facts.context or facts.user_features or facts.item_features or config.use_user_id):
        yield Unused("retrieval.hidden", "towers of sets without any feature are the item table itself", "drop it")
    if not facts.can_validate:
        why = "no positive of the valid split is new to its user, so that nothing tells one epoch from another"
        for key in (f"{training.examples}.patience", "validation_cutoff", "validation_users"):
            yield Unused(f"retrieval.{key}", why, "drop it, or give the valid split such events")
    if not facts.num_valid and config.refit_share:
        why = "the valid split has no positive to go on with"
        yield Unused("retrieval.refit_share", why, "drop it, or set it to 0")


def _of_another_kind(
    config: RetrievalConfig, other: ExampleKind, kinds: Sequence[ExampleKind], why: str
) -> Iterator[Unused]:
    """Each key of the section of a kind of examples that is not trained on, and the key that is."""
    for key in getattr(config, other).__struct_fields__:
        same = [f"retrieval.{kind}.{key}" for kind in kinds if hasattr(getattr(config, kind), key)]
        yield Unused(f"retrieval.{other}.{key}", why, f"set {' or '.join(same)}" if same else "drop it")


def _contrast(section: str, own: ContrastConfig) -> Iterator[Unused]:
    if own.negatives == "auto":
        return
    why = f"{section}.negatives = {own.negatives!r}"
    yield Unused(f"{section}.all_negatives_up_to", why, f"drop it, or set {section}.negatives = 'auto'")
    if own.negatives != "mixed":
        yield Unused(f"{section}.num_uniform_negatives", why, f"drop it, or set {section}.negatives = 'mixed'")
    if own.negatives == "all":
        yield Unused(f"{section}.logq", why, f"drop it, or set {section}.negatives = 'mixed' or 'in_batch'")


def _why(config: RetrievalConfig, facts: LogFacts, examples: ExampleKind) -> str:
    if config.examples != "auto":
        return f"retrieval.examples = {config.examples!r}"
    if examples == "windows":
        return "the events have timestamps, so that retrieval.examples = 'auto' takes windows"
    if facts.context:
        return "there are features of the context, so that retrieval.examples = 'auto' takes events"
    cells = facts.num_users * facts.num_items
    if examples == "sets":
        return f"{cells:,} users times items without an order are few, so that retrieval.examples = 'auto' takes sets"
    large = "do not fit in memory" if not facts.in_memory else f"come to {cells:,} users times items"
    return f"the training examples {large}, so that retrieval.examples = 'auto' takes events"
