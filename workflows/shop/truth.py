"""The planted parameters of the simulated shop, and the true probability of any click or purchase."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from workflows.core.disk import save_npz
from workflows.core.errors import ArtefactError, DataError

__all__ = ["DEVICES", "Array", "Truth", "daypart", "device_codes"]

Array = np.ndarray[Any, Any]

DEVICES = ("desktop", "mobile", "tablet")
UNKNOWN_DEVICE = len(DEVICES)
SECOND_NS = 1_000_000_000
DRIFT_RADIANS = 1.0
CLICK_BIAS, TASTE_WEIGHT, PRICE_WEIGHT = -2.5, 1.15, 0.25
PURCHASE_BIAS, PURCHASE_TASTE_WEIGHT, PURCHASE_PRICE_WEIGHT = -1.6, 0.5, 0.4
EXAMINATION_DECAY = 0.35


def device_codes(device: Any) -> Array:
    """Codes of device names, int64 in the shape of `device`; any other value gets the code without an effect."""
    names = np.asarray(device)
    codes = np.full(names.shape, UNKNOWN_DEVICE, dtype=np.int64)
    for code, name in enumerate(DEVICES):
        codes[names == name] = code
    return codes


def daypart(hour: Array) -> Array:
    """Quarter of the day, 0 to 3, of an hour from 0 to 23."""
    return np.asarray(hour, dtype=np.int64) // 6


@dataclass(frozen=True)
class Truth:
    """Everything that decides what the users of the shop do.

    The logit of a click, once the impression is examined, is

        z = CLICK_BIAS + TASTE_WEIGHT * sqrt(D) * <p_u(t), q_i> + item_bias_i - PRICE_WEIGHT * gap^2
            + context_effect[category_i, device, hour // 6] + trend_i(t)

    with the user's taste `p_u(t) = cos(a) * taste_start_u + sin(a) * taste_end_u`, where `a` grows from 0 at the
    start of the log to DRIFT_RADIANS at its end, and `gap = price_level_i - budget_u`, both in standard
    deviations of the log price within a category. The trend of an item that began to trend at s is
    strength * 2^-((t - s) / half-life) from then on; of several the latest counts, and 0 before the first. The logit
    of a purchase, once clicked, is

        y = PURCHASE_BIAS + PURCHASE_TASTE_WEIGHT * sqrt(D) * <p_u(t), q_i> - PURCHASE_PRICE_WEIGHT * gap^2.

    An impression at display position r (1 first) is examined with probability r^-EXAMINATION_DECAY, independent of
    the rest: P(click) = examination(r) * sigmoid(z).

    Attributes:
        user_ids, item_ids: int64 [U], [N], ascending raw ids.
        taste_start, taste_end: float32 [U, D], unit rows.
        item_vectors: float32 [N, D], unit rows.
        item_bias, price_level: float32 [N]; budget: float32 [U].
        item_category: int32 [N].
        context_effect: float32 [categories, devices + 1, 4]; the last device is "unknown" and has no effect.
        log_from_to: int64 [2], the first instant of the log and the one after its end, epoch nanoseconds.
        launched_at, sold_out_at: int64 [N], epoch nanoseconds; an item is on sale from the one until before the other.
        trend_item, trend_at: int64 [T], which item begins to trend when, by item and instant.
        trend: float64 [2], the strength, and the half-life in nanoseconds.
    """

    user_ids: Array
    item_ids: Array
    taste_start: Array
    taste_end: Array
    item_vectors: Array
    item_bias: Array
    price_level: Array
    budget: Array
    item_category: Array
    context_effect: Array
    log_from_to: Array
    launched_at: Array
    sold_out_at: Array
    trend_item: Array
    trend_at: Array
    trend: Array

    def save(self, path: Path) -> None:
        """Write truth.npz."""
        save_npz(path, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Read truth.npz.

        Raises:
            ArtefactError: missing or unreadable.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"{path} cannot be read ({error}); run cascade prepare again") from None

    def click_probability(self, user_ids: Any, item_ids: Any, *, at: Any, device: Any, hour: Any) -> Array:
        """Probability that an examined impression is clicked (attractiveness; the position plays no part).

        Args:
            user_ids: raw ids; every argument broadcasts against the others, for example users [B, 1] and
                items [1, N], which costs one matrix product.
            item_ids: raw ids.
            at: epoch nanoseconds.
            device: names of DEVICES; any other value has no effect.
            hour: 0 to 23.

        Returns:
            float32 of the broadcast shape.

        Raises:
            DataError: an id that the shop does not have.
        """
        users, items = self.user_rows(user_ids), self.item_rows(item_ids)
        return sigmoid(self.click_logit(users, items, np.asarray(at), device_codes(device), np.asarray(hour)))

    def purchase_probability(self, user_ids: Any, item_ids: Any, *, at: Any, device: Any, hour: Any) -> Array:
        """Probability that an examined impression is clicked and then bought; arguments as in `click_probability`."""
        users, items = self.user_rows(user_ids), self.item_rows(item_ids)
        click = sigmoid(self.click_logit(users, items, np.asarray(at), device_codes(device), np.asarray(hour)))
        return click * sigmoid(self.purchase_logit(users, items, np.asarray(at)))

    def examination(self, position: Any) -> Array:
        """Probability that the impression at a display position (1 first) is looked at, float32 in its shape."""
        return (np.asarray(position, dtype=np.float32) ** np.float32(-EXAMINATION_DECAY)).astype(np.float32)

    def user_rows(self, user_ids: Any) -> Array:
        """Rows of raw user ids, int64 in their shape."""
        return _rows(self.user_ids, np.asarray(user_ids), "user_id")

    def item_rows(self, item_ids: Any) -> Array:
        """Rows of raw item ids, int64 in their shape."""
        return _rows(self.item_ids, np.asarray(item_ids), "item_id")

    def click_logit(self, users: Array, items: Array, at: Array, device: Array, hour: Array) -> Array:
        """The z of the class docstring, by row and by device code; float32 of the broadcast shape."""
        fixed = self.fixed_logit(items, device, hour, at)
        price = np.float32(PRICE_WEIGHT) * self.gap(users, items) ** 2
        return np.asarray(np.float32(TASTE_WEIGHT) * self.taste(users, items, at) + fixed - price)

    def fixed_logit(self, items: Array, device: Array, hour: Array, at: Array) -> Array:
        """The part of z that is the same for every user; float32 of the broadcast shape."""
        effect = self.context_effect[self.item_category[items], device, daypart(hour)]
        fixed = self.item_bias[items] + effect + np.float32(CLICK_BIAS)
        return np.asarray(fixed + self.trend_of(items, at) if len(self.trend_item) else fixed)

    def trend_of(self, items: Array, at: Array) -> Array:
        """trend_i(t), by row; float32 of the broadcast shape."""
        items, at = np.broadcast_arrays(items, at)
        # Item and whole second of the log in one number, ascending.
        start, span = int(self.log_from_to[0]), int(self.log_from_to[1] - self.log_from_to[0]) // SECOND_NS + 1
        begun = self.trend_item * span + (self.trend_at - start) // SECOND_NS
        asked = items * span + np.clip((at - start) // SECOND_NS, -1, span - 1)
        place = np.searchsorted(begun, asked, side="right") - 1
        found = np.maximum(place, 0)
        is_trending = (place >= 0) & (self.trend_item[found] == items) & (self.trend_at[found] <= at)
        strength, half_life = self.trend
        age = np.where(is_trending, at - self.trend_at[found], 0)
        return np.where(is_trending, strength * 2.0 ** -(age / half_life), 0.0).astype(np.float32)

    def purchase_logit(self, users: Array, items: Array, at: Array) -> Array:
        """The y of the class docstring, by row; float32 of the broadcast shape."""
        price = np.float32(PURCHASE_PRICE_WEIGHT) * self.gap(users, items) ** 2
        return np.float32(PURCHASE_TASTE_WEIGHT) * self.taste(users, items, at) - price + np.float32(PURCHASE_BIAS)

    def taste(self, users: Array, items: Array, at: Array) -> Array:
        """sqrt(D) * <p_u(t), q_i>, by row; float32 of the broadcast shape."""
        cos, sin = self.drift(at)
        dot = _outer_dot if _is_outer(users, items) else _row_dot
        match = cos * dot(self.taste_start, users, self.item_vectors, items)
        match = match + sin * dot(self.taste_end, users, self.item_vectors, items)
        return np.asarray(np.float32(np.sqrt(self.item_vectors.shape[1])) * match)

    def drift(self, at: Array) -> tuple[Array, Array]:
        """Weights of taste_start and taste_end at an instant, float32 in the shape of `at`."""
        start, end = (int(bound) for bound in self.log_from_to)
        angle = DRIFT_RADIANS * np.clip((at - start) / (end - start), 0.0, 1.0)
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    def gap(self, users: Array, items: Array) -> Array:
        """Price above the user's budget, in standard deviations of the log price, by row."""
        return np.asarray(self.price_level[items] - self.budget[users])


def sigmoid(logit: Array) -> Array:
    """1 / (1 + exp(-logit)), float32."""
    return np.asarray(1.0 / (1.0 + np.exp(-logit)), dtype=np.float32)


def _is_outer(users: Array, items: Array) -> bool:
    return users.ndim == 2 and items.ndim == 2 and users.shape[1] == 1 and items.shape[0] == 1


def _outer_dot(left: Array, users: Array, right: Array, items: Array) -> Array:
    return np.asarray(left[users[:, 0]] @ right[items[0]].T)


def _row_dot(left: Array, users: Array, right: Array, items: Array) -> Array:
    return np.asarray(np.einsum("...d,...d->...", left[users], right[items]))


def _rows(known: Array, ids: Array, column: str) -> Array:
    rows = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    if (wrong := known[rows] != ids).any():
        raise DataError(
            f"{column}: {int(wrong.sum())} ids are not in the simulated shop, for example {ids[wrong].flat[0]}; "
            f"its ids go from {known[0]} to {known[-1]}"
        )
    return rows
