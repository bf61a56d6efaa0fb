"""Keys that have no effect under the other keys of the same config; a given one is refused when the config is read."""

from __future__ import annotations

from collections.abc import Iterator

from ensemble.config import Config
from ensemble.config_slates import unused_by_order
from models.index import unused as of_index
from models.neighbours import unused as of_neighbours
from models.ranking import unused as of_ranking
from models.retrieval import unused as of_retrieval
from models.retrieval.settled import possible_examples
from models.sources import unused as of_sources
from workflows.core.given import Unused
from workflows.features.checks import named_specs
from workflows.features.unused import unused_by_kind
from workflows.tables import unused as of_tables

__all__ = ["unused_keys"]


def unused_keys(config: Config) -> Iterator[Unused]:
    """Every key that has no effect, whether it is given or not."""
    yield from of_tables.unused_by_config(config.data, config.split)
    yield from unused_by_kind(config.features)
    yield from _retrieval(config)
    yield from of_neighbours.unused_by_config(config.neighbours)
    ordered, has_features = config.data.timestamp is not None, bool(config.features.items)
    yield from of_sources.unused_by_config(config.sources, ordered=ordered, has_features=has_features)
    yield from of_index.unused_by_config(config.index)
    has_numbers = any(spec.kind == "continuous" for _, _, spec in named_specs(config.features))
    yield from of_ranking.unused_by_config(config.ranking, has_numbers=has_numbers)
    yield from unused_by_order(config.chain.order)
    if "ensemble" not in config.chain.layouts:
        yield Unused("chain.onnx_steps", "chain.layouts lacks 'ensemble', the layout of steps", "drop it")
    if config.chain.device == "cpu":
        yield Unused("chain.queue_delay_us", "chain.device = 'cpu', where nobody waits for company", "drop it")
        why = "chain.device = 'cpu', where no embedding is copied to a GPU"
        yield Unused("chain.device_precision", why, "drop it, or set chain.device = 'gpu' or 'auto'")
    if config.sources.fallback != "popularity":
        why = f"sources.fallback = {config.sources.fallback!r} serves users of whom nothing is known"
        yield Unused("stream.popular_by", why, "drop one of the two")
    yield from _evaluate(config)


def _retrieval(config: Config) -> Iterator[Unused]:
    ordered, has_context = config.data.timestamp is not None, bool(config.features.context)
    examples = config.retrieval.examples
    kinds = possible_examples(examples, ordered=ordered, has_context=has_context)
    if examples != "auto":
        why = f"retrieval.examples = {examples!r}"
    elif ordered:
        why = "data.timestamp gives the events an order, so that retrieval.examples = 'auto' takes windows"
    else:
        without = "events, as there is features.context" if has_context else "sets or events"
        why = f"the events have no data.timestamp, so that retrieval.examples = 'auto' takes {without}"
    yield from of_retrieval.unused_by_config(config.retrieval, kinds, why)


def _evaluate(config: Config) -> Iterator[Unused]:
    baselines, section = config.evaluate.baselines, "evaluate.baselines"
    if not baselines.use:
        for key in ("names", "ease_up_to_items"):
            yield Unused(f"{section}.{key}", f"{section}.use = false", "set it to true, as evaluate --baselines does")
        if len(config.evaluate.knn_neighbours) == 1:
            for key in ("budget_s", "tuning_users"):
                why = f"{section}.use = false and evaluate.knn_neighbours has one value, so that nothing is tuned"
                yield Unused(f"{section}.{key}", why, f"drop it, or set {section}.use = true")
    elif "ease" not in baselines.names:
        yield Unused(f"{section}.ease_up_to_items", f"{section}.names lacks 'ease'", "drop it")
    if config.data.source != "shop":
        why = "the best possible slate is known in the simulated shop alone"
        yield Unused("evaluate.num_truth_users", why, "drop it")
