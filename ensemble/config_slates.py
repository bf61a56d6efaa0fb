"""Combinations of [chain.order] and the rules of slates that cannot work, found when the config is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ensemble.config import ChainConfig, Config
from ensemble.config_conditions import value_problems
from ensemble.config_floors import floor_problems
from ensemble.config_order import OrderConfig, end_of
from ensemble.export.formula import names_in, parse_formula
from runtime.spec import ASKED_OF_DRAW, DRAWN
from workflows.core.errors import ConfigError
from workflows.core.given import Unused

__all__ = ["slate_problems", "unused_by_order"]


def slate_problems(config: Config) -> Iterator[str]:
    """Yield one sentence for each combination that cannot work."""
    chain = config.chain
    if "merlin" in chain.layouts and (keys := _keys(chain)):
        yield (
            f"with {' and '.join(keys)} slates are more than candidates sorted by score, and chain.layouts has "
            "'merlin', a reference that sorts them; drop one of the two"
        )
    if chain.order.explore != "none":
        for name in sorted({tensor.name for tensor in (*ASKED_OF_DRAW, *DRAWN)} & set(config.data.context)):
            yield (
                f"data.context names {name!r}, which a request or an answer holds where chain.order.explore is on; "
                "rename the column, or drop chain.order.explore"
            )
    reads_items = chain.boosts or chain.caps or chain.floors or chain.order.alike or chain.order.calibrate
    if reads_items and config.data.source != "shop" and not config.data.items:
        yield (
            "chain.boosts, chain.caps, chain.floors, chain.order.alike and chain.order.calibrate read columns of the "
            "items table: give data.items"
        )
    for name in sorted(name for name, count in Counter(chain.order.alike).items() if count > 1):
        yield f"chain.order.alike names {name!r} more than once; name each column once"
    yield from _utility(config)
    for rule in (_ends, _boosts, _pins, _places, floor_problems):
        yield from rule(chain)


def unused_by_order(order: OrderConfig) -> Iterator[Unused]:
    """Keys of [chain.order] that have no effect."""
    if order.explore == "none":
        for name in ("temperature", "share"):
            why = "chain.order.explore = 'none' draws no slate"
            yield Unused(f"chain.order.{name}", why, "set chain.order.explore = 'softmax', or drop it")
    if order.diversity == "none":
        why = "chain.order.diversity = 'none' takes nothing from an item"
        for name in ("strength", "alike"):
            yield Unused(f"chain.order.{name}", why, "set chain.order.diversity = 'mmr' or 'dpp', or drop it")
    if order.diversity == "none" or order.strength != "auto":
        why = "nothing of [chain.order] is chosen by what it costs"
        yield Unused("chain.order.max_utility_loss", why, "set diversity and strength = 'auto', or drop it")


def _keys(chain: ChainConfig) -> list[str]:
    """Keys by which slates are more than candidates sorted by score."""
    order = chain.order
    rules = {"boosts": chain.boosts, "pins": chain.pins, "caps": chain.caps, "floors": chain.floors}
    keys = {"utility": order.utility, "explore": order.explore != "none", "diversity": order.diversity != "none"}
    keys["calibrate"] = order.calibrate is not None
    given = {**{f"order.{key}": value for key, value in keys.items()}, **rules}
    return [f"chain.{key}" for key, value in given.items() if value]


def _utility(config: Config) -> Iterator[str]:
    text = config.chain.order.utility
    if not text:
        return
    try:
        names = list(names_in(parse_formula("chain.order.utility", text)))
    except ConfigError as error:
        yield str(error)
        return
    if not config.ranking.tasks:
        yield "chain.order.utility is over [ranking.tasks], and there are none; add a table for each, or drop it"
    elif not any(name in config.ranking.tasks for name in names):
        yield f"chain.order.utility = {text!r} names none of the tasks {list(config.ranking.tasks)}; name one"


def _ends(chain: ChainConfig) -> Iterator[str]:
    for key in ("boosts", "pins", "caps", "floors"):
        for number, rule in enumerate(getattr(chain, key)):
            try:
                end_of(rule.until)
            except ValueError as error:
                yield (
                    f"chain.{key}[{number}].until must be a date or a timestamp from 1970 on, such as 2026-12-24 or "
                    f"2026-12-24T18:00:00 without quotes: {error}"
                )


def _boosts(chain: ChainConfig) -> Iterator[str]:
    for number, boost in enumerate(chain.boosts):
        if (boost.times is None) == (boost.add is None):
            given = "none" if boost.add is None else "both"
            yield f"chain.boosts[{number}] needs one of times and add, got {given}"
        if boost.times is not None and chain.order.utility:
            yield (
                f"chain.boosts[{number}].times is a factor of the odds, and chain.order.utility is none; give `add`, "
                "in units of the utility"
            )
    for key, rules in (("boosts", chain.boosts), ("floors", chain.floors)):
        for number, rule in enumerate(rules):
            yield from value_problems(f"chain.{key}[{number}]", rule)


def _pins(chain: ChainConfig) -> Iterator[str]:
    slots, items = [str(pin.slot) for pin in chain.pins], [str(pin.item) for pin in chain.pins]
    for what, found in (("slot", slots), ("item", items)):
        for value in sorted(value for value, count in Counter(found).items() if count > 1):
            numbers = " and ".join(f"chain.pins[{n}]" for n, other in enumerate(found) if other == value)
            yield f"{numbers} have the same {what}, {value}; a place shows one item, and a slate an item once"
    if len(chain.pins) > chain.num_candidates:
        yield f"chain.pins has {len(chain.pins)} items, more than chain.num_candidates = {chain.num_candidates}"


def _places(chain: ChainConfig) -> Iterator[str]:
    """Places that no slate has."""
    named = [(f"chain.pins[{n}].slot", pin.slot) for n, pin in enumerate(chain.pins)]
    named += [(f"chain.caps[{n}].top", cap.top) for n, cap in enumerate(chain.caps)]
    named += [(f"chain.floors[{n}].top", floor.top) for n, floor in enumerate(chain.floors)]
    for key, place in named:
        if place > chain.max_slate_size:
            yield f"{key} = {place} is more than chain.max_slate_size = {chain.max_slate_size}"
