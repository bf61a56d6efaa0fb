"""The small sample of the Open Bandit Dataset, whose source package is fetched and not committed.

CASCADE_OPEN_BANDIT names it: `pip download obp==0.5.7 --no-deps --no-binary obp --ignore-requires-python`.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from models.ope.config import OpeConfig
from operations.decisions.evaluate import PolicyEvaluation, Source, evaluate_policy
from workflows.decisions.open_bandit import (
    read_open_bandit,
    read_open_bandit_items,
    write_open_bandit,
    write_uniform,
)

VARIABLE = "CASCADE_OPEN_BANDIT"
NAMES = ("all", "women", "men")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with bts/ and random/."""
    package = os.environ.get(VARIABLE, "")
    if not Path(package).is_file():
        pytest.skip(f"{VARIABLE} does not name the source package obp-0.5.7.tar.gz")
    folder = tmp_path_factory.mktemp("obd")
    with tarfile.open(package) as archive:
        for member in archive.getmembers():
            if "/dataset/obd/" in member.name and member.isfile():
                place = folder / member.name.split("/dataset/obd/")[1]
                place.parent.mkdir(parents=True, exist_ok=True)
                found = archive.extractfile(member)
                assert found is not None
                place.write_bytes(found.read())
    return folder


def uniform_of(sample: Path, name: str, folder: Path) -> PolicyEvaluation:
    """What a policy that shows all items alike would have earned, by the log of Thompson sampling."""
    path, log, uniform = sample / "bts" / name / f"{name}.csv", folder / "log.parquet", folder / "uniform.parquet"
    table = write_open_bandit(path, log)
    write_uniform(table, read_open_bandit_items(path, table), uniform)
    return evaluate_policy(Source(log), uniform, OpeConfig(), None)


def test_with_overlap_the_value_fits_that_of_the_policy_which_really_ran(sample: Path, tmp_path: Path) -> None:
    found = uniform_of(sample, "all", tmp_path).found
    assert found.refusal == ""
    assert found.diagnostics.ess_share == pytest.approx(0.034, abs=0.0005)
    snips = found.estimates["snips"]
    assert snips.low is not None and snips.high is not None
    assert snips.value == pytest.approx(0.0023, abs=5e-5)
    assert snips.high - snips.value == pytest.approx(0.0017, abs=5e-5)
    ran = np.array(read_open_bandit(sample / "random" / "all" / "all.csv")["rewards"].to_pylist())
    assert ran.mean() == pytest.approx(0.0038)
    error = 1.96 * ran.std() / np.sqrt(len(ran))
    assert error == pytest.approx(0.0012, abs=5e-5)
    assert abs(snips.value - ran.mean()) < np.hypot(error, snips.high - snips.value)


def test_without_overlap_no_number_is_given(sample: Path, tmp_path: Path) -> None:
    found = uniform_of(sample, "women", tmp_path).found
    assert found.refusal.startswith("too little overlap") and found.estimates == {}
    assert found.diagnostics.mean_weight == pytest.approx(3.13, abs=0.01)
    assert found.diagnostics.ess_share < 0.001


@pytest.mark.parametrize("name", NAMES)
def test_the_uniform_policy_s_own_log_gives_back_what_was_logged(sample: Path, tmp_path: Path, name: str) -> None:
    path, log, uniform = sample / "random" / name / f"{name}.csv", tmp_path / "log", tmp_path / "uniform"
    table = write_open_bandit(path, log)
    write_uniform(table, read_open_bandit_items(path, table), uniform)
    found = evaluate_policy(Source(log), uniform, OpeConfig(estimators=("snips",)), None).found
    assert found.estimates["snips"].value == pytest.approx(found.logged.value)
    assert found.diagnostics.ess_share == pytest.approx(1.0)
