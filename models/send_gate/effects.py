"""What a push is worth in the long run: few numbers, from decisions that chance made.

Value functions that are fitted to a log and subtracted from each other have errors as large as the effect of one push.
So the history goes into heads that are easy to learn (is it opened, is it held against the sender, would the user have
come anyway), and only their price comes from the returns: an R-learner with the logged probabilities.

Some of a price is known without a log, and a log says little of it: an open is a day where nobody would have come, and
what it brings beyond its day is small. So what the log says is weighed against that by the errors of both; a long log
overrules it.

References: Nie and Wager, "Quasi-oracle estimation of heterogeneous treatment effects", Biometrika 108(2), 2021 (the
R-learner); Robins, Rotnitzky and Zhao, JASA 89(427), 1994 (inverse probabilities of what a model leaves unexplained).
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.send_gate.heads import fit_ridge

__all__ = ["Z95", "Effects", "Evidence", "Prior", "fit_effects", "robust_mean"]

Floats = NDArray[np.float64]
NUM_FOLDS = 2
PENALTY = 50.0
Z95 = 1.959964
# What an unopened push is worth, an opened one beyond its day, the day of an open that would have had no visit, and an
# opt-out, all in terms of the prices.
KNOWN = np.array([[1.0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
# Discounted active days, give or take; of the opt-out, shares of what one who can be reached is worth more.
EXPECTED, GIVE_OR_TAKE = (0.0, 0.0, 1.0, -0.75), (0.05, 0.05, 0.1, 0.5)
LEAST_GAP = 1.0


class Evidence(msgspec.Struct, frozen=True):
    """Decisions that chance made, and what followed, R of them.

    Attributes:
        inputs: [R, F], for the mean return of a state.
        priced: [R, 4], see `runtime.send_gate.arithmetic.terms`.
        sent: bool [R].
        propensity: of sending, [R], inside (0, 1).
        returns: [R], discounted active days from the decision on.
        users: int [R].
    """

    inputs: Floats
    priced: Floats
    sent: NDArray[np.bool_]
    propensity: Floats
    returns: Floats
    users: NDArray

    def surprise(self) -> Floats:
        """By how much an action was not to be expected, [R]."""
        return np.asarray(self.sent - self.propensity)

    def residual(self) -> Floats:
        """What the state does not explain of the returns, [R], by a fit to the other users' decisions."""
        _, user = np.unique(self.users, return_inverse=True)
        mean = np.empty(len(self.returns))
        for fold in range(NUM_FOLDS):
            own = user % NUM_FOLDS == fold
            mean[own] = self.inputs[own] @ fit_ridge(self.inputs[~own], self.returns[~own], PENALTY)
        return self.returns - mean


class Prior(msgspec.Struct, frozen=True):
    """Prices before any log, normal.

    Attributes:
        prices: their means [4].
        precision: the inverse of their covariance, [4, 4].
    """

    prices: Floats
    precision: Floats

    @classmethod
    def of(cls, gap: float) -> Prior:
        """What is known of prices where one who can be reached is worth `gap` discounted active days more."""
        scale = np.array([1.0, 1.0, 1.0, max(gap, LEAST_GAP)])
        weights = KNOWN / (scale * GIVE_OR_TAKE)[:, None]
        return cls(np.linalg.solve(KNOWN, scale * EXPECTED), weights.T @ weights)


class Effects(msgspec.Struct, frozen=True):
    """The price list of a push.

    Attributes:
        prices: of `runtime.send_gate.arithmetic.TERMS`, in order: discounted active days.
        covariance: of their errors, by user, and with what was known before.
        mean_terms: what is priced, on average over the decisions that the prices were learnt from.
        robust, robust_error: what a push is worth on average there without a model of who gains, with its standard
            error by user: by inverse probabilities, of what the state does not explain of the returns.
    """

    prices: list[float]
    covariance: list[list[float]]
    mean_terms: list[float]
    robust: float
    robust_error: float

    @property
    def mean(self) -> float:
        """What a push is worth on average by these prices."""
        return float(np.dot(self.prices, self.mean_terms))

    @property
    def errors(self) -> list[float]:
        """Standard errors of the prices."""
        return [float(np.sqrt(row[place])) for place, row in enumerate(self.covariance)]

    @property
    def agrees(self) -> bool:
        """Whether the mean effect by the prices lies in the 95% interval of the other one."""
        return abs(self.mean - self.robust) <= Z95 * self.robust_error

    def error_of_mean(self, mean_terms: Floats) -> float:
        """The standard error of what a push is worth on average elsewhere, where these are the mean terms [4]."""
        return float(np.sqrt(mean_terms @ np.asarray(self.covariance) @ mean_terms))


def fit_effects(evidence: Evidence, prior: Prior | None = None) -> Effects:
    """Prices of a push by least squares on what chance decided, weighed against what is known without it."""
    residual, surprise = evidence.residual(), evidence.surprise()
    design = surprise[:, None] * evidence.priced
    prices, *_ = np.linalg.lstsq(design, residual, rcond=None)
    bread = np.linalg.pinv(design.T @ design)
    scores = _by_user(design * (residual - design @ prices)[:, None], evidence.users)
    covariance = bread @ (scores.T @ scores) @ bread
    if prior is not None:
        told = np.linalg.pinv(covariance, hermitian=True)
        covariance = np.linalg.inv(told + prior.precision)
        prices = covariance @ (told @ prices + prior.precision @ prior.prices)
    robust, robust_error = robust_mean(evidence, residual, np.zeros(len(residual)))
    return Effects(prices.tolist(), covariance.tolist(), evidence.priced.mean(axis=0).tolist(), robust, robust_error)


def robust_mean(evidence: Evidence, residual: Floats, effect: Floats) -> tuple[float, float]:
    """What a push is worth on average, right whatever the effect is taken for, and its standard error by user.

    Args:
        evidence: decisions.
        residual: see `Evidence.residual`, [R].
        effect: of each push by a model, [R], which was not learnt from these users; 0 for none.
    """
    surprise, propensity = evidence.surprise(), evidence.propensity
    single = effect + surprise / (propensity * (1.0 - propensity)) * (residual - surprise * effect)
    mean = float(single.mean())
    spread = _by_user((single - mean)[:, None], evidence.users)
    return mean, float(np.sqrt((spread**2).sum()) / len(single))


def _by_user(values: Floats, users: NDArray) -> Floats:
    """Sums over the rows of each user, [U, K]."""
    _, user = np.unique(users, return_inverse=True)
    sums = np.zeros((int(user.max()) + 1, values.shape[1]))
    np.add.at(sums, user, values)
    return sums
