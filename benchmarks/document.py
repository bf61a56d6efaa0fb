"""The page of measured speed, made from result files alone: docs/PERFORMANCE.md and its plots."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.result import Benchmark, Cell, Table, Target, load
from workflows.core.errors import ArtefactError

__all__ = ["RESULTS_FOLDER", "gather", "markdown", "number", "write_page"]

RESULTS_FOLDER = "benchmarks"
PLOTS_FOLDER = "performance"
WIDTH = 120
ORDER = (
    *("serving", "stream", "slates", "slate_rules", "slate_quality", "soak", "soak_operations"),
    *("request_log", "signals", "faults", "failures", "console"),
    *("catalogue", "preprocess", "training", "live_quality", "goals", "why", "gate", "experiments", "drafts"),
    *("ope", "send_gate"),
)
INTRODUCTION = """# Speed

Made by `python -m benchmarks document` from the result files in `docs/benchmarks/`; every number was measured by the
command of its section, on the machine named there. Other work on a machine moves every figure: compare those of one
run with each other.
"""


def gather(sources: Sequence[Path]) -> list[Benchmark]:
    """Read the results of run directories and of result files.

    Raises:
        ArtefactError: a run directory without any result, or a file that is none.
    """
    results = []
    for source in sources:
        paths = sorted((source / "benchmarks").glob("*.json")) if source.is_dir() else [source]
        if not paths:
            raise ArtefactError(f"{source / 'benchmarks'} holds no result; run `python -m benchmarks serving` first")
        results += [load(path) for path in paths]
    return results


def write_page(page: Path, results: Sequence[Benchmark]) -> None:
    """Keep the results beside the page, replacing those of the same name, and write the page of all that are kept.

    Args:
        page: the Markdown file; the results go to `benchmarks/` and the plots to `performance/` beside it.
        results: new ones; none of them: the page is made again from what is kept.
    """
    from benchmarks.drawing import draw

    kept = page.parent / RESULTS_FOLDER
    for result in results:
        result.write(kept / f"{result.name}.json")
    everything = [load(path) for path in sorted(kept.glob("*.json"))]
    for result in everything:
        for plot in result.plots:
            path = page.parent / _plot_path(result, plot.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(draw(plot), encoding="utf-8")
    page.write_text(markdown(everything), encoding="utf-8")


def markdown(results: Sequence[Benchmark]) -> str:
    """The page: one section a benchmark."""
    ordered = sorted(results, key=lambda result: ORDER.index(result.name) if result.name in ORDER else len(ORDER))
    return "\n".join([INTRODUCTION, *("\n".join(_section(result)) for result in ordered)])


def _section(result: Benchmark) -> Iterator[str]:
    yield f"## {result.title}\n\n{result.summary}\n"
    yield f"```bash\n{result.command}\n```\n"
    yield _wrapped(f"{result.date}, {_machine(result.machine)}") + "\n"
    if result.settings:
        settings = ", ".join(f"{name} {_plain(value)}" for name, value in result.settings.items())
        yield _wrapped(f"Settings: {settings}.") + "\n"
    if result.targets:
        yield _targets(result.targets)
    for plot in result.plots:
        yield f"![{plot.title}]({_plot_path(result, plot.name)})\n"
    for table in result.figures:
        yield (f"### {table.title}\n\n" if table.title else "") + _table(table)
    if result.notes:
        yield "\n".join(_wrapped(f"- {note}", "  ") for note in result.notes) + "\n"


def _wrapped(text: str, indent: str = "") -> str:
    """Lines of at most WIDTH characters, those after the first indented."""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _plot_path(result: Benchmark, plot: str) -> str:
    return f"{PLOTS_FOLDER}/{result.name}_{plot}.svg"


def _machine(machine: Machine) -> str:
    memory = f"{machine.memory_bytes / 2**30:.0f} GiB"
    gpu = f", {machine.gpu}" if machine.gpu else ""
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    return f"{machine.cpu}, {machine.num_cores} cores, {memory}{gpu}; Python {machine.python}, {libraries}."


def _targets(targets: Sequence[Target]) -> str:
    rows: list[list[Cell]] = [
        [t.name, t.value, f"{'at least' if t.comparison == '>=' else 'at most'} {number(t.target)}", _verdict(t)]
        for t in targets
    ]
    table = _table(Table("", ["figure", "measured", "target", ""], rows))
    missed = [f"- Missed: {t.name}. {t.note}" if not t.met else f"- {t.name}: {t.note}" for t in targets if t.note]
    return "\n".join([table, *(_wrapped(line, "  ") for line in missed), ""]) if missed else table


def _verdict(target: Target) -> str:
    if target.value is None:
        return "not measured"
    return "met" if target.met else "**missed**"


def _table(table: Table) -> str:
    """A Markdown table; columns of numbers are set to the right."""
    columns = range(len(table.columns))
    is_number = [any(isinstance(row[c], int | float) for row in table.rows) for c in columns]
    lines = [
        "| " + " | ".join(table.columns) + " |",
        "|" + "|".join("---:" if right else "---" for right in is_number) + "|",
        *("| " + " | ".join(map(_plain, row)) + " |" for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value).replace("|", "\\|")
    return number(value)


def number(value: float) -> str:
    """Three significant digits; whole numbers and those from 100 on in full, by thousands."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
