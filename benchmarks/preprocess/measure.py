"""`python -m benchmarks preprocess`: every way in turn, several rounds, outputs compared."""

from __future__ import annotations

import importlib.util
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.preprocess.baselines import BASELINES
from benchmarks.preprocess.wide import CATEGORICAL, CONTINUOUS, write_wide
from benchmarks.result import Benchmark, Cell, Table, Target, command_line, judge
from workflows.core import console
from workflows.core.run import Run
from workflows.features.schema import FeatureSchema
from workflows.features.stage import prepare_features

__all__ = ["measure_preprocess", "over_pandas", "same_output"]

OURS, SAME_WORK = "cascade, the whole stage", "cascade, the same work"
MODULES = {"polars": "polars"}
CLOSE = 1e-4
BOUND = "NVTabular runs its graph once a statistic on one thread, and what it fitted is saved and compiled besides."
BOUND_STAGE = "It writes five columns more an event, saves and checks everything that it fitted, and hashes every file."
SUMMARY = """One table of {num_rows:,} events with 12 categorical columns (10 to 100,000 values, half of them
strings) and 4 continuous ones, 3% null. The same work is: these 16 columns read from Parquet, vocabularies and
statistics fitted, encoded, and written as Parquet with the same compression (stock NVTabular: its default). In
that time Cascade also saves the fitted NVTabular workflow and its lookup tables; pandas keeps nothing but the
output. Cascade and Polars use all cores, pandas and NVTabular one. The whole stage does more than any baseline: it
verifies the checksums of what it reads, writes rows, instants, labels and histories of the events too, encodes
users and items, checks the lookup tables against NVTabular on random rows and hashes every file. Each round
runs every way once in one process; figures are medians of the rounds after the first, ratios those within a
round; the seconds of the first stand beside them: the whole stage comes first and pays there for importing
NVTabular, which brings TensorFlow. The same output means: every code equal, every number within 0.0001."""


def measure_preprocess(out: Path, num_rows: int, rounds: int) -> Benchmark:
    """Time the features stage and its baselines on one wide table.

    Args:
        out: the run directory; the table and what is made of it go to a folder of their own in it.
        num_rows: of the table.
        rounds: how often each way runs, in turn; one more comes first and stands apart.

    Returns:
        The result, with a sentence for each baseline that is not installed.
    """
    run = Run(out / "preprocess")
    features = write_wide(run, num_rows)
    source = run.folder("data") / "train" / "part_00000.parquet"
    missing = [way for way, module in MODULES.items() if importlib.util.find_spec(module) is None]
    ways = [OURS, *(way for way in BASELINES if way not in missing)]
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    outputs = {way: run.root / f"{way.replace(',', '').replace(' ', '_')}.parquet" for way in ways}
    outputs[OURS] = run.folder("features") / "train"
    for _ in range(rounds + 1):
        for way in ways:
            started_at = time.perf_counter()
            if way == OURS:
                prepare_features(run, features, force=True)
            else:
                BASELINES[way](source, outputs[way])
            took = time.perf_counter() - started_at
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
    schema, columns = path.parent / "schema.json", [*CATEGORICAL, *CONTINUOUS]
    features = FeatureSchema.load(schema).features if schema.is_file() else []  # the stage has names of its own
    names = {feature.column: feature.name for feature in features}
    tables = [pq.read_table(part, columns=[names.get(column, column) for column in columns]) for part in parts]
    return pa.concat_tables(tables).rename_columns(columns)


def _result(
    num_rows: int, rounds: int, seconds: dict[str, list[float]], same: dict[str, bool], missing: list[str]
) -> Benchmark:
    medians = {way: statistics.median(taken[1:]) for way, taken in seconds.items()}
    ratios = {way: over_pandas(seconds, way) for way in seconds}
    rows: list[list[Cell]] = [
        [
            way,
            round(median, 3),
            round(num_rows / median),
            round(ratios[way], 3),
            round(seconds[way][0], 3),
            "yes" if same[way] else "no",
        ]
        for way, median in medians.items()
    ]
    return Benchmark(
        name="preprocess",
        title="Preprocessing",
        summary=SUMMARY.format(num_rows=num_rows),
        command=command_line("preprocess", {"num_rows": num_rows, "rounds": rounds}),
        settings={"rows": num_rows, "rounds": rounds},
        figures=[
            Table(
                "Features of one table",
                ["way", "seconds", "rows/s", "pandas' seconds / its", "first round, s", "same output"],
                rows,
            )
        ],
        targets=[
            _target("rows/s of the same work over plain pandas, same output", SAME_WORK, ratios, same, BOUND),
            _target("rows/s of the whole stage over plain pandas, same output", OURS, ratios, same, BOUND_STAGE),
        ],
        notes=[f"{way} is not installed and was left out; it comes with the extra `benchmark`." for way in missing],
    )


def over_pandas(seconds: dict[str, list[float]], way: str) -> float:
    """The median of the rounds' ratios: a round's ways share what else the machine did meanwhile, medians do not."""
    rounds = zip(seconds["pandas"][1:], seconds[way][1:], strict=True)
    return statistics.median(pandas / taken for pandas, taken in rounds)


def _target(name: str, way: str, ratios: dict[str, float], same: dict[str, bool], bound: str) -> Target:
    ratio = ratios[way] if same["pandas"] and same[way] else None
    return judge(name, ratio, ">=", 1.0, "" if ratio is None or ratio >= 1 else bound)
