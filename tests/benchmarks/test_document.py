"""Result files and the page: what was measured is what is printed, and nothing of the machine's own leaks."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec
import pytest

from benchmarks.document import gather, markdown, number, write_page
from benchmarks.machine import this_machine
from benchmarks.result import Benchmark, Plot, Series, Table, command_line, judge, load, result_path
from workflows.core.errors import ArtefactError

ROOT = Path(__file__).parents[3]


def _benchmark(name: str = "serving", p50: float = 0.512) -> Benchmark:
    return Benchmark(
        name=name,
        title=f"The {name} benchmark",
        date="2026-05-01",
        summary="What it is.",
        command=command_line(name, {"num_items": 500}),
        settings={"items": 500},
        figures=[Table("Latency", ["variant", "p50, ms"], [["fused", p50], ["stock", None]])],
        plots=[
            Plot("latency", "p50", "bars", "load", "ms", [Series("fused", ["one", "many"], [p50, None])]),
            Plot("curve", "growth", "lines", "items", "ms", [Series("flat", [1e4, 1e5], [1.0, 10.0])], "xy"),
        ],
        targets=[judge("ratio", 2.0, ">=", 3.0, "The processor bounds it."), judge("start, s", None, "<=", 5.0)],
        notes=["A note."],
    )


@pytest.mark.parametrize(
    ("value", "comparison", "met"),
    [(3.0, ">=", True), (2.9, ">=", False), (3.0, "<=", True), (3.1, "<=", False), (None, ">=", False)],
)
def test_a_target_is_met_at_the_number_itself_and_never_unmeasured(value, comparison, met) -> None:
    assert judge("x", value, comparison, 3.0).met is met


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    written = _benchmark()
    path = result_path(tmp_path, "serving")
    written.write(path)
    assert path == tmp_path / "benchmarks/serving.json"
    assert load(path) == written


def test_other_files_and_other_versions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(ArtefactError, match="cannot be read as a benchmark's result"):
        load(path)
    path.write_bytes(msgspec.json.encode({**msgspec.to_builtins(_benchmark()), "format_version": 9}))
    with pytest.raises(ArtefactError, match="format version 9, this Cascade reads 1"):
        load(path)
    (tmp_path / "run/report").mkdir(parents=True)
    with pytest.raises(ArtefactError, match="holds no result"):
        gather([tmp_path / "run"])


def test_the_page_keeps_other_benchmarks_and_replaces_those_of_the_same_name(tmp_path: Path) -> None:
    page = tmp_path / "docs/PERFORMANCE.md"
    write_page(page, [_benchmark("training"), _benchmark("serving", 0.9)])
    first = page.read_text()
    _benchmark("serving", 0.25).write(result_path(tmp_path / "run", "serving"))
    write_page(page, gather([tmp_path / "run"]))
    second = page.read_text()
    assert first.replace("| fused | 0.9 |", "| fused | 0.25 |") == second
    assert second.index("## The serving") < second.index("## The training")
    plots = sorted(path.name for path in (tmp_path / "docs/performance").iterdir())
    assert plots == ["serving_curve.svg", "serving_latency.svg", "training_curve.svg", "training_latency.svg"]


def test_the_page_says_what_is_missed_and_why_and_shows_nothing_measured_as_such() -> None:
    text = markdown([_benchmark()])
    assert "| ratio | 2 | at least 3 | **missed** |" in text
    assert "- Missed: ratio. The processor bounds it." in text
    assert "| start, s | - | at most 5 | not measured |" in text
    assert "| variant | p50, ms |\n|---|---:|\n| fused | 0.512 |\n| stock | - |" in text
    assert "python -m benchmarks serving --out RUN --num-items 500" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.51234, "0.512"), (7, "7"), (100_000, "100,000"), (1234.5, "1,234"), (12.34, "12.3")]
)
def test_numbers_keep_three_digits(value, text) -> None:
    assert number(value) == text


def test_the_machine_is_described_without_its_name_or_paths() -> None:
    machine = this_machine()
    text = msgspec.json.encode(machine).decode()
    assert machine.num_cores == len(os.sched_getaffinity(0)) and machine.memory_bytes > 2**28
    assert machine.libraries["numpy"] and platform.node() not in text and str(Path.home()) not in text


def test_the_published_page_is_what_its_result_files_make() -> None:
    results = [load(path) for path in sorted((ROOT / "docs/benchmarks").glob("*.json"))]
    page = ROOT / "docs/PERFORMANCE.md"
    assert page.is_file() == bool(results)
    if results:
        assert page.read_text() == markdown(results)
