"""What is known of a metric in one variant: sums over its users, and the variance of a ratio of them.

A metric is a ratio, such as clicks over impressions, and users are what was drawn at random: one with many impressions
is one draw and not many. Its variance is that of the linearised ratio (the delta method), summed by user.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Arm", "Difference", "difference", "ratio_of"]


class Arm(NamedTuple):
    """Sums over the users of a variant; a number each, or an array of one shape each, such as one entry a look.

    Attributes:
        users: how many.
        y: of what is counted, such as clicks.
        x: of what it is counted by, such as impressions; 1 a user for a mean by user.
        yy: of squares of y by user.
        xy: of products.
        xx: of squares of x.
    """

    users: ArrayLike
    y: ArrayLike
    x: ArrayLike
    yy: ArrayLike
    xy: ArrayLike
    xx: ArrayLike

    @classmethod
    def of(cls, y: ArrayLike, x: ArrayLike) -> Arm:
        """The sums of users with values y [n] and x [n]."""
        ys, xs = np.asarray(y, np.float64), np.asarray(x, np.float64)
        return cls(len(ys), ys.sum(), xs.sum(), ys @ ys, xs @ ys, xs @ xs)


class Difference(NamedTuple):
    """A variant minus the control; NaN where too little is known to tell.

    Attributes:
        value: of the two ratios.
        variance: of that.
        relative: the ratio of the variant by that of the control, minus 1.
        relative_variance: of that.
    """

    value: ArrayLike
    variance: ArrayLike
    relative: ArrayLike
    relative_variance: ArrayLike


def difference(variant: Arm, control: Arm) -> Difference:
    """Compare two variants.

    Example:
        >>> found = difference(Arm.of([1, 0, 2], [2, 2, 2]), Arm.of([0, 1, 0], [2, 2, 2]))
        >>> round(float(found.value), 4), round(float(found.variance), 4)
        (0.3333, 0.1111)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        (ours, our_variance), (theirs, their_variance) = ratio_of(variant), ratio_of(control)
        relation = ours / theirs
        relative_variance = (our_variance + relation**2 * their_variance) / theirs**2
        return Difference(ours - theirs, our_variance + their_variance, relation - 1, relative_variance)


def ratio_of(arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    """A ratio and its variance; a variance of 0, of users who are all alike, is not known to be so, and is NaN."""
    users, y, x, yy, xy, xx = (np.asarray(values, np.float64) for values in arm)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = y / x
        squares = yy - 2 * ratio * xy + ratio**2 * xx
        variance = users / (users - 1) * squares / x**2
    # Rounding leaves a little of what cancels.
    return ratio, np.where(squares > 1e-12 * (yy + ratio**2 * xx), variance, np.nan)
