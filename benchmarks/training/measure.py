"""`python -m benchmarks training`: loops in turn, several rounds, and the step's cost by vocabulary."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.result import Benchmark, Cell, Plot, Series, Table, Target, command_line, judge
from benchmarks.training import loops
from benchmarks.training.examples import feature_schema, random_features, write_events
from models.dataset.features import Features
from models.ranking.settled import RankerTraining
from models.retrieval.config import RetrievalConfig
from models.retrieval.settled import LogFacts, TowerTraining, settled
from workflows.core import console

__all__ = ["Sizes", "measure_training", "over"]

SEED = 1
ONE_BATCH = "cascade, one batch"
Rates = dict[str, list[float]]  # loop -> examples/s in each counted round
RULES = {"Adam": 0, "lazy Adam": 1}  # name -> lazy_adam_from
SUMMARY = """Training of the DLRM (batches of 4,096 impressions) and of the two towers (batches of 2,048,
in-batch negatives) on random encoded events with 12 categorical and 4 continuous features and a history of 20,
default sizes. "One batch" repeats one batch that is in place already: what is lost to it is the loader's.
PyTorch is the same network, loss and dropout, with fused Adam and all columns joined in memory, on one thread
and on all; the faster is the baseline. Every loop runs in each round; figures are medians of the rounds, ratios
those within a round. The second table is a step of the DLRM alone at different numbers of item ids."""


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured.

    Attributes:
        num_rows: events in memory.
        num_items: ids in the comparison with PyTorch.
        steps: of each loop in a round.
        rounds: counted ones; one more comes first.
        vocabularies: numbers of ids of the second table, ascending.
        vocabulary_steps: timed steps at each of them.
    """

    num_rows: int = 300_000
    num_items: int = 10_000
    steps: int = 40
    rounds: int = 5
    vocabularies: tuple[int, ...] = (100_000, 1_000_000, 10_000_000)
    vocabulary_steps: int = 8


def measure_training(
    out: Path, sizes: Sizes, ranking: RankerTraining | None = None, retrieval: RetrievalConfig | None = None
) -> Benchmark:
    """Time the loops.

    Args:
        out: the run directory; random rows are kept in a folder of their own in it while this runs.
        sizes: how much.
        ranking: size of the DLRM; when absent, the default with plain embeddings as its twin has them.
        retrieval: size of the towers; the default when absent. They learn from events with in-batch negatives.

    Returns:
        The result, with a sentence where PyTorch is not installed.
    """
    ranking = ranking or RankerTraining(embedding_spread=0.0)
    has_torch = importlib.util.find_spec("torch") is not None
    rng = np.random.default_rng(SEED)
    schema = feature_schema(sizes.num_items)
    features = random_features(schema, rng)
    events = write_events(schema, out / "training", sizes.num_rows, rng)
    training = _of_events(retrieval or RetrievalConfig(), features, sizes.num_rows)
    try:
        ranker, towers = loops.our_ranker(features, events, ranking), loops.our_towers(features, events, training)
        if has_torch:
            ranker |= loops.torch_ranker(features, events, ranking)
            towers |= loops.torch_towers(features, events, training)
    finally:
        shutil.rmtree(out / "training")
    rates = {
        "DLRM": _rates("DLRM", ranker, ranking.batch_size, sizes),
        "two towers": _rates("two towers", towers, training.batch_size, sizes),
    }
    del ranker, towers, features, events
    growth = {n: _step_ms(n, ranking, sizes.vocabulary_steps) for n in sizes.vocabularies}
    return _result(sizes, rates, growth, has_torch)


def _of_events(config: RetrievalConfig, features: Features, num_rows: int) -> TowerTraining:
    events = msgspec.structs.replace(config.events, negatives="in_batch")
    facts = LogFacts(
        num_users=features.num_users,
        num_items=features.num_items,
        num_positives=num_rows,
        ordered=False,
        in_memory=True,
    )
    return settled(msgspec.structs.replace(config, examples="events", events=events), facts)


def _rates(name: str, ways: Mapping[str, loops.Loop], batch_size: int, sizes: Sizes) -> Rates:
    """Examples/s of every loop in each counted round."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(sizes.rounds + 1):
        for way, loop in ways.items():
            started_at = time.perf_counter()
            loop(sizes.steps)
            rate = sizes.steps * batch_size / (time.perf_counter() - started_at)
            if number:
                found[way].append(rate)
                console.say(f"training: {name}, {way}: {rate:,.0f} examples/s")
    return found


def over(rates: Rates, way: str, others: Sequence[str]) -> float:
    """The median of the rounds' ratios to the fastest of the others: loops of a round share the machine's noise."""
    best = [max(found) for found in zip(*(rates[other] for other in others), strict=True)]
    return float(statistics.median(rate / other for rate, other in zip(rates[way], best, strict=True)))


def _step_ms(num_items: int, config: RankerTraining, steps: int) -> dict[str, float]:
    """Median milliseconds of a step under each rule."""
    found = {}
    for rule, lazy_from in RULES.items():
        chosen = msgspec.structs.replace(config, lazy_adam_from=lazy_from)
        loop = loops.ranker_step(feature_schema(num_items), chosen, np.random.default_rng(SEED))
        loop(2)
        taken = []
        for _ in range(steps):
            started_at = time.perf_counter()
            loop(1)
            taken.append(1000 * (time.perf_counter() - started_at))
        found[rule] = statistics.median(taken)
        console.say(f"training: {num_items:,} ids, {rule}: {found[rule]:.1f} ms a step")
        del loop
        gc.collect()
    return found


def _result(sizes: Sizes, rates: dict[str, Rates], growth: dict[int, dict[str, float]], has_torch: bool) -> Benchmark:
    first, last = growth[sizes.vocabularies[0]], growth[sizes.vocabularies[-1]]
    rows: list[list[Cell]] = [
        [model, way, round(statistics.median(found[way])), round(over(found, way, [ONE_BATCH]), 3)]
        for model, found in rates.items()
        for way in found
    ]
    targets = [target for model, found in rates.items() for target in _targets(model, found)]
    targets.append(
        judge(
            f"lazy Adam's step at {sizes.vocabularies[-1]:,} ids over the one at {sizes.vocabularies[0]:,}",
            last["lazy Adam"] / first["lazy Adam"],
            "<=",
            2.0,
        )
    )
    ids = [float(n) for n in growth]
    curves = [Series(rule, list(ids), [growth[n][rule] for n in growth]) for rule in RULES]
    options = msgspec.structs.asdict(sizes)
    flags = [f"--vocabulary {n}" for n in options.pop("vocabularies")]
    return Benchmark(
        name="training",
        title="Training",
        summary=SUMMARY,
        command=command_line("training", options, flags),
        settings=options,
        figures=[
            Table("Examples a second", ["model", "loop", "examples/s", "over our step on one batch"], rows),
            Table(
                "A step of the DLRM by the number of item ids",
                ["ids", *(f"{rule}, ms" for rule in RULES)],
                [[n, *(round(found[rule], 1) for rule in RULES)] for n, found in growth.items()],
            ),
        ],
        plots=[Plot("vocabulary", "A step of the DLRM", "lines", "item ids", "ms", curves, "xy")],
        targets=targets,
        notes=[] if has_torch else ["PyTorch is not installed and was left out; it comes with the extra `benchmark`."],
    )


def _targets(model: str, rates: Rates) -> Sequence[Target]:
    twins = [way for way in rates if way.startswith("PyTorch")]
    twin = over(rates, "cascade", twins) if twins else None
    own = over(rates, "cascade", [ONE_BATCH])
    return [
        judge(f"{model}: examples/s over the same step on one batch", own, ">=", 0.8),
        judge(f"{model}: examples/s over the PyTorch twin", twin, ">=", 1.0),
    ]
