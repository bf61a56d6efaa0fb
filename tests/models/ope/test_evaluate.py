"""A log under a policy: a number with its interval, or one sentence that says why there is none."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.ope.config import OpeConfig
from models.ope.diagnostics import diagnose, refusal
from models.ope.evaluate import ESTIMATORS, Evidence, estimate, evaluate
from models.ope.slates import Slates, Values
from tests.models.ope import tiny
from tests.models.ope.tiny import drawn, evidence


def test_the_truth_is_in_the_interval_and_the_table_agrees():
    found = evaluate(evidence(), OpeConfig())
    truth = tiny.under(tiny.TARGET, tiny.rewards("cascade").sum(axis=1))
    assert not found.refusal and found.estimator == "cascade_dr"
    assert [*found.estimates] == ["snips", "snrips", "cascade_dr"]
    for got in found.estimates.values():
        assert got.low <= truth <= got.high
    assert found.gain.value == pytest.approx(found.estimates["cascade_dr"].value - found.logged.value)
    assert found.gain.low <= truth - tiny.under(tiny.LOGGED, tiny.rewards("cascade").sum(axis=1)) <= found.gain.high
    assert found.disagreeing == []


def test_the_answer_is_the_best_that_the_log_suffices_for():
    whole = evidence()
    bare = Evidence(whole.slates)
    assert evaluate(bare, OpeConfig()).estimator == "snrips"
    assert evaluate(bare, OpeConfig(estimators=("cascade_dr",))).estimator == "snrips"
    assert evaluate(bare, OpeConfig(estimators=("dm", "sips"))).estimator == "sips"
    shown = evaluate(whole, OpeConfig(estimators=("dm", "cascade_dr")))
    assert shown.estimator == "cascade_dr" and shown.estimates["dm"].low is None


def test_an_estimator_that_is_far_off_is_named():
    whole = evidence()
    off = Evidence(whole.slates, whole.values, position_weights=whole.slates.weights() * 3)
    assert evaluate(off, OpeConfig(estimators=("iips", "cascade_dr"))).disagreeing == ["iips"]


def test_every_estimator_of_the_config_is_there():
    names = msgspec.json.schema(OpeConfig)["$defs"]["OpeConfig"]["properties"]["estimators"]["items"]["enum"]
    assert set(names) == set(ESTIMATORS)
    slates, _ = drawn(10)
    whole = Evidence(slates, None, np.ones((10, tiny.S)), np.ones(10))
    assert {name for name in ESTIMATORS if estimate(name, whole) is not None} == set(ESTIMATORS) - {
        "dm",
        "cascade_dr",
        "switch_dr",
        "shrunk_dr",
    }


def test_slates_of_one_item_have_the_biased_ones_without_an_interval():
    whole, names = evidence(500, tiny.LOGGED * 0.7), ("switch_dr", "shrunk_dr", "cascade_dr")
    assert [*evaluate(whole, OpeConfig(estimators=names)).estimates] == ["cascade_dr"]
    slates, values = whole.slates, whole.values
    one = Evidence(
        Slates(slates.rewards[:, :1], slates.logged[:, :1], slates.target[:, :1], slates.users),
        Values(values.taken[:, :1], values.expected[:, :1]),
    )
    found = evaluate(one, OpeConfig(estimators=names))
    assert found.estimator == "cascade_dr" and [*found.estimates] == [*names]
    assert found.estimates["switch_dr"].low is None and found.estimates["shrunk_dr"].low is None


def test_bootstrap_intervals_by_the_config():
    whole = evidence(1_000, tiny.LOGGED * 0.7)
    normal, drawn_ = (evaluate(whole, OpeConfig(interval=name)).gain for name in ("linearised", "bootstrap-t"))
    assert normal.value == drawn_.value and normal.low != drawn_.low


def refused(slates, **limits):
    return refusal(diagnose(slates), **{"min_ess": 150.0, "max_weight_share": 0.05} | limits)


def test_no_overlap_gives_no_number():
    slates, _ = drawn(1_000)
    never = Slates(slates.rewards, slates.logged, np.full(slates.logged.shape, -np.inf), slates.users)
    found = evaluate(Evidence(never), OpeConfig())
    assert "the policy would draw none" in found.refusal and found.estimates == {} and found.gain is None
    assert b"NaN" not in msgspec.json.encode(found) and b"null" in msgspec.json.encode(found)
    assert found.logged.value > 0  # what was logged is known


def test_each_limit_refuses_by_itself():
    slates, _ = drawn(4_000)
    assert refused(slates) == ""
    assert "min_ess is 5,000" in refused(slates, min_ess=5_000.0)
    assert "one slate has" in refused(slates, max_weight_share=1e-4)
    few = Slates(slates.rewards, slates.logged, slates.target, np.arange(4_000) % 10)
    assert "10 users" in refused(few)


def test_wrong_propensities_show_in_the_mean_weight():
    """Each slot's logged probability is 10% too low: weights are a third too high, whatever was earned."""
    slates, _ = drawn(4_000, tiny.LOGGED * 0.7)
    wrong = Slates(slates.rewards, slates.logged + np.log(0.9), slates.target, slates.users)
    found = diagnose(wrong)
    assert found.mean_weight == pytest.approx(0.9**-3, abs=0.1) and found.mean_weight_z > 4
    assert "standard errors from 1" in refused(wrong)


def test_diagnostics_by_hand():
    logged = np.log([[0.5], [0.5], [0.25]])
    slates = Slates(np.ones((3, 1)), logged, np.array([[0.0], [-np.inf], [np.log(0.5)]]), np.array([1, 1, 2]))
    found = diagnose(slates, outside=0.25, num_refused=2)
    assert found.ess == pytest.approx(16 / 8) and found.ess_share == pytest.approx(2 / 3)
    assert found.largest_share == pytest.approx(0.5) and found.mean_weight == pytest.approx(4 / 3)
    assert found.never_shown == pytest.approx(1 / 3) and found.num_users == 2
    assert (found.outside, found.num_refused) == (0.25, 2)


@pytest.mark.parametrize("rounding", [1e-15, -1e-7])
def test_weights_that_are_all_alike_but_for_rounding_refuse_nothing(rounding):
    """A uniform policy on its own log: the spread is nothing, and the gap to 1 a huge number of times that."""
    logged = np.full((400, 1), -np.log(46))
    found = Slates(np.ones((400, 1)), logged, logged + rounding, np.arange(400))
    assert refused(found) == "" and diagnose(found).mean_weight_z == 0.0


def test_the_policy_that_logged_weighs_every_slate_alike():
    slates, _ = drawn(500, tiny.LOGGED)
    found = diagnose(slates)
    assert found.ess == pytest.approx(500) and found.mean_weight_z == 0.0
    assert refused(slates) == ""
