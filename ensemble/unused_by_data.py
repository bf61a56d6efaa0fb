"""Keys that have no effect on the data of a run: a given one is refused once the data is known, before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ensemble.config import Config
from workflows.core.given import Unused, refuse_unused
from workflows.core.run import Run
from workflows.tables.info import DataInfo

__all__ = ["refuse_after_data", "refuse_after_features"]

SECTIONS = ("retrieval", "neighbours", "sources", "index", "ranking")


def refuse_after_data(run: Run, config: Config) -> None:
    """Refuse keys of [split] and [features] that the tables leave without effect, and a utility without a value.

    Args:
        run: its data stage has finished.
        config: of the run.

    Raises:
        ConfigError: names the key, and why it has no effect.
        DataError: the utility has no finite value for an item.
    """
    from workflows.features.unused import unused_by_lists
    from workflows.tables.unused import unused_by_valid

    folder = run.folder("data")
    if DataInfo.load(folder).valid_given:
        refuse_unused(config.given, unused_by_valid(config.split))
    refuse_unused(config.given, unused_by_lists(config.features, folder))
    if utility := config.chain.order.utility:
        _check_utility(utility, config, folder)


def _check_utility(utility: str, config: Config, data: Path) -> None:
    from ensemble.export.worth import worth_of
    from models.ranking.tasks import resolve_tasks
    from runtime.ranker.spec import TaskSpec

    label = config.ranking.label or next(iter(config.data.labels))
    tasks = [TaskSpec(task.name, task.parent) for task in resolve_tasks(config.ranking, label)]
    worth_of(utility, tasks, data / "items.parquet")


def refuse_after_features(run: Run, config: Config, sections: Sequence[str] = SECTIONS) -> None:
    """Refuse keys of sections of models that have no effect on the data; nothing is read where none is given.

    Args:
        run: where its features stage has not finished, nothing is refused: the stage that follows says so.
        config: of the run.
        sections: some of SECTIONS.

    Raises:
        ConfigError: names the key, and why it has no effect; or a kind of examples, or a task, that the data does not
            allow.
    """
    if not (run.folder("features") / "schema.json").is_file():
        return
    for section in sections:
        if config.given.under(section):
            refuse_unused(config.given, UNUSED[section](run, config))


def _retrieval(run: Run, config: Config) -> Iterator[Unused]:
    from models.dataset.features import load_events, load_features, positive_label
    from models.retrieval.settled import log_facts
    from models.retrieval.unused import unused_on_log

    features = load_features(run)
    label = positive_label(features.schema, config.retrieval.label)
    train, valid, both = (
        load_events(run, *splits).select(positives_of=label, known_items_only=True)
        for splits in (("train",), ("valid",), ("train", "valid"))
    )
    facts = log_facts(run, features, train=train, valid=valid, both=both, can_validate=_can_validate(run, label))
    yield from unused_on_log(config.retrieval, facts)


def _neighbours(run: Run, config: Config) -> Iterator[Unused]:
    from models.dataset.features import load_features, positive_label
    from models.neighbours.unused import unused_without_users

    if not _can_validate(run, positive_label(load_features(run).schema, "")):
        yield from unused_without_users()


def _sources(run: Run, config: Config) -> Iterator[Unused]:
    from models.dataset.features import load_features, load_state, positive_label
    from models.sources.unused import unused_without_cold_items, unused_without_users

    if not _can_validate(run, positive_label(load_features(run).schema, "")):
        yield from unused_without_users()
    if (load_state(run, "serve").popularity > config.sources.content.max_events).all():
        yield from unused_without_cold_items(config.sources)


def _index(run: Run, config: Config) -> Iterator[Unused]:
    from models.dataset.features import load_features
    from models.index.unused import unused_on_catalogue

    yield from unused_on_catalogue(config.index, load_features(run).num_items)


def _ranking(run: Run, config: Config) -> Iterator[Unused]:
    from models.dataset.features import load_events, load_features, positive_label
    from models.ranking.rules import check_tasks, count_labels, why_sampled
    from models.ranking.tasks import resolve_tasks
    from models.ranking.unused import unused_on_log

    features = load_features(run)
    label = positive_label(features.schema, config.ranking.label)
    counts = count_labels(load_events(run, "train"), label, features.num_users)
    of_kinds = DataInfo.load(run.folder("data")).of_kinds
    reason = why_sampled(counts, label, config.ranking, of_kinds=of_kinds)
    if config.ranking.tasks:
        check_tasks(load_events(run, "train"), resolve_tasks(config.ranking, label), why_sampled=reason)
    has_valid = len(load_events(run, "valid")) > 0
    yield from unused_on_log(config.ranking, label=label, sampled=bool(reason), has_valid=has_valid)


def _can_validate(run: Run, label: str) -> bool:
    """Whether a positive of the valid split is of an item of the catalogue that is new to its user."""
    from models.dataset.features import load_events, load_state
    from models.dataset.new_positives import is_new

    valid = load_events(run, "valid").select(positives_of=label, known_items_only=True)
    return bool(is_new(valid.columns, load_state(run, "train")).any())


UNUSED: dict[str, Callable[[Run, Config], Iterator[Unused]]] = {
    "retrieval": _retrieval,
    "neighbours": _neighbours,
    "sources": _sources,
    "index": _index,
    "ranking": _ranking,
}
