"""The search with a trainer whose best settings are known; distributions; what a resumed search remembers."""

from __future__ import annotations

import json
import sys

import msgspec
import pytest

from ensemble.config import Config
from ensemble.search.config import SearchConfig
from ensemble.search.space import Distribution, parse_param, parse_space
from workflows.core.artefacts import Manifest, write_manifest
from workflows.core.errors import CascadeError, ConfigError
from workflows.core.run import Run

# Epoch e of a trial has recall 1 - |temperature - 0.2| - width / 1000 - 0.1 / (e + 1); what it reads must be linked.
TRAINER = """
import json, sys, time
from pathlib import Path
import numpy as np
from models.retrieval.checkpoint import Checkpoint, Progress
root, epochs, wait = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
settings = dict(override.split("=") for override in sys.argv[4:])
assert (root / "features" / "manifest.json").is_file() and (root / "data").is_symlink()
temperature, width = (float(settings[f"retrieval.{name}"]) for name in ("temperature", "embedding_dim"))
if width == 13:
    sys.exit("unlucky")
history = []
for epoch in range(epochs):
    history.append({"epoch": epoch + 1, "recall_at_100": 1 - abs(temperature - 0.2) - width / 1000 - 0.1 / (epoch + 1)})
    Checkpoint(root / ".retrieval.scratch", "m").save(Progress("m", history), [np.zeros(1)], [np.zeros(1)])
    time.sleep(wait)
(root / "retrieval").mkdir()
(root / "retrieval" / "history.json").write_text(json.dumps(history))
"""
PARAMS = {"retrieval.temperature": "uniform(0.1, 0.9)", "retrieval.embedding_dim": "choice(16, 64)"}


@pytest.fixture
def study(tmp_path):
    """Search with the trainer above; every call goes on where the one before stopped."""
    pytest.importorskip("optuna", reason="the extra 'search' is not installed")
    from ensemble.search.study import search

    run = Run(tmp_path / "run")
    for stage in ("data", "features"):
        run.folder(stage).mkdir(parents=True)
        write_manifest(run.folder(stage), Manifest(stage, f"{stage} fingerprint", "", {}, {}, [], {}))

    def go(num_trials, *, epochs=3, wait=0.0, **settings):
        config = Config(search=SearchConfig(**{"params": PARAMS, "num_trials": num_trials, **settings}))
        command = [sys.executable, "-c", TRAINER]
        found = search(
            run, config, lambda further: config, lambda root, more: [*command, str(root), str(epochs), str(wait), *more]
        )
        folder = run.root / "search" / "retrieval"
        assert json.loads((folder / "search.json").read_text()) == found
        return found, folder

    return go


def test_the_config_is_the_first_trial_and_the_best_is_kept(study):
    found, folder = study(3, num_warm_up_trials=3)
    assert [len(found["trials"]), {trial["state"] for trial in found["trials"]}] == [3, {"finished"}]
    values = [trial["value"] for trial in found["trials"]]
    assert values == sorted(values, reverse=True)
    first = next(trial for trial in found["trials"] if trial["number"] == 0)
    assert first["params"] == {"retrieval.temperature": 0.1, "retrieval.embedding_dim": "64"}
    assert first["value"] == pytest.approx(1 - 0.1 - 0.064 - 0.1 / 3)
    assert [path.name for path in (folder / "trials").iterdir()] == [f"{found['best']['number']:04}"]
    lines = (folder / "search.md").read_text().splitlines()
    assert len(lines) == 2 + 3
    assert lines[0].startswith("| trial | state | recall_at_100 | epochs | s | retrieval.temperature |")


def test_a_search_goes_on_where_it_stopped_and_another_space_starts_anew(study):
    first, _ = study(2)
    again, _ = study(2)
    assert again == first
    more, _ = study(3)
    assert len(more["trials"]) == 3
    assert [trial for trial in more["trials"] if trial["number"] < 2] == sorted(
        first["trials"], key=lambda trial: -trial["value"]
    )
    other, _ = study(1, params=PARAMS | {"retrieval.embedding_dim": "choice(8)"})
    assert other["study"] != first["study"]
    assert len(other["trials"]) == 1


def test_a_trial_worse_than_the_median_is_stopped_in_an_early_epoch(study):
    narrow = PARAMS | {"retrieval.temperature": "uniform(0.19, 0.21)", "retrieval.embedding_dim": "choice(1, 900)"}
    found, _ = study(5, epochs=5, wait=0.25, params=narrow, num_warm_up_trials=2, num_warm_up_epochs=1, seed=3)
    assert {trial["state"] for trial in found["trials"]} == {"finished", "pruned"}
    for trial in found["trials"]:
        assert (trial["epochs"] < 5) == (trial["state"] == "pruned")
        assert trial["state"] == "finished" or trial["number"] >= 2
        if trial["number"] >= 2 and trial["params"]["retrieval.embedding_dim"] == "900":
            assert trial["state"] == "pruned"


def test_a_trial_that_fails_is_named_and_the_search_goes_on_unless_all_do(study, capsys):
    params = PARAMS | {"retrieval.embedding_dim": "choice(13, 16)"}
    found, _ = study(5, params=params, seed=2)
    failed = [trial for trial in found["trials"] if trial["state"] == "failed"]
    assert 0 < len(failed) < 5
    assert all("unlucky" in trial["error"] for trial in failed)
    assert "failed: the trial's training failed (status 1): unlucky" in capsys.readouterr().err
    with pytest.raises(CascadeError, match=r"none of 2 trials could be trained; the last one: .*unlucky"):
        study(9, params=params | {"retrieval.embedding_dim": "choice(13)"}, num_warm_up_trials=2)


def test_a_metric_that_no_epoch_has_ends_the_search_with_those_there_are(study):
    with pytest.raises(ConfigError, match=r"search\.metric = 'auc' is not among epoch, recall_at_100"):
        study(1, metric="auc")


def test_without_optuna_the_extra_is_named(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"needs the package optuna, which cannot be imported .* the extra 'search'"):
        study(1)


def test_keys_of_another_stage_are_refused(study):
    with pytest.raises(ConfigError, match=r"ranking.dropout is not a key of \[retrieval\]"):
        study(1, params={"ranking.dropout": "uniform(0, 1)"})
    with pytest.raises(ConfigError, match=r"retrieval.refit_share has no effect on the epochs that a trial is"):
        study(1, params={"retrieval.refit_share": "uniform(0, 1)"})
    with pytest.raises(ConfigError, match="expected keys to vary, got none"):
        study(1, params={})


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("loguniform(0.05,0.5)", "loguniform", [0.05, 0.5]),
        (" int( 1, 4 ) ", "int", [1, 4]),
        ("choice([64], [128, 64], [])", "choice", [[64], [128, 64], []]),
        ('choice("mean", true)', "choice", ["mean", True]),
    ],
)
def test_distributions_are_read(text, kind, values):
    assert parse_space({"k": text}) == {"k": Distribution(kind, values)}
    assert parse_param(f"a.b={text}") == ("a.b", text)


@pytest.mark.parametrize(
    "text",
    ["0.1", "uniform(1)", "uniform(2, 1)", "loguniform(0, 1)", "int(1, 2.5)", "choice()", "normal(0, 1)", "choice(a)"],
)
def test_distributions_that_cannot_be_are_refused(text):
    with pytest.raises(ConfigError, match="search: k = "):
        parse_space({"k": text})


@pytest.mark.parametrize(
    ("text", "value", "stored"),
    [
        ("choice([64], [128])", [128], "[128]"),
        ("choice([64], [128])", [32], None),
        ("uniform(0, 1)", 0.5, 0.5),
        ("int(2, 4)", 5, None),
        ("uniform(0, 1)", "auto", None),
    ],
)
def test_the_config_s_value_is_stored_where_the_distribution_holds_it(text, value, stored):
    assert parse_space({"k": text})["k"].stored(msgspec.to_builtins(value)) == stored
