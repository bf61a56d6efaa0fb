"""Brute force beside the compiled chain: what `why` says, and the slates of the serving benchmark's reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.serving.questions import Questions, draw_questions
from benchmarks.serving.reference import Reference, query_chain
from benchmarks.why.measure import measure_why
from ensemble.config import Config
from runtime.chain import Chain
from runtime.spec import ChainSpec
from tests.benchmarks.made_shop import exported_shop
from workflows.core.run import Run


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Config]:
    return exported_shop(tmp_path_factory.mktemp("why") / "run")


def test_brute_force_says_of_every_pair_what_why_says(exported: tuple[Run, Config]) -> None:
    found = {target.name: target for target in measure_why(exported[0], 40, 2, 1).targets}
    (pairs,) = (target for name, target in found.items() if name.startswith("pairs"))
    assert pairs.value == 40


def test_the_reference_of_the_serving_benchmark_has_the_slates_of_the_chain(exported: tuple[Run, Config]) -> None:
    run, config = exported
    folder = run.require("repo") / "fused/cascade/1/chain"
    drawn = draw_questions(run, ChainSpec.load(folder), 12, 0)
    # Contexts would need the workflow of the features stage, which this run does not have.
    questions = Questions({"user_id": drawn.columns["user_id"]}, drawn.datatypes, drawn.user_rows)
    reference = Reference(run, config, folder, questions, 12)
    answers = query_chain(Chain.load(folder), questions, 12, np.load(run.folder("data") / "ids/items.npy"))
    assert reference.num_identical([answer.rows for answer in answers]) == 12
    assert reference.worst_score(answers) < 1e-4
