"""Every page that the console offers is timed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.console.measure import measure_console
from benchmarks.result import load
from console.app import OF_TWO, PAGES
from ensemble.config import ChainConfig
from ensemble.export.stage import export
from tests.ensemble.synthetic import make_run
from workflows.stream.config import StreamConfig

pytestmark = [pytest.mark.service("console"), pytest.mark.slow, pytest.mark.long]


def test_every_page_of_the_navigation_has_a_line(tmp_path: Path) -> None:
    chain = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15, instances=1)
    run, config = make_run(tmp_path / "run", chain=chain, num_users=20)
    export(run, msgspec.structs.replace(config, stream=StreamConfig()))
    (run.root / "events").mkdir()
    result = measure_console(run, None, 2, 0)
    lines = {str(row[0]): row for row in result.figures[0].rows}
    for _, name in (*PAGES, *OF_TWO):
        assert name in lines
    for _, cpu, cpu_p95, wall, wall_p95, size in lines.values():
        assert 0 < cpu <= cpu_p95 and 0 < wall <= wall_p95 and size > 1
    slowest = max(float(row[1]) for row in lines.values())
    assert result.targets[0].value == pytest.approx(slowest) and "page (User, why an item)" not in result.command
    result.write(tmp_path / "console.json")
    assert load(tmp_path / "console.json") == result
