"""Training loops to time: each goes over a number of steps and returns when the last one is done."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.training.examples import LABEL, NoPairs, random_group
from models.dataset.features import Events, Features, Shard
from models.ranking.fit import build, compile_step, prior_of, step_seed, tensors
from models.ranking.groups import Group, GroupSource, ImpressionGroups
from models.ranking.model import Ranker
from models.ranking.settled import RankerTraining
from models.retrieval import training
from models.retrieval.event_examples import EventExamples
from models.retrieval.settled import TowerTraining
from models.retrieval.towers import build_towers
from models.training.optimizer import Adam
from models.training.prefetch import prefetch
from models.training.team import Team
from workflows.core.errors import CascadeError
from workflows.features.schema import FeatureSchema

__all__ = ["Loop", "batches_of", "our_ranker", "our_towers", "ranker_step", "torch_ranker", "torch_towers"]

Loop = Callable[[int], None]
NO_PAIRS = np.zeros(0, np.float32)


class _Batches:
    """A source of given batches."""

    listwise = False

    def __init__(self, groups: list[Group]) -> None:
        self._groups = groups

    @property
    def num_rows(self) -> int:
        return sum(len(group.labels) for group in self._groups)

    def share(self, shard: Shard) -> _Batches:
        return self

    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Group]:
        yield from self._groups


def our_ranker(features: Features, events: Events, config: RankerTraining) -> dict[str, Loop]:
    """The DLRM over our loader, and over one batch that stays on the device."""
    source = ImpressionGroups(events, LABEL, features, NoPairs())
    model = Ranker(features.schema, config, NO_PAIRS, NO_PAIRS, NO_PAIRS)
    build(model, source, config)
    optimizer = Adam(model.trainable_variables, config.learning_rate, config.lazy_adam_from)
    step = compile_step(model, source, config, optimizer, Team(), prior_of(model, source, config, optimizer, Team()))
    cached = tensors(next(iter(source.batches(config.batch_size))))
    seeds, numbers = itertools.count(1), itertools.count()

    def loaded(steps: int) -> None:
        groups = (group for seed in seeds for group in source.batches(config.batch_size, seed=seed))
        full = (group for group in groups if len(group.labels) == config.batch_size)
        _finish(step(*tensors(group), step_seed(0, next(numbers))) for group in prefetch(itertools.islice(full, steps)))

    def repeated(steps: int) -> None:
        _finish(step(*cached, step_seed(0, next(numbers))) for _ in range(steps))

    return {"cascade": loaded, "cascade, one batch": repeated}


def batches_of(schema: FeatureSchema, batch_size: int, count: int, rng: np.random.Generator) -> GroupSource:
    """A source of random batches that are in memory."""
    return _Batches([random_group(schema, batch_size, rng) for _ in range(count)])


def ranker_step(schema: FeatureSchema, config: RankerTraining, rng: np.random.Generator) -> Loop:
    """The DLRM over a few random batches, without a loader: the step alone, with other rows at every turn."""
    source = batches_of(schema, config.batch_size, 4, rng)
    model = Ranker(schema, config, NO_PAIRS, NO_PAIRS, NO_PAIRS)
    build(model, source, config)
    optimizer = Adam(model.trainable_variables, config.learning_rate, config.lazy_adam_from)
    step = compile_step(model, source, config, optimizer, Team(), prior_of(model, source, config, optimizer, Team()))
    numbers = itertools.count()
    batches = itertools.cycle([tensors(group) for group in source.batches(config.batch_size)])
    return lambda steps: _finish(step(*next(batches), step_seed(0, next(numbers))) for _ in range(steps))


def our_towers(features: Features, events: Events, config: TowerTraining) -> dict[str, Loop]:
    """The two towers with in-batch negatives, over our loader and over one batch."""
    towers = build_towers(features.schema, config)
    popularity = np.ones(features.num_items, np.float32)
    optimizer = Adam(towers.variables, config.learning_rate, config.lazy_adam_from)
    examples = EventExamples(events, features, config)
    step = training.compile_step(towers, examples, popularity, optimizer, Team())
    seeds = itertools.count(1)

    def inputs() -> Iterator[tuple[Any, ...]]:
        for seed in seeds:
            for number, given in enumerate(training.step_inputs(examples, seed=seed, shard=Shard())):
                yield *given, np.array([seed, number], np.int32)

    import tensorflow as tf

    cached = tf.nest.map_structure(tf.convert_to_tensor, next(inputs()))
    return {
        "cascade": lambda steps: _finish(step(*given) for given in prefetch(itertools.islice(inputs(), steps))),
        "cascade, one batch": lambda steps: _finish(step(*cached) for _ in range(steps)),
    }


def torch_ranker(features: Features, events: Events, config: RankerTraining) -> dict[str, Loop]:
    """The same DLRM in PyTorch."""
    from benchmarks.training.twins import TorchRanker

    return _torch_loops(TorchRanker(features.schema, config), features, events, config.batch_size, config.learning_rate)


def torch_towers(features: Features, events: Events, config: TowerTraining) -> dict[str, Loop]:
    """The same towers in PyTorch."""
    import torch

    from benchmarks.training.twins import TorchTowers

    log_share = torch.full((features.num_items,), -float(np.log(features.num_items)))
    model = TorchTowers(features.schema, config, log_share)
    return _torch_loops(model, features, events, config.batch_size, config.learning_rate)


def _torch_loops(
    model: Any, features: Features, events: Events, batch_size: int, learning_rate: float
) -> dict[str, Loop]:
    """Every column joined in memory, rows drawn by a permutation: the fastest plain loader."""
    import torch

    from benchmarks.training.twins import torch_step

    columns = events.columns
    joined = features.event_inputs(columns) | features.item_inputs(columns["item_row"])
    joined |= {"label": columns[LABEL], "item_row": columns["item_row"].astype(np.int64)}
    table = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in joined.items()}
    step = torch_step(model, learning_rate)

    def drawn() -> Iterator[dict[str, Any]]:
        while True:
            order = torch.randperm(len(columns["user_row"]))
            for rows in order.split(batch_size)[: len(order) // batch_size]:
                yield {name: values[rows] for name, values in table.items()}

    def loop(threads: int) -> Loop:
        def run(steps: int) -> None:
            torch.set_num_threads(threads)
            _finish(step(batch) for batch in itertools.islice(drawn(), steps))

        return run

    # Beside other work its threads wait for each other: the better of one and all is the baseline.
    return {f"PyTorch, {n} thread{'s' * (n > 1)}": loop(n) for n in sorted({1, torch.get_num_threads()})}


def _finish(losses: Iterator[Any]) -> None:
    """Run every step; reading the last loss waits for it."""
    (last,) = collections.deque(losses, maxlen=1)
    if not np.isfinite(float(last)):
        raise CascadeError(f"the benchmark's training diverged: the last loss is {float(last)}; report it")
