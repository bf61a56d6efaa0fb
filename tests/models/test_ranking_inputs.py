"""What decides on the ranker's examples and is in no file makes the stage run again."""

from __future__ import annotations

import msgspec
import pytest

from models.ranking.config import RankingConfig
from models.ranking.stage import ranking_inputs
from tests.workflows.infos import data_info
from workflows.core.artefacts import Manifest, write_manifest
from workflows.core.run import Run


def run_of(root, **info):
    run = Run(root)
    run.folder("data").mkdir(parents=True)
    found = msgspec.to_builtins(data_info(9, 9, **info))
    write_manifest(run.folder("data"), Manifest("data", "f", "now", {}, {}, [], found))
    return run


@pytest.mark.parametrize(
    ("wanted", "info", "inputs"),
    [
        ("auto", {"of_kinds": True}, {"of_kinds": True}),
        ("auto", {"of_kinds": False}, {}),  # as in earlier releases, whose rankers stay up to date
        ("auto", {}, {}),
        ("sampled", {"of_kinds": True}, {}),
        ("impressions", {"of_kinds": True}, {}),
    ],
)
def test_kinds_are_an_input_where_they_decide(tmp_path, wanted, info, inputs):
    assert ranking_inputs(run_of(tmp_path, **info), RankingConfig(training_examples=wanted)) == inputs


def test_a_run_without_data_has_no_inputs_yet(tmp_path):
    assert ranking_inputs(Run(tmp_path), RankingConfig()) == {}
