"""How users of the simulated shop live with notifications: the planted probabilities, as tables.

Each day a reachable user has one candidate push of some relevance; it is sent or held. A push that is opened makes the
day an active one, an own visit does too. What is unopened tires (fatigue), makes some users come less (habit), and may
make them turn notifications off. State: fatigue 0 to 5, habit 0 to 7, weekday; what would fall between two levels is
rounded at random to one of them, so that the plan over the grid is exact for what is played.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from workflows.shop.truth import Array

__all__ = ["ATTRIBUTES", "NUM_FATIGUE", "NUM_HABIT", "NUM_RELEVANCE", "WEEK", "Dynamics", "draw_dynamics", "rounded"]

NUM_FATIGUE, NUM_HABIT, WEEK, NUM_RELEVANCE = 6, 8, 7, 8
# The hidden type is one of each: how gladly a user opens, how a useless push is taken, and whether they come anyway.
ATTRIBUTES = ("interest", "patience", "loyalty")
INTEREST = (-0.6, 0.0, 0.7)
# Patience: a user who never opts out; one who tires; one whom a single useless push may lose, for good. Loyalty: one
# who needs a push, and one who comes anyway.
NUM_PATIENCE, NUM_LOYALTY = 3, 2
SHARES = ((0.3, 0.4, 0.3), (0.45, 0.5, 0.05), (0.55, 0.45))
SENSITIVITY = (0.0, 1.0, 1.6)
OPT_OUT_BIAS = (-np.inf, -6.6, -1.6)
OPT_OUT_BY_FATIGUE = 0.85
VISIT_BIAS, VISIT_BY_HABIT = (-2.6, -0.4), 0.36
OPEN_BIAS, OPEN_BY_RELEVANCE, OPEN_BY_FATIGUE, OPEN_BY_HABIT, OPEN_BY_LOYALTY = -2.6, 2.4, 0.35, 0.08, 0.9
OPEN_BY_PATIENCE = (-0.4, 0.0, 0.4)
LEAVES = (False, False, True)
WEEKDAY_VISIT = np.array([-0.2, -0.2, -0.1, 0.0, 0.2, 0.5, 0.3])
WEEKDAY_OPEN = np.array([0.3, 0.2, 0.1, 0.0, -0.2, -0.5, -0.4])
FATIGUE_KEEPS, FATIGUE_UNOPENED, FATIGUE_OPENED = 0.8, 1.0, 0.35
HABIT_UP, HABIT_DOWN, HABIT_DOWN_UNOPENED = 0.22, 0.10, 0.06
SCORE_NOISE = 1.0


@dataclass(frozen=True)
class Dynamics:
    """Probabilities by type T, fatigue F, habit H, weekday W, relevance R and score O.

    Attributes:
        traits: int64 [T, 3], which interest, patience and loyalty a type has.
        share: float64 [T], of users.
        visit: float64 [T, H, W], that a user comes unasked.
        open: float64 [T, F, H, W, R], that a push is opened.
        opt_out: float64 [T, F], that an unopened push makes a user turn notifications off.
        less_habit: float64 [T, 2], that the habit falls by a level on a day without a visit: not sent, or unopened.
        relevance: float64 [R], of the day's candidate.
        score: float64 [R, O], the ranker's score of a candidate, binned alike: relevance seen through noise.
        leaves: bool [T], whether who turns notifications off has removed the app and does not come back.
    """

    traits: Array
    share: Array
    visit: Array
    open: Array
    opt_out: Array
    less_habit: Array
    relevance: Array
    score: Array
    leaves: Array


def draw_dynamics() -> Dynamics:
    """The tables of the constants above; nothing is drawn."""
    traits = np.array(list(product(range(len(INTEREST)), range(NUM_PATIENCE), range(NUM_LOYALTY))))
    interest, patience, loyalty = traits.T
    share = np.prod([np.array(shares)[trait] for shares, trait in zip(SHARES, traits.T, strict=True)], axis=0)
    habit, fatigue = np.arange(NUM_HABIT), np.arange(NUM_FATIGUE)
    visit = _sigmoid(np.array(VISIT_BIAS)[loyalty][:, None, None] + VISIT_BY_HABIT * habit[:, None] + WEEKDAY_VISIT)
    relevance = (np.arange(NUM_RELEVANCE) + 0.5) / NUM_RELEVANCE
    by_type = (
        OPEN_BIAS + np.array(INTEREST)[interest] + OPEN_BY_LOYALTY * loyalty + np.array(OPEN_BY_PATIENCE)[patience]
    )
    opened = _sigmoid(
        by_type[:, None, None, None, None]
        - OPEN_BY_FATIGUE * fatigue[:, None, None, None]
        + OPEN_BY_HABIT * habit[:, None, None]
        + WEEKDAY_OPEN[:, None]
        + OPEN_BY_RELEVANCE * relevance
    )
    sensitivity = np.array(SENSITIVITY)[patience]
    opt_out = _sigmoid(np.array(OPT_OUT_BIAS)[patience][:, None] + OPT_OUT_BY_FATIGUE * sensitivity[:, None] * fatigue)
    less = HABIT_DOWN + HABIT_DOWN_UNOPENED * sensitivity[:, None] * np.array([0.0, 1.0])
    return Dynamics(
        traits,
        share,
        visit,
        opened,
        opt_out,
        less,
        np.full(NUM_RELEVANCE, 1 / NUM_RELEVANCE),
        _scores(),
        np.array(LEAVES)[patience],
    )


def rounded(after_unopened: bool | None) -> Array:
    """Fatigue from one day to the next, float64 [F, F]: None for no push, else whether it stayed unopened."""
    more = 0.0 if after_unopened is None else FATIGUE_UNOPENED if after_unopened else FATIGUE_OPENED
    value = np.minimum(FATIGUE_KEEPS * np.arange(NUM_FATIGUE) + more, NUM_FATIGUE - 1)
    low = np.floor(value).astype(np.int64)
    chance, rows = np.zeros((NUM_FATIGUE, NUM_FATIGUE)), np.arange(NUM_FATIGUE)
    chance[rows, low] = 1.0 - (value - low)
    chance[rows, np.minimum(low + 1, NUM_FATIGUE - 1)] += value - low
    return chance


def _scores() -> Array:
    """Chance of each score bin given the relevance bin: a discretised normal around it, float64 [R, O]."""
    bins = np.arange(NUM_RELEVANCE)
    weight = np.exp(-0.5 * ((bins[None, :] - bins[:, None]) / SCORE_NOISE) ** 2)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _sigmoid(logit: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-logit)))
