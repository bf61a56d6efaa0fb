"""What a log says of a target policy whose utilities are known at every logged request."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from models.ope.evaluate import Evidence
from models.ope.pseudo_inverse import can_be_listed, pseudo_inverse_weights
from models.ope.reward_model import NUM_FOLDS, RewardModel, fit_reward_model, folds_of, slate_values
from models.ope.slates import Floats, Slates, Values
from models.ope.softmax import next_log_probabilities, position_probabilities
from runtime.explore import NO_PLACE, log_propensities
from workflows.decisions.choices import Choices
from workflows.decisions.log import DecisionLog

__all__ = ["ROUNDING", "evidence_of", "explained"]

CHUNK_CELLS = 4_000_000
# Without chance the best of what is left is shown; what comes next is this much less likely, and so never drawn.
CERTAIN = 1e6
# How far a logged propensity may be from the one that its utilities give; logs hold float32.
ROUNDING = 1e-3


def evidence_of(log: DecisionLog, choices: Choices, wanted: Collection[str]) -> Evidence:
    """Probabilities of the logged slates under the policy, a cross-fitted model of the reward, and what else is wanted.

    Args:
        log: of N slates.
        choices: of the policy, with a temperature for each of them.
        wanted: estimators; weights of positions and of listed slates are computed for those that need them alone.
    """
    utilities = scaled(choices.scores, choices.temperature, choices.candidates)
    places = places_of(log.items, choices.candidates)
    target = target_log_probabilities(log.items, places, utilities)
    slates = Slates(log.rewards, log.log_propensity, target, log.users)
    models = _models(log, places, choices.scores)
    values, outside = _values(log, places, choices, utilities, models)
    logged = _logged_utilities(log, choices) if {"iips", "pseudo_inverse"} & set(wanted) else None
    of_slates = logged is not None and "pseudo_inverse" in wanted and can_be_listed(logged.shape[1], places.shape[1])
    return Evidence(
        slates=slates,
        values=values,
        position_weights=_position_weights(log, places, utilities) if logged is not None and "iips" in wanted else None,
        slate_weights=pseudo_inverse_weights(logged, utilities, places) if logged is not None and of_slates else None,
        outside=outside,
        num_refused=len(log.refused),
    )


def scaled(scores: Floats, temperature: Floats, candidates: NDArray[np.int64]) -> Floats:
    """Utilities over temperature, below their largest, float64 [N, C]; without chance where the temperature is 0."""
    highest = scores.max(axis=1, keepdims=True)
    gaps = scores - np.where(np.isfinite(highest), highest, 0.0)
    order = np.lexsort((candidates, -scores), axis=1)
    ranks = np.empty(order.shape)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(order.shape[1], dtype=float), order.shape), axis=1)
    certain = np.where(np.isfinite(scores), -CERTAIN * ranks, -np.inf)
    warm = temperature[:, None]
    found: Floats = np.where(warm > 0, gaps / np.where(warm > 0, warm, 1.0), certain)
    return found


def places_of(items: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which candidate each slot shows, int64 [N, S]; -1: none of them, or no such slot."""
    same = (items[:, :, None] == candidates[:, None, :]) & (items >= 0)[:, :, None]
    return np.where(same.any(axis=2), same.argmax(axis=2), NO_PLACE)


def target_log_probabilities(items: NDArray[np.int64], places: NDArray[np.int64], utilities: Floats) -> Floats:
    """Of each slot given the slots before it, by the code that draws served slates, float64 [N, S].

    Args:
        items: int64 [N, S]; -1: no such slot.
        places: see `places_of`.
        utilities: see `scaled`.
    """
    never = (places < 0) & (items >= 0)
    after = np.logical_or.accumulate(never, axis=1)
    found = log_propensities(utilities, np.where(after, NO_PLACE, places), 1.0)
    return np.where(after & (items >= 0), -np.inf, found)


def explained(log: DecisionLog) -> NDArray[np.bool_]:
    """Whether a softmax of the logged utilities gives each slate's propensities, bool [N]; false where it has none."""
    told = log.has_candidates & ~np.isnan(log.temperature)
    found = told.copy()
    utilities = scaled(log.candidate_scores[told], log.temperature[told], log.candidates[told])
    items = log.items[told]
    again = target_log_probabilities(items, places_of(items, log.candidates[told]), utilities)
    found[told] = np.isclose(again, log.log_propensity[told], rtol=0, atol=ROUNDING).all(axis=1)
    return found


def _models(log: DecisionLog, places: NDArray[np.int64], scores: Floats) -> list[RewardModel]:
    """A model for each fold, fitted on all others."""
    shown = places >= 0
    of_shown = np.where(shown, np.take_along_axis(scores, np.maximum(places, 0), axis=1), 0.0)
    folds = folds_of(log.users)
    return [
        fit_reward_model(of_shown[folds != fold], log.rewards[folds != fold], shown[folds != fold])
        for fold in range(NUM_FOLDS)
    ]


def _values(
    log: DecisionLog, places: NDArray[np.int64], choices: Choices, utilities: Floats, models: list[RewardModel]
) -> tuple[Values, float | None]:
    """Values of every slate, and the share of the target's choices that the log's policy would never have made."""
    taken, expected = np.zeros(places.shape), np.zeros(places.shape)
    folds, step = folds_of(log.users), max(1, CHUNK_CELLS // (places.shape[1] * utilities.shape[1]))
    outside, known = 0.0, 0
    for fold, model in enumerate(models):
        rows = np.flatnonzero(folds == fold)
        for part in (rows[start : start + step] for start in range(0, len(rows), step)):
            following = next_log_probabilities(utilities[part], places[part])
            following[log.items[part] < 0] = -np.inf
            found = slate_values(model, choices.scores[part], following, places[part])
            taken[part], expected[part] = found.taken, found.expected
            told = log.has_candidates[part]
            if told.any():
                chosen = choices.candidates[part][told]
                foreign = ~(chosen[:, :, None] == log.candidates[part][told][:, None, :]).any(axis=2)
                outside += float((np.exp(following[told]) * foreign[:, None, :]).sum())
                known += int((log.items[part][told] >= 0).sum())
    return Values(taken, expected), outside / known if known else None


def _logged_utilities(log: DecisionLog, choices: Choices) -> Floats | None:
    """The logging policy's utilities of the target's candidates [N, C], where its softmax explains every propensity."""
    if not explained(log).all():
        return None
    utilities = scaled(log.candidate_scores, log.temperature, log.candidates)
    at = places_of(choices.candidates, log.candidates)
    return np.where(at >= 0, np.take_along_axis(utilities, np.maximum(at, 0), axis=1), -np.inf)


def _position_weights(log: DecisionLog, places: NDArray[np.int64], utilities: Floats) -> Floats:
    own = scaled(log.candidate_scores, log.temperature, log.candidates)
    logged = position_probabilities(own, places_of(log.items, log.candidates))
    return np.divide(position_probabilities(utilities, places), logged, out=np.zeros(places.shape), where=logged > 0)
