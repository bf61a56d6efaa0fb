"""What the log tells of a user's taste to one who knows all else of the shop: the bound for whoever learns from it.

Of each user, x = (taste_start, taste_end, budget) is unknown; items, effects of the context, the examination of
positions, the logging policy and the distribution of x by age group and spend are given. The posterior of x is taken as
normal around its mode (Laplace), found by Fisher scoring over three things that the log shows: which examined
impressions were clicked, which clicks were bought, and which items the policy, which follows the taste, chose to show.
What chance showed tells nothing by being shown; where the log does not tell the two apart, an item may be either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workflows.shop.policy import MIX, POPULAR, TASTE, TASTE_SHARPNESS, LoggingPolicy
from workflows.shop.truth import (
    PRICE_WEIGHT,
    PURCHASE_BIAS,
    PURCHASE_PRICE_WEIGHT,
    PURCHASE_TASTE_WEIGHT,
    TASTE_WEIGHT,
    Array,
    sigmoid,
)
from workflows.shop.world import NUM_AGE_GROUPS, SECOND_NS, World
from workflows.shop.write import LOG_SPEND, LOG_SPEND_BY_BUDGET, LOG_SPEND_NOISE

__all__ = ["Inference", "Log", "Tastes"]

NUM_STEPS = 12
LARGEST_STEP = 0.5
HOUR_S = 3_600


@dataclass(frozen=True)
class Log:
    """Impressions in order of their users, an array of each [R].

    Attributes:
        users, items: int64, rows.
        at: int64, epoch nanoseconds.
        device: int64, codes.
        position: 1 first.
        click, purchase: 0 or 1.
        random: bool, whether the position was left to chance; None: the log does not say.
    """

    users: Array
    items: Array
    at: Array
    device: Array
    position: Array
    click: Array
    purchase: Array
    random: Array | None = None


@dataclass(frozen=True)
class Tastes:
    """Normal posteriors of x = (taste_start, taste_end, budget) of B users.

    Attributes:
        world: what is known.
        mean: float64 [B, 2D + 1].
        covariance: float64 [B, 2D + 1, 2D + 1].
    """

    world: World
    mean: Array
    covariance: Array

    def click_probability(self, *, at: Array, device: Array, hour: Array) -> Array:
        """Expected probability that an examined impression is clicked, of every item.

        E[sigmoid(z)] of a normal z with mean m and variance v is taken as sigmoid(m / sqrt(1 + pi v / 8)), MacKay's
        approximation (The evidence framework applied to classification networks, 1992).

        Args:
            at: int64 [B], the instant of each user's question, epoch nanoseconds.
            device: int64 [B], codes.
            hour: int64 [B], 0 to 23.

        Returns:
            float32 [B, N].
        """
        truth = self.world.truth
        vectors, pull = truth.item_vectors.astype(np.float64), TASTE_WEIGHT * _scale(self.world)
        dim = vectors.shape[1]
        cos, sin = (weight[:, None] for weight in truth.drift(at))
        mean, spread = self.mean, self._at_the_instant(cos, sin)
        gap = truth.price_level - mean[:, -1:]
        slope = 2.0 * PRICE_WEIGHT * gap
        squares = (vectors[:, :, None] * vectors[:, None, :]).reshape(len(vectors), -1)
        variance = pull**2 * spread[:, :dim, :dim].reshape(len(mean), -1) @ squares.T
        variance += slope**2 * spread[:, -1:, -1] + 2.0 * pull * slope * (spread[:, :dim, -1] @ vectors.T)
        fixed = truth.fixed_logit(np.arange(len(vectors)), device[:, None], hour[:, None], at[:, None])
        logit = pull * ((cos * mean[:, :dim] + sin * mean[:, dim:-1]) @ vectors.T)
        logit += fixed - PRICE_WEIGHT * (gap**2 + spread[:, -1:, -1])
        return sigmoid(logit / np.sqrt(1.0 + np.pi / 8.0 * variance))

    def _at_the_instant(self, cos: Array, sin: Array) -> Array:
        """Covariance of (taste at the instant, budget), [B, D + 1, D + 1]."""
        dim = self.mean.shape[1] // 2
        mix = np.zeros((len(self.mean), dim + 1, 2 * dim + 1))
        mix[:, np.arange(dim), np.arange(dim)] = cos
        mix[:, np.arange(dim), dim + np.arange(dim)] = sin
        mix[:, -1, -1] = 1.0
        return np.asarray(mix @ self.covariance @ mix.transpose(0, 2, 1))


class Inference:
    """From a log to the posteriors of its users' x.

    Args:
        world: what is known; its tastes are used for their distribution by age group alone.
        log: what was seen.
        random_share: share of the positions that are left to chance.
    """

    def __init__(self, world: World, log: Log, random_share: float = 0.0) -> None:
        self.world, self.log = world, log
        self._policy, self._prior = _Policy(world, 0.0 if log.random is not None else random_share), _Prior(world)

    def tastes(self, users: Array, spend: Array) -> Tastes:
        """The posteriors of some users, by Fisher scoring with bounded steps; holds 300 float64 an impression.

        Args:
            users: int64 [B], distinct user rows.
            spend: float64 [B], the feature of the users table; NaN where it is unknown.
        """
        prior_mean, precision = self._prior.of(users, spend)
        starts, ends = np.searchsorted(self.log.users, users), np.searchsorted(self.log.users, users, side="right")
        spans = [np.arange(start, end) for start, end in zip(starts, ends, strict=True)]
        part = _Part(self.world, self._policy, self.log, spans)
        x = prior_mean.copy()
        for _ in range(NUM_STEPS):
            gradient, information = part.evidence(x)
            gradient = gradient + np.einsum("uij,uj->ui", precision, prior_mean - x)
            step = np.linalg.solve(precision + information, gradient[:, :, None])[:, :, 0]
            length = np.linalg.norm(step, axis=1, keepdims=True)
            x += step * np.minimum(1.0, LARGEST_STEP / np.maximum(length, LARGEST_STEP))
        return Tastes(self.world, x, np.linalg.inv(precision + part.evidence(x)[1]))


class _Policy:
    """P(shown item | taste) and its gradient; redraws of repeated items are left aside.

    Args:
        world: what is known.
        random_share: share of the impressions asked about that chance may have shown.
    """

    def __init__(self, world: World, random_share: float) -> None:
        self.known = LoggingPolicy(world)
        self.vectors = self.known.category_vectors.astype(np.float64)
        self.category = world.truth.item_category
        popular, taste = ((1.0 - random_share) * MIX[part] for part in (POPULAR, TASTE))
        self.always = popular * world.item_weight + random_share / len(world.item_weight)
        self.within = taste * world.item_weight / self.known.category_share[self.category]
        self.sharpness = TASTE_SHARPNESS * np.sqrt(self.vectors.shape[1])

    def score(self, taste: Array, items: Array) -> Array:
        """Gradient of log P(item | taste) in the taste, float64 [R, D] of tastes [R, D] and items [R]."""
        weight = self.known.category_weights(taste)
        chance = weight / weight.sum(axis=1, keepdims=True)
        category = self.category[items]
        by_taste = self.within[items] * chance[np.arange(len(items)), category]
        share = by_taste / (by_taste + self.always[items])
        return np.asarray(self.sharpness * share[:, None] * (self.vectors[category] - chance @ self.vectors))


class _Part:
    """The impressions of some users, and what they say at given x."""

    def __init__(self, world: World, policy: _Policy, log: Log, spans: Sequence[Array]) -> None:
        truth, rows = world.truth, np.concatenate(spans)
        self.policy, self.num_users = policy, len(spans)
        self.owner = np.repeat(np.arange(len(spans)), [len(span) for span in spans])
        self.items, at = log.items[rows], log.at[rows]
        self.cos, self.sin = (weight[:, None].astype(np.float64) for weight in truth.drift(at))
        vectors = truth.item_vectors[self.items].astype(np.float64)
        self.dim = vectors.shape[1]
        self.pull = _scale(world) * np.concatenate([self.cos * vectors, self.sin * vectors], axis=1)
        self.level = truth.price_level[self.items]
        self.fixed = truth.fixed_logit(self.items, log.device[rows], at // (HOUR_S * SECOND_NS) % 24, at)
        self.examined = truth.examination(log.position[rows]).astype(np.float64)
        self.click, self.purchase = (np.asarray(of[rows], np.float64) for of in (log.click, log.purchase))
        self.chosen = np.ones(len(rows)) if log.random is None else (~log.random[rows]).astype(np.float64)

    def evidence(self, x: Array) -> tuple[Array, Array]:
        """Gradient of the log likelihood, [U, P], and its Fisher information, [U, P, P], at x [U, P]."""
        mine = x[self.owner]
        terms = [self._clicks(mine), self._purchases(mine), self._shown(mine)]
        gradient = sum(self._by_user(slope * score[:, None]) for slope, score, _ in terms)
        information = sum(
            self._by_user(slope[:, :, None] * (weight[:, None] * slope)[:, None, :]) for slope, _, weight in terms
        )
        return np.asarray(gradient), np.asarray(information)

    def _clicks(self, x: Array) -> tuple[Array, Array, Array]:
        """Slope of the logit in x [R, P], derivative of the log likelihood in the logit [R] and its information [R]."""
        slope, logit = self._logit(x, TASTE_WEIGHT, PRICE_WEIGHT)
        liked = sigmoid(self.fixed + logit).astype(np.float64)
        odds = self.examined * liked * (1.0 - liked) / (1.0 - self.examined * liked)
        return slope, self.click * (1.0 - liked) - (1.0 - self.click) * odds, odds * (1.0 - liked)

    def _purchases(self, x: Array) -> tuple[Array, Array, Array]:
        slope, logit = self._logit(x, PURCHASE_TASTE_WEIGHT, PURCHASE_PRICE_WEIGHT)
        bought = sigmoid(PURCHASE_BIAS + logit)
        return slope, self.click * (self.purchase - bought), self.click * bought * (1.0 - bought)

    def _shown(self, x: Array) -> tuple[Array, Array, Array]:
        """The same of what the policy showed, where outer products of the gradient stand for the information."""
        score = self.policy.score(self.cos * x[:, : self.dim] + self.sin * x[:, self.dim : -1], self.items)
        slope = np.concatenate([self.cos * score, self.sin * score, np.zeros((len(score), 1))], axis=1)
        return slope, self.chosen, self.chosen

    def _logit(self, x: Array, taste: float, price: float) -> tuple[Array, Array]:
        """Slope in x and value of taste * sqrt(D) * <p, q> - price * gap^2."""
        gap = self.level - x[:, -1]
        slope = np.concatenate([taste * self.pull, 2.0 * price * gap[:, None]], axis=1)
        return slope, taste * (self.pull * x[:, :-1]).sum(axis=1) - price * gap**2

    def _by_user(self, values: Array) -> Array:
        """Sums over the impressions of each user, [R, ...] -> [U, ...]."""
        sums = np.zeros((self.num_users, *values.shape[1:]))
        if len(values):
            users, first = np.unique(self.owner, return_index=True)
            sums[users] = np.add.reduceat(values, first, axis=0)
        return sums


def _scale(world: World) -> float:
    return float(np.sqrt(world.truth.item_vectors.shape[1]))


class _Prior:
    """Of x by age group and spend; both tastes of a user have the same."""

    def __init__(self, world: World) -> None:
        tastes = np.concatenate([world.truth.taste_start, world.truth.taste_end]).astype(np.float64)
        dim, age = tastes.shape[1], np.tile(world.user_age, 2)
        self.age, self.means = world.user_age, np.zeros((NUM_AGE_GROUPS, dim))
        for group in np.unique(age):
            self.means[group] = tastes[age == group].mean(axis=0)
        self.precision = np.linalg.inv(np.cov((tastes - self.means[age]).T) + 1e-3 * np.eye(dim))

    def of(self, users: Array, spend: Array) -> tuple[Array, Array]:
        """Mean [B, P] and precision [B, P, P]."""
        dim = len(self.precision)
        mean, precision = np.zeros((len(users), 2 * dim + 1)), np.zeros((len(users), 2 * dim + 1, 2 * dim + 1))
        mean[:, :-1] = np.tile(self.means[self.age[users]], 2)
        precision[:, :dim, :dim] = precision[:, dim:-1, dim:-1] = self.precision
        told = np.where(np.isnan(spend), 0.0, LOG_SPEND_BY_BUDGET / LOG_SPEND_NOISE**2)
        precision[:, -1, -1] = 1.0 + told * LOG_SPEND_BY_BUDGET
        mean[:, -1] = told * (np.log(np.nan_to_num(spend, nan=1.0)) - LOG_SPEND) / precision[:, -1, -1]
        return mean, precision
