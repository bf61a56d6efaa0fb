"""The [chain.order] section: what orders a slate beside the scores of its items."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ensemble.config_conditions import FilterRule
from workflows.core.section import Count, Fraction, NonNegative, Section

__all__ = ["BoostRule", "CapRule", "FloorRule", "OrderConfig", "PinRule"]

# Beyond these a draw is the descending order, or takes no notice of it.
Temperature = Annotated[float, msgspec.Meta(ge=0.001, le=1000.0)]
# None of them would be no exploration, which `explore` says.
PositiveShare = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]

# Beyond these nothing else orders a slate.
Factor = Annotated[float, msgspec.Meta(ge=1e-6, le=1e6)]
Finite = Annotated[float, msgspec.Meta(ge=-100.0, le=100.0)]


class BoostRule(FilterRule, frozen=True):
    """A boost of the items for which `column` `op` `value` holds; one of `times` and `add` says how large it is.

    Attributes:
        times: factor of the odds (on the path `popularity`, of the popularity); below 1 the items come later.
        add: the same as a number that is added to the logit, or to chain.order.utility where there is one.
    """

    times: Factor | None = None
    add: Finite | None = None


class PinRule(Section, frozen=True):
    """An item at a place of every slate whose user may see it.

    Attributes:
        item: raw id.
        slot: its place, from 1 on.
    """

    item: int | str
    slot: Count


class CapRule(Section, frozen=True):
    """At most `most` items of one value of a column; items without a value count as none of it.

    Attributes:
        column: column of the items table.
        most: how many.
        top: among the first so many places; 0: in the whole slate.
    """

    column: str
    most: Count
    top: NonNegative = 0


class FloorRule(FilterRule, frozen=True):
    """At least `least` items for which `column` `op` `value` holds, as far as there are so many candidates.

    Attributes:
        least: how many.
        top: among the first so many places; 0: in the whole slate.
    """

    least: Count
    top: NonNegative = 0


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
        diversity: "mmr": an item loses by its largest cosine to one that is shown; "dpp": by how little of it is new,
            minus the logarithm of what the shown ones do not span; "none".
        strength: of that beside the logit, from 0 to below 1: strength / (1 - strength) is the weight of the loss, in
            units of the utility where there is one.
    """

    explore: Literal["none", "softmax"] = "none"
    temperature: Temperature = 0.3
    share: PositiveShare = 0.05
    utility: str = ""
    diversity: Literal["none", "mmr", "dpp"] = "none"
    strength: Fraction = 0.3
