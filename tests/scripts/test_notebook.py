"""The notebooks of the documentation: each runs, on a run made for the test, and holds what its cells gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ensemble.export.stage import export
from scripts.notebook import executed
from tests.ensemble.synthetic import make_run
from tests.scripts.tracked import ROOT
from workflows.core.artefacts import Manifest, write_manifest

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def outputs(notebook: dict[str, Any]) -> list[list[str]]:
    """By code cell the kinds of what it gave."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [[kind for each in cell["outputs"] for kind in each.get("data", {"stream": ""})] for cell in code]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, which has figures of its own."""
    place = tmp_path_factory.mktemp("notebook")
    run, config = make_run(place / "runs/shop", num_users=300)
    export(run, config)
    figure = {"recall@10": {"value": 0.25, "low": 0.2, "high": 0.3}, "recall@100": {"value": 0.5}}
    sources = dict.fromkeys(("chain", "towers", "popularity"), figure)
    run.folder("report").mkdir()
    text = json.dumps({"sources": sources, "random_display": {"sources": sources}, "cutoffs": [10, 100]})
    (run.folder("report") / "metrics.json").write_text(text)
    write_manifest(run.folder("report"), Manifest("report", "made", "2026-01-01T00:00:00", {}, {}, []))
    return place


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.name for path in NOTEBOOKS])
def test_a_notebook_runs_and_holds_what_its_cells_gave(path: Path, place: Path) -> None:
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert (kept["nbformat"], len({cell["id"] for cell in kept["cells"]})) == (4, len(kept["cells"]))
    again = executed(kept, place)
    assert outputs(again) == outputs(kept) and all(outputs(kept)[1:])
    assert path.stat().st_size < 100_000 and str(ROOT) not in path.read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_report(place: Path) -> None:
    from cascade_api import Run

    found = Run(place / "runs/shop").metrics
    row = found[(found["displayed_by"] == "chance") & (found["source"] == "chain")].set_index("metric").loc["recall@10"]
    assert (row["value"], row["low"], row["high"]) == (0.25, 0.2, 0.3) and len(found) == 12
    assert Run(place / "runs/shop").report["cutoffs"] == [10, 100]
