"""`cascade benchmark preprocess`: every way in turn, several rounds, outputs compared."""

from __future__ import annotations

import importlib.util
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.benchmark.preprocess.peers import PEERS
from ensemble.benchmark.preprocess.wide import CATEGORICAL, CONTINUOUS, write_wide
from ensemble.benchmark.result import Benchmark, Cell, Table, command_line, judge
from workflows.core import console
from workflows.core.run import Run
from workflows.features.stage import prepare_features

__all__ = ["measure_preprocess", "same_output"]

OURS = "cascade"
MODULES = {"polars": "polars"}
CLOSE = 1e-4
BOUND = (
    "NVTabular's fit is one-threaded and walks its graph once a statistic; the stage also reads the table for each of "
    "fit and encoding that does not fit its memory budget, and writes and checks more than the peers do."
)
SUMMARY = """One table of {num_rows:,} events with 12 categorical columns (10 to 100,000 values, half of them strings)
and 4 continuous ones, 3% null: read from Parquet, vocabularies and moments fitted, encoded, written as Parquet. Cascade
is the whole features stage: besides the same columns it saves the NVTabular workflows, compiles them to lookup tables,
checks the two against each other, encodes users, items and histories and hashes every file. The peers do the transforms
alone. Each round runs every way once; figures are medians over the rounds. The same output means: every code equal,
every number within 0.0001."""


def measure_preprocess(out: Path, num_rows: int, rounds: int) -> Benchmark:
    """Time the features stage and its peers on one wide table.

    Args:
        out: the run directory; the table and what is made of it go to a folder of their own in it.
        num_rows: of the table.
        rounds: how often each way runs, in turn; one more comes first and is not counted.

    Returns:
        The result, with a sentence for each peer that is not installed.
    """
    run = Run(out / "preprocess")
    features = write_wide(run, num_rows)
    source = run.folder("data") / "train" / "part_00000.parquet"
    missing = [peer for peer, module in MODULES.items() if importlib.util.find_spec(module) is None]
    ways = [OURS, *(peer for peer in PEERS if peer not in missing)]
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    outputs = {way: run.root / f"{way.replace(' ', '_')}.parquet" for way in ways}
    outputs[OURS] = run.folder("features") / "train"
    for number in range(rounds + 1):
        for way in ways:
            started_at = time.perf_counter()
            if way == OURS:
                prepare_features(run, features, force=True)
            else:
                PEERS[way](source, outputs[way])
            took = time.perf_counter() - started_at
            if number:
                seconds[way].append(took)
            console.say(f"preprocess: {way}: {took:.2f} s")
    same = {way: same_output(outputs[OURS], outputs[way]) for way in ways}
    shutil.rmtree(run.root)
    return _result(num_rows, rounds, seconds, same, missing)


def same_output(ours: Path, theirs: Path) -> bool:
    """Codes exactly, numbers to float32's rounding."""
    left, right = _read(ours), _read(theirs)
    codes = all(np.array_equal(left[name].to_numpy(), right[name].to_numpy()) for name in CATEGORICAL)
    return codes and all(np.allclose(left[name].to_numpy(), right[name].to_numpy(), atol=CLOSE) for name in CONTINUOUS)


def _read(path: Path) -> pa.Table:
    parts = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    return pa.concat_tables([pq.read_table(part, columns=[*CATEGORICAL, *CONTINUOUS]) for part in parts])


def _result(
    num_rows: int, rounds: int, seconds: dict[str, list[float]], same: dict[str, bool], missing: list[str]
) -> Benchmark:
    medians = {way: statistics.median(taken) for way, taken in seconds.items()}
    rows: list[list[Cell]] = [
        [
            way,
            round(median, 3),
            round(num_rows / median),
            round(medians["pandas"] / median, 3),
            "yes" if same[way] else "no",
        ]
        for way, median in medians.items()
    ]
    ratio = medians["pandas"] / medians[OURS] if same["pandas"] else None
    note = "" if ratio is None or ratio >= 1 else BOUND
    return Benchmark(
        name="preprocess",
        title="Preprocessing",
        summary=SUMMARY.format(num_rows=num_rows),
        command=command_line("preprocess", {"num_rows": num_rows, "rounds": rounds}),
        settings={"rows": num_rows, "rounds": rounds},
        figures=[
            Table("Features of one table", ["way", "seconds", "rows/s", "pandas' seconds / its", "same output"], rows)
        ],
        targets=[judge("rows/s of the features stage over plain pandas, same output", ratio, ">=", 1.0, note)],
        notes=[f"{peer} is not installed and was left out; it comes with the extra `benchmark`." for peer in missing],
    )
