"""Whether a gate's mean effect of a push is that of decisions which chance made on users whom it has not seen."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.send_gate.effects import Z95, Effects, Evidence, robust_mean
from runtime.explore import mixed, uniform

__all__ = ["HELD_OUT", "Check", "check", "held_out"]

HELD_OUT = 0.2
SALT = 17


class Check(msgspec.Struct, frozen=True):
    """Two answers to what a push is worth on average to users who were held out.

    Attributes:
        mean, mean_error: by the gate's prices, and the standard error that these give it.
        robust, robust_error: doubly robust, with its standard error by user.
        num_users, num_decisions: held out.
    """

    mean: float
    mean_error: float
    robust: float
    robust_error: float
    num_users: int
    num_decisions: int

    @property
    def half_width(self) -> float:
        """Of the 95% interval of their difference, which comes from different users."""
        return Z95 * float(np.hypot(self.robust_error, self.mean_error))

    @property
    def agrees(self) -> bool:
        """Whether they differ by no more than that."""
        return abs(self.mean - self.robust) <= self.half_width


def held_out(num_users: int) -> NDArray[np.bool_]:
    """Which users of a log are held out, bool [U]: those of a fixed hash of their place."""
    return np.asarray(uniform(mixed(np.full(num_users, SALT), np.arange(num_users))) < HELD_OUT)


def check(effects: Effects, evidence: Evidence) -> Check:
    """Compare prices with what chance decided.

    Args:
        effects: learnt from other users.
        evidence: of the users who were held out.
    """
    by_prices = evidence.priced @ np.asarray(effects.prices)
    robust, robust_error = robust_mean(evidence, evidence.residual(), by_prices)
    return Check(
        mean=float(by_prices.mean()),
        mean_error=effects.error_of_mean(evidence.priced.mean(axis=0)),
        robust=robust,
        robust_error=robust_error,
        num_users=len(np.unique(evidence.users)),
        num_decisions=len(evidence.returns),
    )
