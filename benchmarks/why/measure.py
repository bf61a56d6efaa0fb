"""`python -m benchmarks why`: pairs of a user and an item, explained, beside brute force."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Benchmark, Cell, Table, command_line, judge
from benchmarks.why.reasons import Reasons
from operations.why.asking import Asking
from operations.why.deep import deep_ranks
from operations.why.explain import Explainer
from operations.why.nodes import Nodes, nodes_of
from operations.why.question import Question
from operations.why.trace import lost_at
from runtime.chain import Chain
from runtime.index.settings import EXACT, Settings
from runtime.step import RequestStep, load_array
from runtime.stream.live import without_live_state
from workflows.core import console
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["measure_why"]

# Scores nearer than this are a tie: two sums of the same terms in another order differ by less.
TIE = 1e-4
SUMMARY = """Pairs of a user and an item: half of the items at random, the others from the user's candidates and from
what the user has seen. `cascade why` says where each is lost and at which rank; brute force says the same by explicit
sums over the artefacts of the run, with no code of the chain. The index is searched exactly, so that only mistakes
differ. A pair whose scores tie with those that they are compared with, up to the rounding of a sum, is right either
way."""


def measure_why(run: Run, num_pairs: int, num_timed: int, seed: int) -> Benchmark:
    """Compare and time.

    Args:
        run: exported.
        num_pairs: that are compared.
        num_timed: whole answers, counterfactuals included, that are timed one at a time.
        seed: of the pairs.

    Raises:
        ArtefactError: the run has no export, or is older than its items.
    """
    with without_live_state():
        explainer = Explainer(run.root)
        folder = explainer.served.folder
        spec = replace(explainer.nodes.spec, index=Settings(EXACT))
        nodes = nodes_of(Chain(folder, spec), folder)
        if explainer.rules.unknown:
            raise ArtefactError(explainer.rules.unknown)
        eligible = np.ones(spec.num_items, bool)
        for condition in explainer.rules.conditions:
            eligible &= condition.holds
        reasons = Reasons(run, folder, spec, eligible)
        random = np.random.default_rng(seed)
        wrong, ties, found = 0, 0, Counter[str]()
        with console.progress("why", num_pairs, "pairs") as bar:
            while sum(found.values()) < num_pairs:
                user = int(random.integers(0, spec.num_users))
                rows = _items(nodes, folder, user, random)[: num_pairs - sum(found.values())]
                for row, expected in zip(rows.tolist(), reasons.of_user(user, rows), strict=True):
                    lost, rank = _explained(nodes, folder, user, row)
                    found[lost or "shown"] += 1
                    is_right = (lost, rank) == (expected.lost_at, expected.rank)
                    ties += not is_right and expected.margin < TIE
                    wrong += not is_right and expected.margin >= TIE
                bar.advance(bar.task_ids[0], len(rows))
    seconds = _timed(explainer, random, num_timed)
    return _result(num_pairs, num_timed, wrong, ties, found, seconds)


def _items(nodes: Nodes, folder: Path, user: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Two items at random, one of the candidates, one that the user has seen."""
    anything = random.integers(0, nodes.spec.num_items, 2)
    arrays = nodes.run(_question(nodes, folder, user, 0).parsed)
    candidates = arrays["candidates"][0]
    near = random.choice(candidates[candidates >= 0]) if (candidates >= 0).any() else anything[0]
    indptr = load_array(folder / "state/seen_indptr.npy")[user : user + 2].tolist()
    seen = load_array(folder / "state/seen_rows.npy")[indptr[0] : indptr[1]]
    rows: NDArray[np.int64] = np.unique([*anything, near, random.choice(seen) if len(seen) else anything[0]])
    return rows.astype(np.int64, copy=False)


def _question(nodes: Nodes, folder: Path, user: int, row: int) -> Question:
    ids = load_array(folder / "ids/users.npy")[user : user + 1, None]
    step = nodes.opened[0].step
    assert isinstance(step, RequestStep)
    return Question(row, step.parse({"user_id": ids.astype(object) if ids.dtype.kind == "S" else ids}))


def _explained(nodes: Nodes, folder: Path, user: int, row: int) -> tuple[str, int]:
    """Where the item is lost, and its rank among the candidates, 0 for none."""
    way = Asking(nodes, _question(nodes, folder, user, row)).way
    return lost_at(way, deep_ranks(way)), way.ordered.rank if way.ordered is not None else 0


def _timed(explainer: Explainer, random: np.random.Generator, count: int) -> list[float]:
    seconds = []
    nodes, folder = explainer.nodes, explainer.served.folder
    for _ in range(count):
        user, row = (int(random.integers(0, most)) for most in (nodes.spec.num_users, nodes.spec.num_items))
        started_at = time.perf_counter()
        explainer.answer(_question(nodes, folder, user, row), item=row, user=user)
        seconds.append(time.perf_counter() - started_at)
    return seconds


def _result(
    num_pairs: int, num_timed: int, wrong: int, ties: int, found: Counter[str], seconds: list[float]
) -> Benchmark:
    median, slow = (float(np.percentile(seconds, share)) for share in (50, 95))
    lines: list[list[Cell]] = [[name, count] for name, count in found.most_common()]
    return Benchmark(
        name="why",
        title="Why an item is in a slate, and why not",
        summary=SUMMARY,
        command=command_line("why", {"pairs": num_pairs, "timed": num_timed}),
        settings={"pairs": num_pairs, "timed": num_timed},
        figures=[
            Table("", ["lost at", "pairs"], lines),
            Table("", ["right", "right as a tie", "wrong"], [[num_pairs - wrong - ties, ties, wrong]]),
            Table("", ["a whole answer, median, s", "95th percentile, s"], [[median, slow]]),
        ],
        targets=[
            judge("pairs of which `why` says what brute force says", num_pairs - wrong, ">=", num_pairs),
            judge("a whole answer, median, s", median, "<=", 1.0),
        ],
    )
