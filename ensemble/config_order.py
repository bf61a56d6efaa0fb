"""The [chain.order] section: what orders a slate beside the scores of its items."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from typing import Annotated, Any, Literal

import msgspec

from ensemble.config_conditions import FilterRule
from workflows.core.section import Count, Fraction, NonNegative, Section

__all__ = ["BoostRule", "CalibrateRule", "CapRule", "FloorRule", "OrderConfig", "PinRule", "end_of"]

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
        until: its last day, or the instant at which it ends, such as 2026-12-24 or 2026-12-24T18:00:00, without quotes;
            UTC where it names no zone. Without: it never ends.
    """

    times: Factor | None = None
    add: Finite | None = None
    until: Any = None


class PinRule(Section, frozen=True):
    """An item at a place of every slate whose user may see it.

    Attributes:
        item: raw id.
        slot: its place, from 1 on.
        until: see `BoostRule`.
    """

    item: int | str
    slot: Count
    until: Any = None


class CapRule(Section, frozen=True):
    """At most `most` items of one value of a column; items without a value count as none of it.

    Attributes:
        column: column of the items table.
        most: how many.
        top: among the first so many places; 0: in the whole slate.
        until: see `BoostRule`.
    """

    column: str
    most: Count
    top: NonNegative = 0
    until: Any = None


class FloorRule(FilterRule, frozen=True):
    """At least so many items for which `column` `op` `value` holds: in each slate, or a share over all slates.

    Attributes:
        least: how many a slate shows, as far as it has so many candidates.
        share: of the places of all slates, on average: what is added to the utility of the items is learnt at the
            export, on users that it is not measured on. One of the two is given.
        top: among the first so many places; 0: in the whole slate.
        until: see `BoostRule`.
    """

    least: Count | None = None
    share: PositiveShare | None = None
    top: NonNegative = 0
    until: Any = None


class CalibrateRule(Section, frozen=True):
    """Slates whose values of a column are shown in the shares in which their user took them (Steck 2018).

    Attributes:
        column: column of the items table.
        strength: of that beside the logit, from 0 to below 1; strength / (1 - strength) weighs, for each place of a
            slate, the divergence of the slate's shares from those of the user's history.
    """

    column: str
    strength: Fraction = 0.05


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
        diversity: "mmr": an item loses by its largest likeness to one that is shown; "dpp": by how little of it is new,
            minus the logarithm of what the shown ones do not span; "none".
        alike: columns of the items: two items are alike by the share of these in which they have the same value; empty:
            by the cosine of their vectors of the item tower, which say who takes an item and not what it is.
        strength: of that beside the logit, from 0 to below 1: strength / (1 - strength) is the weight of the loss, in
            units of the utility where there is one. "auto": the largest of twenty steps for which slates lose at most
            max_utility_loss, chosen at the export.
        calibrate: a column in whose values slates follow what their users took, as the history that the chain keeps has
            it; users without one get what they would get without.
        max_utility_loss: share of what slates are worth by the models, discounted by place, that diversity may cost.
    """

    explore: Literal["none", "softmax"] = "none"
    temperature: Temperature = 0.3
    share: PositiveShare = 0.05
    utility: str = ""
    diversity: Literal["none", "mmr", "dpp"] = "none"
    alike: tuple[str, ...] = ()
    strength: Fraction | Literal["auto"] = 0.3
    calibrate: CalibrateRule | None = None
    max_utility_loss: Fraction = 0.02


def end_of(until: Any) -> int:
    """The first instant at which a rule does not hold any more, nanoseconds since 1970; 0: there is none.

    Args:
        until: a date, a timestamp, either as text of ISO 8601 (as a recorded config has it), or None.

    Raises:
        ValueError: it is something else, or before 1970.
    """
    if until is None:
        return 0
    if isinstance(until, str):
        until = date.fromisoformat(until) if len(until) <= len("2026-12-24") else _instant(until)
    if isinstance(until, datetime):
        end = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    elif isinstance(until, date):
        end = datetime.combine(until + timedelta(days=1), time(), timezone.utc)
    else:
        raise ValueError(f"{until!r} is neither a date nor a timestamp")
    microseconds = (end - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
    if microseconds <= 0:
        raise ValueError(f"{until} is before 1970")
    return microseconds * 1_000


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
