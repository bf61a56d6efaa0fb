"""Steps and graphs of the user's own: what a server could not import, make or run is refused in one sentence."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from ensemble.export.compile import compile_chain
from tests.ensemble.synthetic import make_run
from workflows.core.errors import ConfigError

NUMBERS = itertools.count()
STEP = """
import numpy as np
{imports}
from runtime.spec import Tensor
from runtime.step import Step

class Own(Step):
    name = "{name}"
    def __init__(self, factor=1.0):
        {init}
    def inputs(self, spec):
        return (Tensor("ranking_score", "FP32", spec.num_candidates),)
    def outputs(self, spec):
        return {outputs}
    def files(self, spec):
        return {files}
    def open(self, folder, spec):
        {open}
    def __call__(self, batch):
        scores = batch["ranking_score"]
        {body}
"""
GRAPH = """
from tests.ensemble.graphs import parts
from runtime.steps.order import Order
from runtime.steps.rank import Rank
from {module} import Own

def chain(folder):
    step, features, query, candidates, ensemble = parts(folder)
    scores = candidates + query + features >> step(Rank())
    own = scores >> step({made})
    return {returned}
"""
SCORE = 'Tensor("ranking_score", "FP32", spec.num_candidates)'
STANDARD = {
    "imports": "",
    "name": "own",
    "init": "super().__init__(factor=factor)",
    "outputs": f"({SCORE},)",
    "files": "()",
    "open": "pass",
    "body": 'return {"ranking_score": scores * np.float32(2)}',
    "made": "Own()",
    "returned": "ensemble(candidates + own + features >> step(Order()))",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("own") / "run", num_users=20, num_items=80)


@pytest.fixture
def compiled(world, tmp_path, monkeypatch):
    """Compile the chain of a graph that is written to the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def compile_own(**parts):
        texts, number = {**STANDARD, **parts}, next(NUMBERS)
        step, graph = f"own_step_{number}", f"own_graph_{number}"
        (tmp_path / f"{step}.py").write_text(STEP.format(**texts))
        (tmp_path / f"{graph}.py").write_text(GRAPH.format(module=step, **texts))
        (tmp_path / "own_helper.py").write_text("")
        run, config = world
        chain = msgspec.structs.replace(config.chain, graph=f"{graph}:chain")
        return compile_chain(run, msgspec.structs.replace(config, chain=chain), tmp_path / f"chain{number}", "serve")

    return compile_own


def test_a_step_that_keeps_the_contract_is_compiled(compiled):
    assert "own" in compiled().models


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"imports": "import merlin"}, "the server gets the file of 'own_step_.*No module named 'merlin'"),
        ({"imports": "import pandas"}, "No module named 'pandas'"),
        ({"imports": "import own_helper"}, "No module named 'own_helper'"),
        ({"imports": "from . import own_helper"}, "cannot be found.*ImportError.*line"),
    ],
)
def test_a_file_that_a_server_cannot_import_is_refused(compiled, parts, sentence):
    with pytest.raises(ConfigError, match=sentence):
        compiled(**parts)


@pytest.mark.parametrize("name", ["Own", "a b", "../own", "größer", "", "x" * 61, 'own"', "own.two", "-"])
def test_a_name_that_cannot_be_a_folder_and_a_model_is_refused(compiled, name):
    with pytest.raises(ConfigError, match="needs another name"):
        compiled(name=name.replace('"', '\\"'))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"made": "Own(factor=float('nan'))"}, "settings of 'own' are no JSON values"),
        ({"made": "Own(factor=folder)"}, "settings of 'own' are no JSON values"),
        ({"init": "super().__init__()"}, "does not hand its argument 'factor'"),
        ({"init": "pass"}, "does not call super"),
        ({"init": "super().__init__(factor=factor); {1: 2}[factor]", "made": "Own({1: 1})"}, "cannot be drawn"),
        (
            {"init": "super().__init__(factor=factor); assert factor != [1]", "made": "Own((1,))"},
            "cannot be made again",
        ),
        (
            {"outputs": "()", "returned": "ensemble(candidates + scores + own + features >> step(Order()))"},
            "gives nothing",
        ),
        ({"outputs": '(Tensor("ranking_score", "float32", spec.num_candidates),)'}, "has the type 'float32'"),
        ({"files": '("../secret",)'}, "opens '../secret'"),
        ({"made": "Own(), files={'x.npy': folder / 'absent.npy'}"}, "brings the file 'x.npy'.*does not exist"),
        ({"returned": "None"}, "returns NoneType"),
        ({"returned": "own"}, "returns Node"),
        ({"returned": "{}['key']"}, "cannot be drawn .KeyError: 'key', own_graph_.*line 11"),
    ],
)
def test_a_step_or_graph_that_a_server_could_not_make_is_refused(compiled, parts, sentence):
    with pytest.raises(ConfigError, match=sentence):
        compiled(**parts)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"open": "raise OSError('no disk')"}, "the step of 'own' cannot open its files .OSError: no disk, own_step"),
        ({"body": "1 / 0"}, "the step of 'own' cannot be run .ZeroDivisionError"),
        ({"body": "return None"}, "does not give 'ranking_score'"),
        ({"body": "return {'score': scores}"}, "does not give 'ranking_score'.*gives .'score'"),
        ({"body": "return {'ranking_score': scores.tolist()}"}, "as list; expected a NumPy array"),
        ({"body": "return {'ranking_score': scores[:, :3]}"}, r"of shape \(8, 3\); expected 8 users by 30 columns"),
        ({"body": "return {'ranking_score': scores[:1]}"}, r"of shape \(1, 30\)"),
        ({"body": "return {'ranking_score': scores.astype(float)}"}, "as float64; its outputs say float32"),
        ({"body": "return {'ranking_score': scores * np.float32('nan')}"}, "that are no number"),
        ({"body": "scores *= -1; return {'ranking_score': scores.copy()}"}, "changes 'ranking_score'"),
        ({"body": "return {'ranking_score': scores - scores.max()}"}, "depend on the others"),
    ],
)
def test_a_step_that_gives_other_than_it_says_is_refused(compiled, parts, sentence):
    with pytest.raises(ConfigError, match=sentence):
        compiled(**parts)
