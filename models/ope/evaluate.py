"""All estimators of one log under one target policy, with intervals, diagnostics, or the sentence that refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.metrics.bootstrap import Estimate, Resamples
from models.ope.bandit import doubly_robust, least_error, shrunk_doubly_robust, switch_doubly_robust
from models.ope.config import OpeConfig
from models.ope.diagnostics import Diagnostics, diagnose, refusal
from models.ope.intervals import bootstrap_t, linearised
from models.ope.pseudo_inverse import pseudo_inverse
from models.ope.slate import (
    cascade_direct,
    cascade_doubly_robust,
    independent_ips,
    reward_interaction_ips,
    self_normalised_reward_interaction_ips,
    self_normalised_slate_ips,
    slate_ips,
)
from models.ope.slates import Floats, Slates, Values
from models.ope.terms import Terms, mean_of

__all__ = ["CAP", "ESTIMATORS", "Evaluation", "Evidence", "estimate", "evaluate"]

CAP = 20.0
CHOICES = (np.inf, 1_000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
NUM_RESAMPLES, SEED = 1_000, 0


class Evidence(msgspec.Struct, frozen=True):
    """What is known of a log under a target policy.

    Attributes:
        slates: rewards and probabilities.
        values: of a model of the reward; None: there is none.
        position_weights: float64 [N, S], see `models.ope.slate.independent_ips`; None: not known.
        slate_weights: float64 [N], see `models.ope.pseudo_inverse`; None: there are too many slates.
        outside: see Diagnostics.
        num_refused: see Diagnostics.
    """

    slates: Slates
    values: Values | None = None
    position_weights: Floats | None = None
    slate_weights: Floats | None = None
    outside: float | None = None
    num_refused: int = 0


class Evaluation(msgspec.Struct, frozen=True):
    """What a policy would have earned a slate.

    Attributes:
        refusal: why no number is given; empty where one is.
        estimator: which of `estimates` is the answer.
        estimates: estimator -> a reward a slate; empty where it is refused.
        logged: what the logged slates earned.
        gain: the answer minus it, with the interval of the difference; null where it is refused.
        clipped: the answer if no weight counts for more than 20, which has no interval; null where it cannot be had.
        disagreeing: estimators whose interval, or value where they have none, does not touch the answer's interval.
        diagnostics: of the log.
    """

    refusal: str
    estimator: str
    estimates: dict[str, Estimate]
    logged: Estimate
    gain: Estimate | None
    clipped: float | None
    disagreeing: list[str]
    diagnostics: Diagnostics


def _direct(evidence: Evidence) -> Terms | None:
    return cascade_direct(evidence.values) if evidence.values else None


def _independent(evidence: Evidence) -> Terms | None:
    weights = evidence.position_weights
    return None if weights is None else independent_ips(evidence.slates, weights)


def _pseudo_inverse(evidence: Evidence) -> Terms | None:
    weights = evidence.slate_weights
    return None if weights is None else pseudo_inverse(evidence.slates.rewards.sum(axis=1), weights)


def _switch(evidence: Evidence) -> Terms | None:
    return _biased(evidence, switch_doubly_robust)


def _shrunk(evidence: Evidence) -> Terms | None:
    return _biased(evidence, shrunk_doubly_robust)


def _biased(evidence: Evidence, how: Callable[[Floats, Floats, Floats, Floats, float], Terms]) -> Terms | None:
    """For slates of one item: with the limit, of CHOICES, whose estimated error is least."""
    slates, values = evidence.slates, evidence.values
    if values is None or slates.rewards.shape[1] > 1:
        return None
    rows = slates.rewards[:, 0], slates.weights()[:, 0], values.taken[:, 0], values.expected[:, 0]
    return how(*rows, least_error(lambda choice: how(*rows, choice), doubly_robust(*rows), CHOICES))


def _cascade(evidence: Evidence) -> Terms | None:
    return cascade_doubly_robust(evidence.slates, evidence.values) if evidence.values else None


# The answer is the last of those that are configured and can be had.
ESTIMATORS: Mapping[str, Callable[[Evidence], Terms | None]] = {
    "dm": _direct,
    "switch_dr": _switch,
    "shrunk_dr": _shrunk,
    "iips": _independent,
    "pseudo_inverse": _pseudo_inverse,
    "sips": lambda evidence: slate_ips(evidence.slates),
    "snips": lambda evidence: self_normalised_slate_ips(evidence.slates),
    "rips": lambda evidence: reward_interaction_ips(evidence.slates),
    "snrips": lambda evidence: self_normalised_reward_interaction_ips(evidence.slates),
    "cascade_dr": _cascade,
}
# Their spread does not show how far they are off.
BIASED = ("dm", "switch_dr", "shrunk_dr")
FALLBACK = "snrips"


def estimate(name: str, evidence: Evidence) -> Terms | None:
    """One of ESTIMATORS; None: the evidence lacks what it needs."""
    return ESTIMATORS[name](evidence)


def evaluate(evidence: Evidence, config: OpeConfig) -> Evaluation:
    """Estimate, or refuse.

    Args:
        evidence: of one slate at least.
        config: which estimators, which interval, and when to refuse.
    """
    slates = evidence.slates
    found = diagnose(slates, outside=evidence.outside, num_refused=evidence.num_refused)
    logged = mean_of(slates.rewards.sum(axis=1))
    told = _interval(logged, slates.users, config)
    why = refusal(found, min_ess=config.min_ess, max_weight_share=config.max_weight_share)
    if why:
        return Evaluation(why, "", {}, told, None, None, [], found)
    terms: dict[str, Terms] = {
        name: got for name in ESTIMATORS if name in config.estimators and (got := estimate(name, evidence))
    }
    if not set(terms) - set(BIASED):  # none of them can be had from this log
        terms |= {FALLBACK: self_normalised_reward_interaction_ips(slates)}
    answer = [name for name in terms if name not in BIASED][-1]
    estimates = {
        name: Estimate(got.value) if name in BIASED else _interval(got, slates.users, config)
        for name, got in terms.items()
    }
    return Evaluation(
        refusal="",
        estimator=answer,
        estimates=estimates,
        logged=told,
        gain=_interval(terms[answer] - logged, slates.users, config),
        clipped=cascade_doubly_robust(slates, evidence.values, cap=CAP).value if evidence.values else None,
        disagreeing=[name for name, got in estimates.items() if _apart(got, estimates[answer])],
        diagnostics=found,
    )


def _apart(first: Estimate, second: Estimate) -> bool:
    lows, highs = (
        [each.value if end is None else end for each, end in zip((first, second), ends, strict=True)]
        for ends in ((first.low, second.low), (first.high, second.high))
    )
    return max(lows) > min(highs)


def _interval(terms: Terms, users: NDArray[np.int64], config: OpeConfig) -> Estimate:
    if config.interval == "bootstrap-t":
        return bootstrap_t(terms, users, Resamples(NUM_RESAMPLES, SEED))
    return linearised(terms, users)
