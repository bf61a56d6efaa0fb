"""Logged requests asked again of a candidate: what changes, what raises, and that nothing served is touched."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from ensemble.evaluation.gate_config import GateConfig
from ensemble.publish_files import sign
from operations.gate.decide import decide
from operations.gate.requests import request_rows
from operations.log.collect import collect
from operations.shadow import timing
from operations.shadow.shadow import shadow
from runtime.log.folder import LogSettings
from runtime.log.identity import Served, chain_key
from scripts.cli import app
from tests.operations.gate.evidence import evidence
from tests.operations.repository import publish_golden
from tests.runtime.log.made import Process, ask
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError, CascadeError

NUM, PLANTED, SIZE = 200, (17, 120), 3
RAISES = '        if (parsed.slate_size == 3).any():\n            raise ValueError("planted")\n'


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch):
    """The least that has an interval: each pair starts two processes."""
    monkeypatch.setattr(timing, "NUM_PAIRS", 3)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A version that has answered 200 requests, and a copy that raises at two of them."""
    root = tmp_path_factory.mktemp("shadow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # as a server has it
        folder = publish_golden(root / "published", 1)
        process = Process(LogSettings(root / "LOG", 1.0), "exact", Served(chain_key(folder), 1, root / "published"))
        for place in range(NUM):
            size = {"slate_size": np.array([[SIZE]], np.int32)} if place in PLANTED else {}
            request, arrays = ask(place, users=1 if size else 1 + place % 2, **size)
            process.answer([request], [arrays])
        process.close()
    collect(root / "LOG", root / "MON")
    shutil.copytree(root / "published", root / "raising")
    copied = root / "raising/cascade/1"
    code = copied / "lib/runtime/chain.py"
    before = '        """The same for the node that reads the request."""\n'
    assert code.read_text().count(before) == 1
    code.write_text(code.read_text().replace(before, before + RAISES))
    sign(copied, read_manifest(copied), {"version": 1, "layout": "fused"})
    return root


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_version_that_answered_changes_nothing(world):
    found = shadow(world / "MON", world / "published", NUM)
    assert (found.num_requests, found.num_slates, found.num_errors) == (NUM, 299, 0)
    assert (found.overlap_at_k, found.rbo, found.score_js) == (1.0, pytest.approx(1.0), 0.0)
    assert all(change.before == change.after for change in found.paths.values())
    assert found.cpu_ms is not None and found.cpu_ms.before > 0 and found.cpu_ms.after > 0
    assert found.num_items.before == found.num_items.after > 0


def test_a_candidate_that_raises_on_one_percent_is_reported_and_rejected(world):
    before = content(world / "published")
    found = shadow(world / "MON", world / "raising", NUM)
    assert (found.num_requests, found.num_errors) == (NUM, 2)
    assert [*found.errors.values()] == [2] and next(iter(found.errors)).endswith("ValueError: planted")
    # What comes in one batch with them is answered.
    assert (found.num_slates, found.overlap_at_k) == (297, 1.0)
    rows = tuple(request_rows(found, GateConfig(min_requests=NUM)))
    decision = decide(evidence(0.2, further=rows), GateConfig())
    assert decision.verdict == "REJECT"
    assert "share of the requests at which the candidate raises" in decision.why
    assert next(row.value for row in rows if "raises" in row.name) == 0.01
    assert content(world / "published") == before


def test_only_the_latest_are_asked(world):
    assert shadow(world / "MON", world / "published", 7).num_requests == 7


def test_what_cannot_be_asked_is_refused_in_one_sentence(world, tmp_path):
    publish_golden(tmp_path / "other", 1, variant="plain")
    with pytest.raises(CascadeError, match="it is of another product"):
        shadow(world / "MON", tmp_path / "other", 5)
    with pytest.raises(ArtefactError, match="holds no collected requests"):
        shadow(world / "LOG", world / "published", 5)
    with pytest.raises(ArtefactError, match="is not a folder"):
        shadow(world / "MON", tmp_path / "nothing", 5)


def test_the_command_writes_and_prints(world):
    given = ["shadow", str(world / "MON"), "--run", str(world / "raising"), "--last", str(NUM)]
    shown = CliRunner().invoke(app, given)
    assert shown.exit_code == 0, shown.output
    assert "errors            1.00% of the requests" in shown.stdout
    as_json = CliRunner().invoke(app, [*given, "--json"])
    assert json.loads(as_json.stdout)["num_errors"] == 2
    assert json.loads((world / "MON/shadow.json").read_text())["num_errors"] == 2
