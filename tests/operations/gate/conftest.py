"""Runs that are evaluated, exported and published once for all tests of the gate."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from ensemble.config import Config
from ensemble.evaluation.stage import evaluate
from ensemble.export.stage import export
from ensemble.publish import publish
from tests.ensemble.test_evaluation import add_split, make_evaluated_run, random_events
from tests.operations.made_runs import later, ranker_scores
from workflows.core.run import Run


class World(NamedTuple):
    """A published run, a run on the same tables with fewer candidates, and one with newer test events."""

    root: Path
    first: tuple[Run, Config]
    same: tuple[Run, Config]
    newer: tuple[Run, Config]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    with ranker_scores():
        root = tmp_path_factory.mktemp("gate")
        run, config = _finished(*make_evaluated_run(root / "first"))
        publish(run, config, root / "published", "fused")
        publish(run, config, root / "steps", "ensemble")
        shutil.copytree(run.root, root / "same")
        chain = msgspec.structs.replace(config.chain, num_candidates=21)
        same = _finished(Run(root / "same"), msgspec.structs.replace(config, chain=chain))
        newer, _ = make_evaluated_run(root / "newer")
        add_split(newer, "test", random_events(9))
        later(newer, 10**15)
        return World(root, (run, config), same, _finished(newer, config))


def _finished(run: Run, config: Config) -> tuple[Run, Config]:
    evaluate(run, config)
    export(run, config)
    return run, config
