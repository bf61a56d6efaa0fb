"""The [chain.order] section: what orders a slate beside the scores of its items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from runtime.order_spec import Exploration, OrderSpec
from runtime.spec import ASKED_OF_DRAW, DRAWN
from workflows.core.given import Unused
from workflows.core.section import Section

if TYPE_CHECKING:
    from ensemble.config import Config

__all__ = ["OrderConfig", "order_problems", "order_spec", "unused_by_order"]

# Beyond these a draw is the descending order, or takes no notice of it.
Temperature = Annotated[float, msgspec.Meta(ge=0.001, le=1000.0)]
# None of them would be no exploration, which `explore` says.
PositiveShare = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]


class OrderConfig(Section, frozen=True):
    """The order of slates.

    Attributes:
        explore: "none": by descending score; "softmax": some slates are drawn at random, an item with a probability
            that grows with its score, and the probability is returned with the slate.
        temperature: of the softmax over logits: an item whose odds are e times as high is drawn exp(1 / temperature)
            times as often.
        share: of the slates that are drawn; the others are the ordered ones.
        utility: what a display is worth, a formula over [ranking.tasks] and columns of the items with + - * / and
            brackets, such as "0.02*click + buy*(margin*(1-return) - 8*return)": a task's name is 1 where it happens and
            0 where it does not, and slates are ordered, and drawn, by the expectation. Empty: by the ranker's score.
            The response then has `utility` beside `score`, which stays the probability of the label.
    """

    explore: Literal["none", "softmax"] = "none"
    temperature: Temperature = 0.3
    share: PositiveShare = 0.05
    utility: str = ""


def order_spec(order: OrderConfig, state: Literal["eval", "serve"]) -> OrderSpec | None:
    """What chain.json says of the order; None where slates are sorted by score and nothing else.

    Args:
        order: the section.
        state: of the chain; quality is measured without a draw.
    """
    explores = order.explore == "softmax" and state == "serve"
    found = OrderSpec(Exploration(order.temperature, order.share) if explores else None, order.utility)
    return None if found == OrderSpec() else found


def order_problems(config: Config) -> Iterator[str]:
    """Yield one sentence for each combination with [chain.order] that cannot work."""
    if config.chain.order.explore == "none":
        return
    if "merlin" in config.chain.layouts:
        yield (
            "chain.order.explore draws slates at random, and chain.layouts has 'merlin', a reference that sorts them; "
            "drop one of the two"
        )
    for name in sorted({tensor.name for tensor in (*ASKED_OF_DRAW, *DRAWN)} & set(config.data.context)):
        yield (
            f"data.context names {name!r}, which a request or an answer holds where chain.order.explore is on; rename "
            "the column, or drop chain.order.explore"
        )


def unused_by_order(order: OrderConfig) -> Iterator[Unused]:
    """Keys of [chain.order] that have no effect."""
    if order.explore == "none":
        for name in ("temperature", "share"):
            why = "chain.order.explore = 'none' draws no slate"
            yield Unused(f"chain.order.{name}", why, "set chain.order.explore = 'softmax', or drop it")
