"""One experiment that is decided and one that is refused, for who has never seen either: part of `cascade demo`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.evaluation.truth import TRUTH_FILE
from operations.experiments.in_shop import (
    DAY_NS,
    between,
    last_days,
    play_days,
    slates_of_report,
    true_difference,
)
from operations.experiments.look import Compared, History, save
from operations.experiments.record import Running
from operations.experiments.show import is_hidden, verdict
from workflows.core.run import Run
from workflows.shop.laboratory import open_shop
from workflows.shop.truth import DEVICES
from workflows.shop.visits import Visits

__all__ = ["decided_and_refused"]

CONTROL, VARIANT = "retrieval", "chain"
DAYS, SLATE_SIZE, SEED = 6, 10, 1
MOBILE = DEVICES.index("mobile")


def decided_and_refused(run: Run, config: Config) -> Iterator[str]:
    """Play both with the slates of the report, keep them in report/experiments/, and say what came of them.

    Users of the simulated shop meet the slates of the chain, or those that retrieval alone orders. In the second
    experiment the variant's page does not load on mobiles, so that these visits are missing from its log.

    Args:
        run: its report is finished.
        config: of the run.

    Raises:
        ArtefactError: the report is missing or cannot be read.
    """
    report = run.require("report")
    if not (run.folder("data") / TRUTH_FILE).is_file():
        yield "experiments can be played in the simulated shop alone, whose users are known"
        return
    shop = open_shop(config.shop)
    policies = [slates_of_report(report, source, shop, SLATE_SIZE) for source in (CONTROL, VARIANT)]
    visits = last_days(shop, policies[0].users & policies[1].users, DAYS, SEED)
    if not len(visits):
        yield f"none of the users with slates comes in the last {DAYS} days: no experiment was played"
        return
    started_at = int(visits.at[0]) // DAY_NS * DAY_NS
    for name, lost in (("ranker", None), ("ranker-lost", _on_mobiles)):
        running = between(name, CONTROL, VARIANT, started_at, users=len(visits) // 2)
        history = play_days(shop, running, policies, visits, SEED, lost)
        save(report, running, history)
        yield from _lines(running, history, is_broken=lost is not None)
        if lost is None:
            truth = true_difference(shop, policies, visits)
            yield f"  the truth, which only a simulated shop knows: {100 * truth:+.2f} points"


def _on_mobiles(visits: Visits) -> NDArray[np.bool_]:
    return np.asarray(visits.device == MOBILE)


def _lines(running: Running, history: History, *, is_broken: bool) -> Iterator[str]:
    taken, (control, variant) = history.looks[-1], running.variants
    users = " and ".join(f"{count:,} of {side.name}" for count, side in zip(taken.users, running.variants, strict=True))
    asked = f"do users click more on slates of the {variant.name} than on those of {control.name} alone?"
    if is_broken:
        asked = f"the same, but the page of the {variant.name} does not load on mobiles"
    yield f"experiment {running.name}: {asked}"
    yield f"  {len(history.looks)} days, users: {users}"
    if is_hidden(taken, history):
        yield (
            f"  refused: half of the users were given to each, and chance leaves them so far apart with p = "
            f"{taken.ratio.p_value:.1g}. Users were lost, so what is left cannot be compared, and nothing is shown"
        )
        return
    (found,) = taken.metric
    if found.low is None or found.high is None or found.value is None or found.control is None:
        yield f"  not decided: {verdict(running, taken, history)}"
        return
    yield (
        f"  clicks by item shown: {found.value:.2%} against {found.control:.2%}, difference between "
        f"{100 * found.low:+.2f} and {100 * found.high:+.2f} points, however often one looks"
    )
    first = next((day for day, look in enumerate(history.looks, 1) if any(map(_is_apart, look.metric))), None)
    decided = "not decided" if first is None else f"decided, from day {first} on"
    yield f"  {decided}: {verdict(running, taken, history)}"


def _is_apart(found: Compared) -> bool:
    return (found.low or 0.0) > 0 or (found.high or 0.0) < 0
