"""What a push is worth in the long run: few numbers, from decisions that chance made.

Value functions that are fitted to a log and subtracted from each other have errors as large as the effect of one push.
So the history goes into heads that are easy to learn (is it opened, is it held against the sender, would the user have
come anyway), and only their price comes from the returns: an R-learner with the logged probabilities.

References: Nie and Wager, "Quasi-oracle estimation of heterogeneous treatment effects", Biometrika 108(2), 2021 (the
R-learner); Robins, Rotnitzky and Zhao, JASA 89(427), 1994 (inverse probabilities of what a model leaves unexplained).
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.send_gate.heads import fit_ridge

__all__ = ["TERMS", "Effects", "fit_effects", "terms"]

Floats = NDArray[np.float64]
TERMS = ("constant", "open", "open, would not have come", "opt-out")
NUM_FOLDS = 2
PENALTY = 50.0
Z95 = 1.959964


class Effects(msgspec.Struct, frozen=True):
    """The price list of a push.

    Attributes:
        prices: of TERMS, in order: discounted active days.
        errors: their standard errors, by user.
        mean: what a push is worth on average by these prices.
        robust, robust_error: the same without a model of who gains, with its standard error by user: by inverse
            probabilities, of what the state does not explain of the returns.
    """

    prices: list[float]
    errors: list[float]
    mean: float
    robust: float
    robust_error: float

    @property
    def agrees(self) -> bool:
        """Whether the mean effect by the prices lies in the 95% interval of the other one."""
        return abs(self.mean - self.robust) <= Z95 * self.robust_error


def terms(opens: Floats, opts_out: Floats, visits: Floats) -> Floats:
    """What a push is priced by, float64 [R, 4], of the heads' probabilities [R]: open; opt out once unopened; come."""
    return np.stack([np.ones_like(opens), opens, opens * (1.0 - visits), (1.0 - opens) * opts_out], axis=1)


def fit_effects(
    inputs: Floats, priced: Floats, sent: NDArray[np.bool_], propensity: Floats, returns: Floats, users: NDArray
) -> Effects:
    """Prices of a push by least squares on what chance decided.

    Args:
        inputs: [R, F], for the mean return of a state, fitted on the other users' decisions.
        priced: [R, 4], see `terms`.
        sent: bool [R].
        propensity: of sending, [R], inside (0, 1).
        returns: [R], discounted active days from the decision on.
        users: int [R].
    """
    _, user = np.unique(users, return_inverse=True)
    mean = np.empty(len(returns))
    for fold in range(NUM_FOLDS):
        own = user % NUM_FOLDS == fold
        mean[own] = inputs[own] @ fit_ridge(inputs[~own], returns[~own], PENALTY)
    residual, surprise = returns - mean, sent - propensity
    design = surprise[:, None] * priced
    prices, *_ = np.linalg.lstsq(design, residual, rcond=None)
    bread = np.linalg.pinv(design.T @ design)
    scores = _by_user(design * (residual - design @ prices)[:, None], user)
    errors = np.sqrt(np.diag(bread @ (scores.T @ scores) @ bread))
    single = surprise / (propensity * (1.0 - propensity)) * residual
    robust = float(single.mean())
    spread = _by_user((single - robust)[:, None], user)
    return Effects(
        prices.tolist(),
        errors.tolist(),
        float((priced @ prices).mean()),
        robust,
        float(np.sqrt((spread**2).sum()) / len(single)),
    )


def _by_user(values: Floats, user: NDArray[np.int64]) -> Floats:
    """Sums over the rows of each user, [U, K]."""
    sums = np.zeros((int(user.max()) + 1, values.shape[1]))
    np.add.at(sums, user, values)
    return sums
