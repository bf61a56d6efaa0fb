"""What a benchmark leaves behind: one JSON file with every figure, the targets and the machine."""

from __future__ import annotations

import datetime
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks.machine import Machine, this_machine
from workflows.core import console
from workflows.core.errors import ArtefactError

__all__ = [
    "Benchmark",
    "Cell",
    "Plot",
    "Series",
    "Table",
    "Target",
    "command_line",
    "judge",
    "keep",
    "load",
    "result_path",
    "say_targets",
]

FORMAT_VERSION = 1
COMPARISONS = {">=": operator.ge, "<=": operator.le}

Comparison = Literal[">=", "<="]
Cell = str | int | float | None


class Target(msgspec.Struct, frozen=True):
    """A figure that was promised.

    Attributes:
        name: the figure in words, with its unit.
        value: what was measured; null where it was not.
        target: the number to reach.
        met: whether `value comparison target` holds; false where nothing was measured.
        comparison: ">=" where more is better.
        note: what bounds a missed one, or what a reader must know.
    """

    name: str
    value: float | None
    target: float
    met: bool
    comparison: Comparison
    note: str = ""


class Table(msgspec.Struct, frozen=True):
    """Figures as a table; every row has one cell a column, and units are in the column names."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]


class Series(msgspec.Struct, frozen=True):
    """One line or one colour of bars; `x` are numbers (lines) or group names (bars)."""

    name: str
    x: list[str | float]
    y: list[float | None]


class Plot(msgspec.Struct, frozen=True):
    """A drawing of some figures.

    Attributes:
        name: of the SVG file, unique within the benchmark.
        kind: bars by group name, or lines over numbers.
        log: which axes are logarithmic: "", "x", "y" or "xy".
    """

    name: str
    title: str
    kind: Literal["bars", "lines"]
    x_label: str
    y_label: str
    series: list[Series]
    log: Literal["", "x", "y", "xy"] = ""


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one run of one benchmark.

    Attributes:
        name: serving, training, preprocess or catalogue.
        title: heading of its section.
        summary: what was measured and how, Markdown paragraphs.
        command: what to type for the same measurement; RUN stands for the run directory.
        date: day of the measurement, ISO 8601, UTC.
        machine: what it ran on.
        settings: sizes and options that the figures depend on.
        figures: every figure.
        plots: drawings of some of them.
        targets: what was promised.
        notes: sentences that a reader of the figures must know.
    """

    name: str
    title: str
    summary: str
    command: str
    settings: dict[str, Any]
    figures: list[Table]
    plots: list[Plot] = []
    targets: list[Target] = []
    notes: list[str] = []
    date: str = msgspec.field(default_factory=lambda: datetime.datetime.now(datetime.timezone.utc).date().isoformat())
    machine: Machine = msgspec.field(default_factory=this_machine)
    format_version: int = FORMAT_VERSION

    def write(self, path: Path) -> None:
        """Write the JSON file, its folder included."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")


def load(path: Path) -> Benchmark:
    """Read a result file.

    Raises:
        ArtefactError: missing, unreadable or of another format version.
    """
    try:
        benchmark = msgspec.json.decode(path.read_bytes(), type=Benchmark)
    except (msgspec.DecodeError, OSError) as error:
        raise ArtefactError(
            f"{path} cannot be read as a benchmark's result ({error}); run the benchmark again"
        ) from None
    if benchmark.format_version != FORMAT_VERSION:
        raise ArtefactError(
            f"{path} has format version {benchmark.format_version}, this Cascade reads {FORMAT_VERSION}; "
            "run the benchmark again"
        )
    return benchmark


def result_path(run: Path, name: str) -> Path:
    """Where the benchmark `name` of a run directory is kept."""
    return run / "benchmarks" / f"{name}.json"


def keep(result: Benchmark, run: Path) -> None:
    """Write a result to the benchmarks of a run directory, and say where it is."""
    path = result_path(run, result.name)
    result.write(path)
    console.say(f"benchmark: {path}")


def say_targets(result: Benchmark) -> None:
    """Say of each target what was measured, and whether it is met."""
    for target in result.targets:
        measured = "not measured" if target.value is None else f"{target.value:,.4g}"
        console.say(f"benchmark: {target.name}: {measured}, {'met' if target.met else 'missed'}")


def judge(name: str, value: float | None, comparison: Comparison, target: float, note: str = "") -> Target:
    """Compare a figure with its target."""
    met = value is not None and bool(COMPARISONS[comparison](value, target))
    return Target(name, value, target, met, comparison, note)


def command_line(name: str, options: Mapping[str, Any], flags: Sequence[str] = ()) -> str:
    """The command of a benchmark as it can be typed again, without the paths of this machine."""
    given = [f"--{key.replace('_', '-')} {value}" for key, value in options.items()]
    return " ".join(["python -m benchmarks", name, "--out RUN", *given, *flags])
