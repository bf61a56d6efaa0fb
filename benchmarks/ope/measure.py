"""`python -m benchmarks ope`: how often intervals hold the truth, how far estimates are off, what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.ope.cells import ESTIMATORS, SETTINGS, Cell, measured
from benchmarks.ope.laboratory import open_laboratory
from benchmarks.result import Benchmark, Table, Target, command_line, judge
from benchmarks.result import Cell as Figure
from workflows.core import console

__all__ = ["measure_ope"]

SUMMARY = """Logs of the simulated shop, whose truth is known: slates of 5 out of 20 candidates, drawn by a softmax of
one ranker at temperature 1, and clicks that fall with the position. Another ranker, which is off in another way, is
evaluated at four temperatures, by the code of `cascade evaluate-policy`; its true value is the mean of 600,000 plays.
Clicks are independent, or crowded: an item takes clicks from those of its category further down. Users come again, so
that slates are not independent. Of the coldest policy these logs say nearly nothing: it is there to be refused.
`clipped` is cascade-DR whose weights count for 20 at most, and `dm` the fitted model alone; the product gives neither
an interval, and the table shows why."""
FEW = 50.0


def measure_ope(out: Path, num_logs: int) -> Benchmark:
    """Estimate `num_logs` logs of every setting; what was kept in `out`/ope by an earlier run is not done again."""
    opened = cache(lambda crowded: open_laboratory(crowded=crowded))
    cells = []
    with console.progress("ope", len(SETTINGS) * num_logs, "logs") as bar:
        for number, setting in enumerate(SETTINGS):
            cells.append(
                measured(
                    out / "ope",
                    setting,
                    lambda setting=setting: opened(setting.crowded),  # type: ignore[misc]
                    num_logs,
                    lambda: bar.advance(bar.task_ids[0]),
                )
            )
            bar.update(bar.task_ids[0], completed=(number + 1) * num_logs)
    options = {"logs": num_logs}
    return Benchmark(
        name="ope",
        title="What off-policy estimates say of policies whose value is known",
        summary=SUMMARY,
        command=command_line("ope", options),
        settings=options,
        figures=[
            Table(
                "Logs", ["clicks", "temperature", "slates", "truth", "effective, median", "refused"], [*_logs(cells)]
            ),
            Table("Coverage of 95% intervals, logs that are not refused", ["", *ESTIMATORS], [*_coverage(cells)]),
            Table("Root mean squared error, all logs", ["", *ESTIMATORS], [*_errors(cells)]),
        ],
        targets=_targets(cells),
    )


def _logs(cells: Sequence[Cell]) -> Iterator[list[Figure]]:
    for cell in cells:
        setting = cell.setting
        yield [
            _clicks(cell),
            setting.temperature,
            setting.size,
            round(cell.truth, 4),
            round(float(np.median(cell.ess))),
            round(float(cell.refused.mean()), 3),
        ]


def _coverage(cells: Sequence[Cell]) -> Iterator[list[Figure]]:
    for cell in cells:
        given = ~cell.refused
        if given.any():
            yield [_name(cell), *(round(cell.coverage(name, given), 3) for name in ESTIMATORS)]


def _errors(cells: Sequence[Cell]) -> Iterator[list[Figure]]:
    for cell in cells:
        yield [_name(cell), *(round(cell.rmse(name, np.ones(len(cell.ess), bool)), 4) for name in ESTIMATORS)]


def _targets(cells: Sequence[Cell]) -> list[Target]:
    warm = [cell for cell in cells if cell.setting.temperature != min(one.setting.temperature for one in cells)]
    covered = [cell.coverage("cascade_dr", ~cell.refused) for cell in warm if not cell.refused.all()]
    every = np.ones(len(cells[0].ess), bool)
    ratios = [cell.rmse("cascade_dr", every) / cell.rmse("snips", every) for cell in warm]
    ess, refused = (
        np.concatenate(values) for values in zip(*((cell.ess, cell.refused) for cell in cells), strict=True)
    )
    few = ess < FEW
    return [
        judge(
            "cascade_dr: coverage where a number is given, lowest of 6 settings", min(covered, default=None), ">=", 0.93
        ),
        judge(
            f"refused of the {int(few.sum()):,} logs with fewer than {FEW:g} effective slates, share",
            float(refused[few].mean()) if few.any() else None,
            ">=",
            0.95,
        ),
        judge("rmse of cascade_dr, a share of that of snips, highest of 6 settings", max(ratios), "<=", 0.8),
    ]


def _clicks(cell: Cell) -> str:
    return "crowded" if cell.setting.crowded else "independent"


def _name(cell: Cell) -> str:
    return f"{_clicks(cell)}, temperature {cell.setting.temperature:g}"
