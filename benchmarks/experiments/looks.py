"""Users who come back, summed up at every look: three metrics of two variants between which nothing differs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from operations.experiments.arms import Arm, Difference, difference
from operations.experiments.sequence import tuned

__all__ = ["FIRST_USERS", "NUM_LOOKS", "alarms", "false_alarms", "two_variants"]

# Four weeks, seven looks a day.
NUM_LOOKS = 196
# Nothing is said of fewer users a variant.
FIRST_USERS = 100
ITEMS_A_SLATE = 10
Floats = NDArray[np.float64]


def two_variants(rng: np.random.Generator, num_users: int, num_looks: int) -> Mapping[str, tuple[Arm, Arm]]:
    """Sums of both variants at every look, by metric.

    Users arrive over the whole time and come back at rates of their own; each has an inclination to click of their
    own, so that the impressions of one are alike. What a click earns has a long tail, and some users' answers are slow
    more often than others'.

    Args:
        rng: of every draw.
        num_users: of a variant.
        num_looks: at which sums are taken.
    """
    variants = [_variant(rng, num_users, num_looks) for _ in range(2)]
    return {name: (variants[0][name], variants[1][name]) for name in variants[0]}


def _variant(rng: np.random.Generator, num_users: int, num_looks: int) -> Mapping[str, Arm]:
    arrival = rng.integers(0, num_looks, num_users)
    rate = rng.gamma(0.5, 2.0 * 20 / num_looks, num_users)
    sessions = rng.poisson(rate[:, None], (num_users, num_looks))
    looks = np.arange(num_looks)
    sessions[looks < arrival[:, None]] = 0
    sessions[np.arange(num_users), arrival] += 1
    clicks = rng.binomial(ITEMS_A_SLATE * sessions, rng.beta(1.6, 18.4, num_users)[:, None])
    earned = np.where(clicks > 0, rng.gamma(np.maximum(clicks, 1) * 0.1, 200.0), 0.0)
    slow = rng.binomial(sessions, rng.beta(0.5, 9.5, num_users)[:, None])
    shown = np.cumsum(sessions, axis=1, dtype=np.float64)
    users = (arrival[:, None] <= looks).sum(axis=0)
    counted = {"click-through": (clicks, ITEMS_A_SLATE), "earned a slate": (earned, 1), "slow answers": (slow, 1)}
    return {name: _sums(users, values, scale * shown) for name, (values, scale) in counted.items()}


def _sums(users: NDArray, values: NDArray, x: Floats) -> Arm:
    """The sums [looks] of values [users, looks] that come at each look, counted by the running x [users, looks]."""
    y = np.cumsum(values, axis=1, dtype=np.float64)
    squares = (np.einsum("ul,ul->l", *pair) for pair in ((y, y), (x, y), (x, x)))
    return Arm(users, y.sum(axis=0), x.sum(axis=0), *squares)


def alarms(found: Difference, users: NDArray, alpha: float) -> tuple[bool, bool]:
    """Whether a confidence sequence, and whether a test of one look, ever says that variants differ.

    Args:
        found: differences [looks].
        users: of a variant [looks].
        alpha: of both.
    """
    from scipy.special import ndtri

    value, variance = (np.asarray(each, np.float64) for each in (found.value, found.variance))
    ready = (users >= FIRST_USERS) & np.isfinite(variance)
    if not ready.any():
        return False, False
    value, variance, users = value[ready], variance[ready], users[ready]
    # As the product does: at the first look, the variance at the planned end is guessed from what is known by then.
    sequence = tuned(alpha, float(variance[0] * users[0] / users[-1]))
    return (
        bool((np.abs(value) > sequence.half_width(variance)).any()),
        bool((np.abs(value) > -ndtri(alpha / 2) * np.sqrt(variance)).any()),
    )


def false_alarms(seed: int, num_users: int, num_looks: int, alpha: float) -> Mapping[str, tuple[bool, bool]]:
    """What `alarms` says of each metric in one experiment in which nothing differs."""
    arms = two_variants(np.random.default_rng(seed), num_users, num_looks)
    return {
        name: alarms(difference(*pair), np.minimum(pair[0].users, pair[1].users), alpha) for name, pair in arms.items()
    }
