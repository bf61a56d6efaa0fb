"""From a log and a policy's utilities to probabilities: the code that draws slates, item by item and by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.ope.config import OpeConfig
from models.ope.evaluate import evaluate
from models.ope.target import evidence_of
from runtime.explore import sample
from tests.models.ope import tiny
from workflows.core.errors import DataError
from workflows.decisions.choices import read_choices
from workflows.decisions.log import log_of, read_log

ALL = ("snips", "snrips", "iips", "pseudo_inverse", "cascade_dr")


def table(num=3_000, seed=0, utilities=tiny.LOGGED, temperature=1.0):
    """A log of the tiny problem as a service would write it; items are called a to e."""
    rng = np.random.default_rng(seed)
    tiled = np.broadcast_to(utilities, (num, tiny.C))
    drawn = sample(tiled, tiny.S, temperature, rng.integers(0, 2**62, num))
    place_of = {tuple(slate): row for row, slate in enumerate(tiny.ALL.tolist())}
    mean = tiny.rewards("cascade")[[place_of[tuple(slate)] for slate in drawn.places.tolist()]]
    names = np.array([*"abcde"], object)
    return {
        "request_id": [f"r{n}" for n in range(num)],
        "user_id": [*range(num)],
        "item_ids": [names[slate].tolist() for slate in drawn.places],
        "log_propensity": drawn.log_propensity.tolist(),
        "rewards": (rng.random((num, tiny.S)) < mean).astype(float).tolist(),
        "candidate_ids": [names.tolist()] * num,
        "candidate_scores": [np.asarray(utilities).tolist()] * num,
        "temperature": [temperature] * num,
    }


def choices(tmp_path, log, utilities, *, ids="abcde", temperature=1.0):
    """Of a policy with these utilities, candidates in another order than the log's."""
    order = np.random.default_rng(1).permutation(len(ids))
    rows = {
        "request_id": [*log.request_ids[::-1]],
        "candidate_ids": [[ids[place] for place in order]] * len(log),
        "candidate_scores": [[float(utilities[place]) for place in order]] * len(log),
        "temperature": [temperature] * len(log),
    }
    pq.write_table(pa.table(rows), tmp_path / "policy.parquet")
    return read_choices(tmp_path / "policy.parquet", log)


def test_the_probabilities_are_those_by_hand(tmp_path):
    log = log_of(pa.table(table(50)))
    found = evidence_of(log, choices(tmp_path, log, tiny.TARGET, temperature=0.5), ())
    np.testing.assert_allclose(found.slates.target, tiny.chances(tiny.TARGET / 0.5, log.items), atol=1e-9)
    assert found.outside == 0.0 and found.position_weights is None and found.slate_weights is None


def test_every_estimator_finds_the_truth(tmp_path):
    log, near = log_of(pa.table(table(1_500))), 0.6 * tiny.LOGGED + 0.4 * tiny.TARGET
    found = evaluate(evidence_of(log, choices(tmp_path, log, near), ALL), OpeConfig(estimators=ALL))
    truth = tiny.under(near, tiny.rewards("cascade").sum(axis=1))
    assert found.estimator == "cascade_dr" and set(found.estimates) == set(ALL)
    for name in ("snips", "snrips", "cascade_dr"):
        assert found.estimates[name].low <= truth <= found.estimates[name].high
    widths = {name: got.high - got.low for name, got in found.estimates.items()}
    assert widths["cascade_dr"] < 0.9 * widths["snips"]


def test_its_own_policy_is_worth_what_was_logged(tmp_path):
    rows = table(500, temperature=0.7)
    pq.write_table(pa.table(rows), tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet")
    found = evaluate(evidence_of(log, read_choices(tmp_path / "log.parquet", log), ALL), OpeConfig(estimators=ALL))
    assert found.diagnostics.ess == pytest.approx(500)
    model = found.estimates.pop("cascade_dr")
    assert model.low <= found.logged.value <= model.high
    for got in found.estimates.values():
        assert got.value == pytest.approx(found.logged.value, abs=1e-6)


def test_items_outside_its_candidates_have_no_chance_and_its_own_are_seen(tmp_path):
    log = log_of(pa.table(table(200)))
    found = evidence_of(log, choices(tmp_path, log, [0.0] * 4, ids="abcx"), ())
    lacks = np.isin(log.item_ids[log.items], ["d", "e"])
    np.testing.assert_array_equal(np.isneginf(found.slates.target), np.logical_or.accumulate(lacks, axis=1))
    by_hand = 0.0
    for row in range(200):
        for k in range(tiny.S):
            left = {"a", "b", "c", "x"} - set(log.item_ids[log.items[row, :k]])
            by_hand += 1 / len(left) / (200 * tiny.S)
    assert found.outside == pytest.approx(by_hand)


def test_a_policy_without_chance_draws_the_descending_order(tmp_path):
    log = log_of(pa.table(table(400)))
    found = evidence_of(log, choices(tmp_path, log, tiny.LOGGED, temperature=0.0), ())
    best = (log.items == np.argsort(-tiny.LOGGED)[: tiny.S]).all(axis=1)
    weights = found.slates.weights()[:, -1]
    assert best.any() and (weights[~best] == 0).all()
    np.testing.assert_allclose(weights[best], np.exp(-log.log_propensity[best].sum(axis=1)))
    ties = evidence_of(log, choices(tmp_path, log, [0.0] * 5, temperature=0.0), ())
    np.testing.assert_array_equal(ties.slates.weights()[:, -1] > 0, (log.items == [0, 1, 2]).all(axis=1))


def test_propensities_that_the_utilities_do_not_explain_leave_out_what_rests_on_them(tmp_path):
    rows = table(300)
    rows["candidate_scores"] = [[0.0] * 5] * 300
    log = log_of(pa.table(rows))
    found = evidence_of(log, choices(tmp_path, log, tiny.TARGET), ALL)
    assert found.position_weights is None and found.slate_weights is None and found.values is not None


def test_slates_of_several_lengths(tmp_path):
    rows = table(300)
    for name in ("item_ids", "log_propensity", "rewards"):
        rows[name] = [values[: 1 + n % 3] for n, values in enumerate(rows[name])]
    log = log_of(pa.table(rows))
    found = evidence_of(log, choices(tmp_path, log, tiny.TARGET), ())
    short = np.arange(300) % 3 == 0
    assert (found.slates.target[short, 1:] == 0).all() and (found.values.expected[short, 1:] == 0).all()
    assert found.values.expected[short, 0].max() < found.values.expected[~short, 0].min()


def test_what_a_policy_does_not_say_is_asked_for(tmp_path):
    log = log_of(pa.table(table(50)))
    other = log_of(pa.table(table(40)))
    with pytest.raises(DataError, match="says nothing of 10 of the log's 50 requests, r40 for one"):
        choices(tmp_path, other, tiny.TARGET)
        read_choices(tmp_path / "policy.parquet", log)
    with pytest.raises(DataError, match="a candidate comes twice"):
        choices(tmp_path, log, tiny.TARGET, ids="abcda")
    with pytest.raises(DataError, match="a candidate's score is no number"):
        choices(tmp_path, log, [np.nan] * 5)
    pq.write_table(pa.table({"request_id": ["r0"]}), tmp_path / "policy.parquet")
    with pytest.raises(DataError, match="no candidate_ids, candidate_scores"):
        read_choices(tmp_path / "policy.parquet", log)
