"""`python -m benchmarks slate-rules`: the time of a core that a slate takes under each rule."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Benchmark, Cell, Table, command_line, judge
from benchmarks.slate_rules.chains import chain_times, copied, requests, served_times
from benchmarks.slate_rules.rules import EVERYTHING, rules_of, write_values
from ensemble.serving.repository import find_repository
from runtime.chain import Chain
from runtime.explore import sample
from runtime.order_spec import OrderSpec
from runtime.ranker.blas import one_thread
from runtime.request import join
from runtime.rerank import SlateRuler
from runtime.slate_spec import VECTORS_FILE, SlateSpec
from runtime.spec import POPULARITY, ChainSpec, encoded
from runtime.step import load_array
from runtime.steps.order import Order, utilities_of
from runtime.stream.live import without_live_state
from workflows.core import console
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["Settings", "World", "costs_of", "measure_slate_rules", "result_of"]

SIZE, TEMPERATURE = 20, 0.3
IN_CHAIN = ("mmr", "dpp", EVERYTHING)
TARGET_US, TARGET_GROWTH = 500.0, 0.10
BUSY = "More programs than cores ran on the machine, which makes every figure larger: compare them with each other."
SUMMARY = """Slates of {size} places of the candidates of users of an exported run, {num_candidates} a user, with the
logits of its ranker. The rules are as an operator may set them: two pins, at most two items of one of twenty brands
among ten places, a new item among five and two of the own brand, diversity at strength 1/3 by the vectors of the item
tower or by two columns of twenty values, brands in the shares of the user's history. *A slate*: the rules alone,
ordered or drawn by softmax, one user at a time and in batches; the time of a core, the median of the quickest round.
*The whole chain*: one user a request, by the clock, chains with and without rules in turn, in one process and through a
Triton each (layout fused, gRPC)."""


class Settings(NamedTuple):
    """How much is measured; see the options of the command."""

    users: int
    batch: int
    rounds: int


class World(NamedTuple):
    """What slates are made of.

    Attributes:
        rows: candidates int32 [U, C].
        utilities: float32 [U, C].
        history: int32 [U, L], codes of items that the users took.
        files: arrays of the items, by file.
    """

    rows: NDArray[np.int32]
    utilities: NDArray[np.float32]
    history: NDArray[np.int32]
    files: Mapping[str, NDArray]


def measure_slate_rules(run: Run, settings: Settings) -> Benchmark:
    """Measure on an exported run.

    Args:
        run: with the layout `fused`.
        settings: how much.

    Raises:
        ArtefactError: there is no such export, or it has fewer candidates than a slate has places.
    """
    started_at, load = time.perf_counter(), os.getloadavg()[0]
    folder = next(find_repository(run.root).glob("cascade/1/**/chain.json")).parent
    scratch_folder = tempfile.TemporaryDirectory(prefix="slate-rules-", dir=run.root)
    with one_thread, without_live_state(), scratch_folder as scratch:
        chain = copied(folder, Path(scratch) / "chain")
        values = write_values(chain, ChainSpec.load(chain).num_items)
        spec = replace(ChainSpec.load(chain), order=None, slate_size=SIZE)
        world = _candidates(chain, spec, values, settings.users)
        pinned = np.bincount(world.rows[world.rows >= 0]).argsort()[-2:]
        rules = rules_of(pinned)
        costs: list[list[Cell]] = []
        for name, each in rules.items():
            console.say(f"benchmark: {name}")
            costs.append([name, *costs_of(each, world, settings.batch, settings.rounds)])
        specs = {"none": spec}
        specs |= {name: replace(spec, order=OrderSpec(slates=rules[name])) for name in IN_CHAIN}
        times = chain_times(chain, specs, settings.users, settings.rounds)
        console.say("benchmark: through Triton")
        served = served_times(chain, specs, settings.users, settings.rounds)
    sizes = spec.num_items, spec.num_candidates, spec.embedding_dim
    return result_of(sizes, settings, (load, time.perf_counter() - started_at), costs, times, served)


def _candidates(folder: Path, spec: ChainSpec, values: Mapping[str, NDArray], num_users: int) -> World:
    """Candidates of the first users, with what orders them."""
    chain = Chain(folder, spec)
    order, reads = chain.nodes[-1].step, chain.plan.nodes[-1].reads
    assert isinstance(order, Order)
    found: list[tuple[NDArray, NDArray, NDArray]] = []
    for request in requests(folder, num_users):
        arrays: dict[str, NDArray] = {}
        chain.nodes[0].encode(arrays, join([chain.request_step.parse(request)]))
        for node in chain.nodes[1:-1]:
            node.run(arrays)
        rows, scores, path = (arrays[reads[name]] for name in ("candidates", order.key(spec), "path_code"))
        history = arrays[encoded(spec.history_feature)]
        found.append((rows, utilities_of(rows, scores, path == POPULARITY), history))
    rows, utilities, history = (np.concatenate(part) for part in zip(*found, strict=True))
    if rows.shape[1] <= SIZE:
        raise ArtefactError(f"the chain has {rows.shape[1]} candidates, and slates of {SIZE} places need more of them")
    return World(rows, utilities, history, {**values, VECTORS_FILE: load_array(folder / VECTORS_FILE)})


def costs_of(spec: SlateSpec, world: World, batch: int, rounds: int) -> list[float]:
    """Microseconds of a core a user: ordered alone and in a batch, drawn alone and in a batch."""
    ruler = SlateRuler(spec, world.files)

    def order(rows: NDArray, utilities: NDArray, history: NDArray) -> None:
        values = ruler.boosted(utilities, rows)
        if spec.is_stepwise:
            ruler.ordered(values, rows, np.full(len(rows), SIZE), history)

    def draw(rows: NDArray, utilities: NDArray, history: NDArray) -> None:
        values = ruler.boosted(utilities, rows)
        rules = ruler.rules(rows, np.full(len(rows), SIZE), history) if spec.is_stepwise else None
        sample(values, SIZE, TEMPERATURE, np.arange(len(rows)), rows, rules)

    return [_cost(make, world, size, rounds) for make in (order, draw) for size in (1, batch)]


def _cost(make: Callable[[NDArray, NDArray, NDArray], None], world: World, size: int, rounds: int) -> float:
    """The median of the quickest round: what else the machine runs takes caches and clock of this core, too."""
    medians = []
    for _ in range(rounds):
        took = []
        for start in range(0, len(world.rows) - size + 1, size):
            part = slice(start, start + size)
            before = time.thread_time()
            make(world.rows[part], world.utilities[part], world.history[part])
            took.append((time.thread_time() - before) / size)
        medians.append(float(np.median(took)))
    return min(medians) * 1e6


def result_of(
    sizes: tuple[int, int, int],
    settings: Settings,
    load_and_seconds: tuple[float, float],
    costs: list[list[Cell]],
    times: dict[str, float],
    served: dict[str, float],
) -> Benchmark:
    """The figures and what was promised.

    Args:
        sizes: items, candidates, dimensions.
        settings: how much was measured.
        load_and_seconds: of the machine before, and how long it took.
        costs: of each rule, its name and what `costs_of` gives.
        times: milliseconds of a request in one process, by rule; "none" among them.
        served: the same through Triton.
    """
    growth = {name: [each[name] / each["none"] - 1 for each in (times, served)] for name in times}
    lines: list[list[Cell]] = [[name, times[name], growth[name][0], served[name], growth[name][1]] for name in times]
    slowest = max(costs, key=lambda row: float(row[1] or 0))
    columns = [f"{made}, {how}, us a user" for made in ("ordered", "drawn") for how in ("alone", "in a batch")]
    chain_columns = ["in one process, p50, ms", "growth", "through Triton, p50, ms", "growth"]
    return Benchmark(
        name="slate_rules",
        title="What the rules of slates cost",
        summary=SUMMARY.format(size=SIZE, num_candidates=sizes[1]),
        command=command_line("slate-rules", settings._asdict()),
        settings={
            "items": sizes[0],
            "dimensions": sizes[2],
            **settings._asdict(),
            "load of the machine before": round(load_and_seconds[0], 1),
            "measuring, s": round(load_and_seconds[1]),
        },
        figures=[
            Table("A slate", ["rules", *columns], costs),
            Table("The whole chain, one user a request", ["rules", *chain_columns], lines),
        ],
        targets=[
            judge("costliest rule, ordered alone, us a user", _worst(slowest), "<=", TARGET_US, f"{slowest[0]}."),
            judge("p50 through Triton with mmr, growth", growth["mmr"][1], "<=", TARGET_GROWTH),
        ],
        notes=[BUSY] if load_and_seconds[0] > len(os.sched_getaffinity(0)) else [],
    )


def _worst(costs: list[Cell]) -> float:
    return float(costs[1] or 0)
