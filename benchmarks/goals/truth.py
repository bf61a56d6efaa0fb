"""What slates, and the displays of the log, were bound to earn: the probabilities that the simulated shop knows."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.evaluation.queries import Queries
from ensemble.evaluation.setting import Setting
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.shop.laboratory import open_shop
from workflows.shop.play import expect
from workflows.shop.truth import device_codes, sigmoid
from workflows.shop.visits import Slates, Visits

__all__ = ["Judge"]

Floats = NDArray[np.float64]
BLOCK = 256
# Of what is expected of a slate, in this order.
EXPECTED = ("utility", "click", "purchase", "kept")


class Judge:
    """The truth at some queries.

    Args:
        config: of the shop, with returns.
        queries: Q of them, with device and hour.
        setting: raw ids and what was seen.
    """

    def __init__(self, config: ShopConfig, queries: Queries, setting: Setting) -> None:
        self._shop, self._setting, self._queries = open_shop(config), setting, queries
        truth = self._shop.world.truth
        self._items = truth.item_rows(setting.item_ids)  # of the shop, by item row of the run
        users = truth.user_rows(setting.user_ids[queries.user_rows])
        devices = device_codes(queries.context["device"].to_numpy(zero_copy_only=False))
        self._visits = Visits(users, queries.at, devices, np.zeros_like(users))

    def expected(self, slates: NDArray[np.int32]) -> dict[str, Floats]:
        """Sums over slates of item rows [Q, S], -1 for none: utility, click, purchase and kept, [Q] each."""
        items = np.where(slates >= 0, self._items[np.maximum(slates, 0)], -1)
        never = np.zeros(len(items), bool)
        found = expect(self._shop, self._visits, Slates(items, np.zeros(items.shape), never, "judged"))
        return {name: getattr(found, name).sum(axis=1) for name in EXPECTED}

    def best(self, by: Literal["utility", "click"], size: int) -> NDArray[np.int32]:
        """Item rows [Q, size] in the descending order of the truth, of all that may be shown to each user."""
        slates = np.empty((len(self._queries), size), np.int32)
        for start in range(0, len(slates), BLOCK):
            part = slice(start, start + BLOCK)
            value = self._worth(self._visits.take(part), by)
            value[:, ~self._setting.eligible] = -np.inf
            for row, user in enumerate(self._queries.user_rows[part].tolist()):
                value[row, self._setting.state.seen(user)] = -np.inf
            slates[part] = np.argsort(-value, axis=1, kind="stable")[:, :size]
        return slates

    def displays(self, run: Run) -> Floats:
        """Probability of a click, a purchase and a return at every test display of a known item, [R, 3]."""
        names = ["user_row", "item_row", "at", "device", "position"]
        table = pq.read_table(run.folder("data") / "test", columns=names)
        columns = {name: table[name].to_numpy() for name in names}
        kept = columns["item_row"] >= 0
        user_row, item_row, at, device, position = (columns[name][kept] for name in names)
        truth = self._shop.world.truth
        users, items = truth.user_rows(self._setting.user_ids[user_row]), self._items[item_row]
        hour = at // 3_600_000_000_000 % 24
        click = truth.examination(position) * sigmoid(truth.click_logit(users, items, at, device_codes(device), hour))
        buy = click * sigmoid(truth.purchase_logit(users, items, at))
        assert self._shop.returns is not None
        sent_back = buy * self._shop.returns.probability(self._shop.world, users, items, at)
        return np.stack([click, buy, sent_back], axis=1).astype(np.float64)

    def _worth(self, visits: Visits, by: Literal["utility", "click"]) -> Floats:
        """Of every item at some visits, [B, N] by item row of the run, at a slot that is looked at."""
        truth, users, at = self._shop.world.truth, visits.users[:, None], visits.at[:, None]
        items = self._items[None, :]
        hour, device = visits.hour[:, None], visits.device[:, None]
        click = sigmoid(truth.click_logit(users, items, at, device, hour)).astype(np.float64)
        if by == "click":
            return click
        buy = click * sigmoid(truth.purchase_logit(users, items, at))
        assert self._shop.returns is not None
        sent_back = buy * self._shop.returns.probability(self._shop.world, users, items, at)
        return self._shop.returns.utility(np.broadcast_to(items, click.shape), click, buy, sent_back)
