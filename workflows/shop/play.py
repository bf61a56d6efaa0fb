"""Any policy in the simulated shop: what it shows is answered by users whose probabilities are known.

`play` returns both sides of an experiment that no real shop has: the log, which is what an engineer would see, and the
truth, the expected outcomes of every slate that was shown. Whoever estimates the value of a policy from a log is
judged by it (`true_value`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from workflows.core.errors import DataError
from workflows.shop.laboratory import Shop
from workflows.shop.truth import Array, sigmoid
from workflows.shop.visits import Policy, Slates, Visits

__all__ = ["Expected", "Played", "Value", "expect", "play", "play_blocks", "true_value"]

VISITS_PER_BLOCK = 2_000
VISITS_PER_BLOCK_OF_STOCK = 250  # what sold out is seen so much sooner


@dataclass(frozen=True)
class Expected:
    """Probabilities of what happens at each slot of B slates, given all that was shown, float64 [B, S]; 0 at no item.

    Attributes:
        click: that the slot is looked at and clicked.
        purchase: that it is then bought, where the region has it.
        kept: that it is bought and not sent back; equal to `purchase` without [shop.returns].
        utility: expected money, as `Returns.utility` states it; the purchases without [shop.returns].
    """

    click: Array
    purchase: Array
    kept: Array
    utility: Array


@dataclass(frozen=True)
class Played:
    """What was shown, what happened, and what was to be expected.

    Attributes:
        visits: B visits in order of time.
        slates: of the policy.
        click, purchase, returned: int8 [B, S], 0 or 1.
        utility: float64 [B, S], money that was made.
        expected: of the same slates.
    """

    visits: Visits
    slates: Slates
    click: Array
    purchase: Array
    returned: Array
    utility: Array
    expected: Expected

    def reward(self, name: str) -> Array:
        """What happened, by name: click, purchase or utility, float64 [B, S].

        Raises:
            DataError: another name.
        """
        return _outcome(self, name)


@dataclass(frozen=True)
class Value:
    """Expected sum of a reward over a slate.

    Attributes:
        mean: over visits and slates.
        deviation: standard error of the mean, of which visits came and which slates were drawn: outcomes have none.
    """

    mean: float
    deviation: float


def play(
    shop: Shop,
    policy: Policy,
    visits: Visits,
    seed: int,
    tell: Callable[[Played], None] | None = None,
    per_block: int | None = None,
) -> Played:
    """Let a policy meet visits, in order of time and in blocks.

    Stock that sells out in a block is missing from the next one on; within the block a purchase of what is gone does
    not happen.

    Args:
        shop: its users and items; where it has stock, it is what this sells from.
        policy: asked for the slates of a block at once.
        visits: in order of time.
        seed: of slates and outcomes.
        tell: is given each block after it happened, as a served chain is given events.
        per_block: visits that are answered with the same knowledge; None: as the shop needs.

    Raises:
        DataError: the policy shows an item twice, or one that the shop does not have.
    """
    blocks = []
    for block in play_blocks(shop, policy, visits, seed, per_block):
        if tell is not None:
            tell(block)
        blocks.append(replace(block, visits=replace(block.visits, sold_out=None)))  # it differs by block
    return _join(blocks)


def play_blocks(
    shop: Shop, policy: Policy, visits: Visits, seed: int, per_block: int | None = None
) -> Iterator[Played]:
    """The same, a block at a time, whose visits know what was sold out.

    Raises:
        DataError: the policy shows an item twice, or one that the shop does not have.
    """
    size = per_block or (VISITS_PER_BLOCK if shop.stock is None else VISITS_PER_BLOCK_OF_STOCK)
    for number, block in enumerate(_parts(visits, size)):
        known = block if shop.stock is None else shop.stock.now(block)
        slates = policy(np.random.default_rng([seed, number, 0]), known)
        yield _happen(shop, known, slates, np.random.default_rng([seed, number, 1]))


def true_value(shop: Shop, policy: Policy, visits: Visits, reward: str, seed: int, repeats: int = 1) -> Value:
    """What a policy is worth at these visits: the expected sum of a reward over the slate.

    Outcomes are not drawn but summed up, so that the error is that of drawing slates and visits alone.

    Args:
        shop: without stock, since purchases would change what later visits can see.
        policy: any.
        visits: whom to ask for.
        reward: click, purchase or utility.
        seed: of the slates.
        repeats: slates a visit.

    Raises:
        DataError: an unknown reward, or a shop with stock.
    """
    if shop.stock is not None:
        raise DataError(
            "a policy's value is no sum over visits where stock sells out; play it, and sum up what it made"
        )
    sums = []
    for repeat in range(repeats):
        for number, block in enumerate(_parts(visits, VISITS_PER_BLOCK)):
            slates = policy(np.random.default_rng([seed, repeat, number]), block)
            sums.append(_outcome(expect(shop, block, slates), reward).sum(axis=1))
    by_visit = np.concatenate(sums).reshape(repeats, -1).mean(axis=0)
    return Value(float(by_visit.mean()), float(by_visit.std(ddof=1) / np.sqrt(len(by_visit))))


def expect(shop: Shop, visits: Visits, slates: Slates) -> Expected:
    """Expected outcomes of slates.

    Raises:
        DataError: an item twice in a slate, or one that the shop does not have.
    """
    _check(shop, slates)
    truth, items = shop.world.truth, slates.items
    users, at, none = visits.users[:, None], visits.at[:, None], items < 0
    logit = truth.click_logit(users, items, at, visits.device[:, None], visits.hour[:, None])
    logit = logit - np.float32(shop.crowding) * _alike_above(truth.item_category[items], none)
    examined = truth.examination(np.arange(1, items.shape[1] + 1)).astype(np.float64)
    click = np.where(none, 0.0, examined * sigmoid(logit))
    purchase = click * sigmoid(truth.purchase_logit(users, items, at))
    if visits.sold_out is not None:
        purchase = np.where(visits.sold_out[visits.region[:, None], items], 0.0, purchase)
    if shop.returns is None:
        return Expected(click, purchase, purchase, purchase)
    sent_back = shop.returns.probability(shop.world, visits.users[:, None], items, at)
    utility = shop.returns.utility(items, click, purchase, purchase * sent_back)
    return Expected(click, purchase, purchase * (1.0 - sent_back), np.where(none, 0.0, utility))


def _happen(shop: Shop, visits: Visits, slates: Slates, rng: np.random.Generator) -> Played:
    expected = expect(shop, visits, slates)
    chance = rng.random((3, *slates.items.shape))
    click = chance[0] < expected.click
    with np.errstate(divide="ignore", invalid="ignore"):
        purchase = click & (chance[1] < np.nan_to_num(expected.purchase / expected.click))
        kept = np.nan_to_num(expected.kept / expected.purchase)
    if shop.stock is not None:
        purchase &= shop.stock.sell(visits, slates.items, purchase)
    returned = purchase & (chance[2] >= kept)
    utility = purchase.astype(np.float64)
    if shop.returns is not None:
        utility = shop.returns.utility(slates.items, *(out.astype(np.float64) for out in (click, purchase, returned)))
    small = {
        name: out.astype(np.int8) for name, out in (("click", click), ("purchase", purchase), ("returned", returned))
    }
    return Played(visits, slates, **small, utility=utility, expected=expected)


def _check(shop: Shop, slates: Slates) -> None:
    items, size = slates.items, len(shop.world.item_weight)
    if items.size and (int(items.min()) < -1 or int(items.max()) >= size):
        raise DataError(
            f"policy {slates.policy!r} shows item rows from {items.min()} to {items.max()}; 0 to {size - 1} exist"
        )
    ordered = np.sort(items, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        row = int(np.flatnonzero(twice.any(axis=1))[0])
        raise DataError(f"policy {slates.policy!r} shows an item twice in one slate: {items[row].tolist()}")


def _alike_above(category: Array, none: Array) -> Array:
    """How many slots further up show the same category, int64 [B, S]."""
    same = category[:, :, None] == category[:, None, :]
    return np.asarray((np.tril(same, -1) & ~none[:, None, :]).sum(axis=2))


def _outcome(of: Played | Expected, name: str) -> Array:
    if name not in ("click", "purchase", "utility"):
        raise DataError(f"reward {name!r} is unknown; use click, purchase or utility")
    return np.asarray(getattr(of, name), dtype=np.float64)


def _parts(visits: Visits, size: int) -> Iterator[Visits]:
    return (visits.take(slice(first, first + size)) for first in range(0, len(visits), size))


def _join(blocks: list[Played]) -> Played:
    """One after the other."""
    joined: Played = _joined(blocks)
    return joined


def _joined(parts: Sequence[Any]) -> Any:
    first: Any = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if is_dataclass(first):
        made: Any = type(first)
        return made(*(_joined([getattr(part, one.name) for part in parts]) for one in fields(first)))
    return first
