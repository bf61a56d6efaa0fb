"""The rule of the gate, on evidence whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble.evaluation.gate_config import GateConfig
from operations.gate.compare import calibration_change, logloss_change, ndcg_change, slice_changes
from operations.gate.decide import decide
from operations.gate.rows import Decision, Quality, Row, Scores
from tests.operations.gate.evidence import DAY_NS, evidence, quality

LIMITS = GateConfig()


def row(decision: Decision, start: str) -> Row:
    return next(row for row in decision.rows if row.name.startswith(start))


def test_better_beyond_chance_is_released():
    decision = decide(evidence(0.2), LIMITS)
    assert (decision.verdict, row(decision, "NDCG@10, rel").met) == ("RELEASE", True)
    assert "better beyond chance" in decision.why
    assert all(each.met and each.missing is None for each in decision.rows)


def test_the_same_model_is_held():
    same = quality(0.0, noise=0.0)
    assert decide(evidence(quality=same), LIMITS).verdict == "HOLD"
    assert decide(evidence(quality=same), LIMITS).why == "everything holds, and nothing would be gained"


def test_worse_beyond_chance_is_rejected_and_named():
    decision = decide(evidence(-0.2), LIMITS)
    assert decision.verdict == "REJECT"
    assert decision.why.startswith("worse than it may be: NDCG@10, relative change")
    changed = row(decision, "NDCG@10, rel")
    assert changed.met is False and changed.high < 0 and changed.value < -0.1


def test_too_few_users_to_tell_is_held_and_says_so():
    few = quality(0.0, num_users=60, noise=0.3, seed=3)
    decision = decide(evidence(quality=few), LIMITS)
    told = row(decision, "NDCG@10, rel")
    assert (decision.verdict, told.met) == ("HOLD", None)
    assert told.missing == "60 users are too few to tell a loss of that size from chance"


@pytest.mark.parametrize(
    ("other", "verdict", "name"),
    [
        ({"newest": (1 * DAY_NS, 2 * DAY_NS)}, "REJECT", "newest event"),
        ({"newest": (2 * DAY_NS, 0)}, "HOLD", "newest event"),
        ({"num_differing": 1}, "REJECT", "own answers"),
        ({"num_differing": None}, "HOLD", "own answers"),
        ({"num_compared": 0}, "REJECT", "users whose slates"),
        ({"targets": None}, "HOLD", "evaluate.targets"),
        ({"quality": "nobody to compare"}, "HOLD", "NDCG@10"),
        ({"scores": "nothing to compare"}, "HOLD", "log loss"),
        ({"further": (Row("errors", 0.01, 0.0, False),)}, "REJECT", "errors"),
    ],
)
def test_each_row_alone_decides_against_a_better_candidate(other, verdict, name):
    decision = decide(evidence(0.2, **other), LIMITS)
    assert decision.verdict == verdict
    assert name in decision.why
    assert row(decision, name).met is (False if verdict == "REJECT" else None)


def test_older_events_are_to_be_sought_in_what_came_in():
    assert row(decide(evidence(newest=(1, 2)), LIMITS), "newest event").family == "requests"


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        ({"value": 0.3, "met": False, "missing": None}, "REJECT"),
        ({"value": None, "met": None, "missing": "sources.ease.recall@10"}, "HOLD"),
    ],
)
def test_a_target_of_the_config_counts(target, verdict):
    given = [{"name": "a line", "target": 0.4, **target}]
    assert decide(evidence(0.2, targets=given), LIMITS).verdict == verdict


def test_a_ranker_without_probabilities_has_no_rows_of_them():
    decision = decide(evidence(0.2, scores=None), LIMITS)
    assert decision.verdict == "RELEASE" and not any("log loss" in each.name for each in decision.rows)


def test_worse_probabilities_are_rejected():
    decision = decide(evidence(0.2, worse=1.0), LIMITS)
    assert decision.verdict == "REJECT"
    assert row(decision, "log loss").met is False and row(decision, "calibration").met is False


@pytest.mark.parametrize(
    ("other", "why"),
    [({"served_age_days": 31.0}, "31 days old"), ({"alarms": ("ece", "recall")}, "in alarm (ece, recall)")],
)
def test_an_equal_candidate_replaces_a_version_that_is_old_or_in_alarm(other, why):
    decision = decide(evidence(quality=quality(0.0, noise=0.0), **other), LIMITS)
    assert decision.verdict == "RELEASE" and why in decision.why


def test_a_slice_that_loses_is_rejected_though_the_whole_gains():
    whole = quality(0.3)
    lost = whole.candidate.copy()
    lost[whole.slices["part 1"]] *= 0.7
    decision = decide(evidence(quality=Quality(lost, whole.served, whole.slices)), LIMITS)
    assert decision.verdict == "REJECT" and decision.why == "worse than it may be: NDCG@10 of part 1, relative change"
    assert not any("few" in each.name for each in decision.rows)


def test_holm_by_hand():
    """Two slices whose chances are .02 and .03: alone each is below .025 or not, together neither is."""
    rng = np.random.default_rng(5)
    served = rng.random(2_000) + 1.0
    off = rng.normal(0, 0.4, 1_000)
    off = (off - off.mean()) / off.std() * 0.4
    error = 0.4 / np.sqrt(1_000) / served[:1_000].mean()
    candidate = served.copy()
    # 2.05 standard errors below the limit: a chance of .020.
    candidate[:1_000] += off + (-0.05 - 2.05 * error) * served[:1_000].mean()
    first = {"first": np.arange(2_000) < 1_000}
    both = first | {"second": np.arange(2_000) >= 1_000}
    alone = slice_changes(Quality(candidate, served, first), LIMITS)
    together = slice_changes(Quality(candidate, served, both), LIMITS)
    assert [change.is_worse for change in alone] == [True]
    assert [change.is_worse for change in together] == [False, False]


def test_changes_by_hand():
    served, candidate = np.array([0.5, 0.5, 0.0, 1.0]), np.array([0.5, 1.0, 0.0, 1.0])
    assert ndcg_change(Quality(candidate, served), LIMITS).value == pytest.approx(0.25)
    given = Scores(np.array([1, 0]), np.array([0.5, 0.5]), np.array([0.5, 0.25]), np.array([0, 1]))
    before, after = -(np.log(0.5) + np.log(0.75)), -2 * np.log(0.5)
    assert logloss_change(given, LIMITS).value == pytest.approx(after / before - 1)
    # Bins of .05: served .5 and .25 are off by .5 and .25, the candidate's one bin by nothing.
    assert calibration_change(given, LIMITS).value == pytest.approx(-0.75)


def test_nobody_finds_anything():
    nothing, something = np.zeros(5), np.ones(5)
    assert ndcg_change(Quality(nothing, nothing), LIMITS).value == 0.0
    assert ndcg_change(Quality(something, nothing), LIMITS).low == 1.0


def test_equal_evidence_decides_alike():
    assert decide(evidence(0.01), LIMITS) == decide(evidence(0.01), LIMITS)
