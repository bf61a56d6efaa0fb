"""What sources.own names is checked before anything is fitted, and what it fits before it is used."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.sources.base import AsOf
from models.sources.config import PlaceConfig, SourcesConfig
from models.sources.own import source_step
from models.sources.stage import own_fits
from workflows.core.errors import ConfigError
from workflows.core.own import own_code

NUMBERS = itertools.count()
FILE = """
import numpy as np
from runtime.sources.item_scores import ItemScores

class Step(ItemScores):
    name = {step_name}
    order_file, scores_file = "sources/own/order.npy", "sources/own/scores.npy"

class Fitted:
    files = {files}
    def scores(self, embedded):
        return {scores}

class Fit:
    name = {name}
    step = {step}
    def __init__(self{arguments}):
        {init}
    def candidates(self, as_of):
        return {found}
"""
STANDARD = {
    "step_name": "'own'",
    "files": "{'sources/own/scores.npy': np.zeros(4)}",
    "scores": "np.zeros((1, 4), np.float32)",
    "name": "'own'",
    "step": "__name__ + ':Step'",
    "arguments": "",
    "init": "pass",
    "found": "[Fitted()]",
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def make(**parts):
        module = f"own_source_{next(NUMBERS)}"
        (tmp_path / f"{module}.py").write_text(FILE.format(**{**STANDARD, **parts}))
        return own_fits(SourcesConfig(own={f"{module}:Fit": PlaceConfig(quota=0.1)}))[0]

    return make


def as_of() -> AsOf:
    from models.dataset.features import Features

    empty = np.zeros(0, np.int32)
    features = Features(schema=None, users={}, items={"item_id": np.arange(4)})
    return AsOf(None, "train", None, features, empty, empty.astype(np.int64), np.zeros((4, 2), np.float32))


def test_a_source_that_keeps_the_contract_is_used(own):
    assert len(own().candidates(as_of())) == 1
    assert own(found="'no margin'").candidates(as_of()) == "no margin"


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"name": "'popularity'"}, "a source called 'popularity' exists already"),
        ({"name": "'towers'"}, "a source called 'towers' exists already"),
        ({"name": "'a/b c'"}, "must hold 1 to 60 lower-case"),
        ({"name": "3"}, "it has no name"),
        ({"step": "''"}, "cannot be used .ValueError"),
        ({"step": "__name__ + ':Nope'"}, "has no attribute 'Nope'"),
        ({"step": "'runtime.steps.rank:Rank'"}, "is no runtime.sources.base.Source"),
        ({"step_name": "'other'"}, "its name is 'own', its step's is 'other'"),
        ({"arguments": ", x"}, "missing 1 required positional argument"),
        ({"init": "raise RuntimeError('boom')"}, "RuntimeError: boom, own_source_.*py line 18"),
    ],
)
def test_a_source_that_cannot_be_served_is_refused_before_it_is_fitted(own, parts, sentence):
    with pytest.raises(ConfigError, match=sentence):
        own(**parts)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"found": "{}['x']"}, "KeyError: 'x', own_source"),
        ({"found": "[]"}, "candidates.. gives ..;"),
        ({"found": "None"}, "candidates.. gives None"),
        ({"scores": "np.zeros((1, 3), np.float32)"}, r"gives \(1, 3\) for one query; expected \(1, 4\)"),
        ({"scores": "np.full((1, 4), np.nan)"}, "4 of 4 scores are no number"),
        ({"scores": "np.array([[0, 1, np.inf, -np.inf]])"}, "1 of 4 scores"),
        ({"scores": "1 / 0"}, "ZeroDivisionError"),
        ({"files": "{'sources/../../x.npy': np.zeros(4)}"}, "names the file 'sources/../../x.npy'"),
        ({"files": "{'sources/popularity/scores.npy': np.zeros(4)}"}, "expected 'sources/own/'"),
        ({"files": "{'own.npy': np.zeros(4)}"}, "names the file 'own.npy'"),
        ({"files": "{'sources/own/x.npy': 'text'}"}, "holds str"),
    ],
)
def test_what_a_source_fits_is_checked(own, parts, sentence):
    fit = own(**parts)
    with pytest.raises(ConfigError, match=sentence):
        fit.candidates(as_of())


def test_two_sources_of_one_name_are_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("own_first", "own_second"):
        (tmp_path / f"{module}.py").write_text(FILE.format(**STANDARD))
    with pytest.raises(ConfigError, match=r"'own_second:Fit'.*called 'own' exists already"):
        own_fits(SourcesConfig(own={"own_first:Fit": PlaceConfig(), "own_second:Fit": PlaceConfig()}))


def test_the_code_of_a_module_holds_what_it_imports_in_turn_and_nothing_installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_package").mkdir()
    files = {
        "own_root.py": "import json\nimport numpy as np\nimport own_package.inner\nfrom runtime.step import Step\n",
        "own_package/__init__.py": "",
        "own_package/inner.py": "def f():\n    from .helper import K\n",
        "own_package/helper.py": "K = 1\n",
        "own_apart.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = own_code(["own_root"])
    assert list(before) == ["own_package.helper", "own_package.inner", "own_root"]
    (tmp_path / "own_package/helper.py").write_text("K = 2\n")
    assert own_code(["own_root"]) != before
    assert own_code(["numpy", "json", "runtime.step", "no_such_module"]) == {}


@pytest.mark.parametrize("step", ["no_such_file:Step", "runtime.sources.towers:Gone", "runtime.steps.rank:Rank"])
def test_a_fitted_source_whose_file_is_gone_is_refused_by_name(step):
    with pytest.raises(ConfigError, match=f"the source 'mine' is the step '{step}', which"):
        source_step("mine", step)
