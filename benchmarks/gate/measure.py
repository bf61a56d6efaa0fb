"""`python -m benchmarks gate`: simulated candidates through the function that decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.gate.simulate import evidence
from benchmarks.result import Benchmark, Cell, Table, command_line, judge
from ensemble.evaluation.gate_config import GateConfig
from ensemble.evaluation.queries import load_queries
from models.dataset.features import load_state
from models.metrics.ranking import per_user
from operations.gate.candidate import recorded_config, slates_of
from operations.gate.decide import decide
from workflows.core import console
from workflows.core.run import Run

__all__ = ["measure_gate"]

CASES = {
    "the same model": (0.0, "HOLD", 0.95),
    "+3% NDCG": (0.03, "RELEASE", 0.80),
    "-3% NDCG": (-0.03, "REJECT", 0.95),
}
SUMMARY = """Candidates through the very function that decides, without training: the NDCG@10 of each user is drawn from
a real report; some users draw theirs anew, so many that the difference per user spreads as between two trainings that
differ in the seed alone; and hits are added or lost until the mean has changed by 3%. The probabilities of both are
right on the mean and differ by noise, and there are eight slices. How often the verdict is right depends on how many
users were measured: with fewer, the gate says HOLD and not something wrong."""


def measure_gate(run: Run, sizes: Sequence[int], num_seeds: int) -> Benchmark:
    """Decide on many simulated candidates.

    Args:
        run: whose report the per-user NDCG is taken from.
        sizes: users that both are measured for; the targets are of the last.
        num_seeds: candidates of each kind and size.
    """
    limits = GateConfig()
    ndcg = _ndcg(run, limits.cutoff)
    rows: list[list[Cell]] = []
    right: dict[tuple[int, str], float] = {}
    with console.progress("gate", len(sizes) * len(CASES) * num_seeds, "candidates") as bar:
        for size in sizes:
            for name, (gain, wanted, _) in CASES.items():
                found: Counter[str] = Counter()
                for seed in range(num_seeds):
                    found[decide(evidence(ndcg, size, gain, seed), limits).verdict] += 1
                    bar.advance(bar.task_ids[0])
                right[size, name] = found[wanted] / num_seeds
                rows.append([size, name, *(found[verdict] for verdict in ("RELEASE", "HOLD", "REJECT"))])
    options = {"users": ",".join(map(str, sizes)), "seeds": num_seeds}
    return Benchmark(
        name="gate",
        title="What the gate says of candidates that are better, equal or worse",
        summary=SUMMARY,
        command=command_line("gate", options),
        settings=options,
        figures=[Table("", ["users", "candidate", "RELEASE", "HOLD", "REJECT"], rows)],
        targets=[
            judge(f"{wanted} of {name}, share, {sizes[-1]:,} users", right[sizes[-1], name], ">=", share)
            for name, (_, wanted, share) in CASES.items()
        ],
    )


def _ndcg(run: Run, k: int) -> NDArray[np.float64]:
    """Of every test user of a run."""
    report = run.require("report")
    queries = load_queries(run, recorded_config(report), load_state(run, "eval"))
    ids = [np.load(run.folder("data") / "ids" / f"{side}.npy", allow_pickle=False) for side in ("users", "items")]
    slates, _ = slates_of(report, queries, *ids)
    return per_user(slates[:, :k], queries.indptr, queries.rows, [k])[f"ndcg@{k}"]
