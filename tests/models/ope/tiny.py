"""All slates of a tiny problem, each once, so that a mean under the logging policy is a sum and no simulation."""

from __future__ import annotations

from itertools import permutations

import msgspec
import numpy as np

from models.ope.evaluate import Evidence
from models.ope.slates import Slates, Values

C, S = 5, 3
LOGGED = np.array([1.0, 0.2, -0.5, 0.7, -1.0])
TARGET = np.array([-0.3, 0.9, 0.4, -1.2, 0.5])
RELEVANCE = np.array([0.6, 0.1, 0.9, 0.4, 0.7])
CURVE = np.array([1.0, 0.7, 0.4])
ALL = np.array(list(permutations(range(C), S)))


def step(utilities, prefix):
    """Probability of each item in the next slot, by hand."""
    weights = [0.0 if item in prefix else float(np.exp(utilities[item])) for item in range(len(utilities))]
    return np.array(weights) / sum(weights)


def chances(utilities, slates=ALL):
    """Log probability of each slot of each slate, by a double loop."""
    return np.array(
        [[np.log(step(utilities, slate[:k])[slate[k]]) for k in range(len(slate))] for slate in slates.tolist()]
    )


def rewards(kind="independent"):
    """Mean rewards of the slots of every slate: each item by itself, or less after the good ones above it."""
    found = RELEVANCE[ALL] * CURVE
    if kind == "cascade":
        above = np.cumsum(RELEVANCE[ALL], axis=1) - RELEVANCE[ALL]
        return found * np.exp(-above)
    if kind == "whole":
        return found * (1 + 0.5 * (RELEVANCE[ALL][:, ::-1]))
    return found


def slates(kind="independent", target=TARGET):
    return Slates(rewards(kind), chances(LOGGED), chances(target), np.arange(len(ALL)))


def under(utilities, values):
    """The mean of values [slates] if slates are drawn by these utilities."""
    return float(np.exp(chances(utilities).sum(axis=1)) @ values)


def wrong_values(seed=0):
    """Values of a model that knows nothing, consistent under the target: expected is the mean of taken."""
    rng = np.random.default_rng(seed)
    cache: dict[tuple[int, ...], float] = {}

    def q(prefix):
        return cache.setdefault(prefix, float(rng.normal()))

    taken, expected = np.zeros(ALL.shape), np.zeros(ALL.shape)
    for row, slate in enumerate(ALL.tolist()):
        for k in range(S):
            prefix = tuple(slate[:k])
            left = [item for item in range(C) if item not in prefix]
            taken[row, k] = q((*prefix, slate[k]))
            expected[row, k] = sum(step(TARGET, prefix)[item] * q((*prefix, item)) for item in left)
    return Values(taken, expected)


def drawn(num, target=TARGET, *, slates_per_user=1, seed=0):
    """A log of the tiny problem: slates and clicks drawn, and which slates they are."""
    rng = np.random.default_rng(seed)
    whole = slates("cascade", target)
    rows = rng.choice(len(ALL), num, p=np.exp(whole.logged.sum(axis=1)))
    clicks = (rng.random((num, S)) < whole.rewards[rows]).astype(float)
    return Slates(clicks, whole.logged[rows], whole.target[rows], np.arange(num) // slates_per_user), rows


def evidence(num=4_000, target=TARGET, **kwargs):
    found, rows = drawn(num, target, **kwargs)
    values = wrong_values()
    return Evidence(found, msgspec.structs.replace(values, taken=values.taken[rows], expected=values.expected[rows]))
