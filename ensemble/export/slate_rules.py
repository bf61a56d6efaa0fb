"""The rules of slates compiled: columns of the items become codes and masks, raw ids rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ensemble.config import ChainConfig, Config
from ensemble.config_order import BoostRule, CapRule, FloorRule, OrderConfig, PinRule, end_of
from ensemble.export.eligibility import allowed_items, eligible_items
from ensemble.export.slate_files import (
    ALIKE_FILE,
    CAP_FILE,
    FLOOR_FILE,
    TAKEN_FILE,
    VALUES_FILE,
    boosts_file,
    slate_files,
)
from ensemble.export.strength import weight_of
from runtime.order_spec import Exploration, OrderSpec
from runtime.slate_spec import VECTORS_FILE, Boost, Calibration, Cap, Diversity, Floor, Pin, SlateSpec
from runtime.stream.live import now_ns
from workflows.core.errors import ConfigError
from workflows.core.run import Run

__all__ = ["check_slates", "diversity_of", "ended_rules", "order_spec", "refuse_rules"]

Rule = TypeVar("Rule", BoostRule, CapRule, FloorRule, PinRule)


def order_spec(run: Run, config: Config, state: Literal["eval", "serve"]) -> OrderSpec | None:
    """What chain.json says of the order; None where slates are sorted by score and nothing else.

    Args:
        run: whose data stage has finished.
        config: its config.
        state: of the chain; quality is measured without a draw.

    Raises:
        ConfigError: a pinned item is not in the catalogue.
    """
    order, slates = config.chain.order, _slate_spec(run, config.chain)
    explores = order.explore == "softmax" and state == "serve"
    found = OrderSpec(Exploration(order.temperature, order.share) if explores else None, order.utility, slates)
    return None if found == OrderSpec() else found


def ended_rules(chain: ChainConfig) -> Iterator[str]:
    """Keys of rules that have ended, with their end; an export leaves them out."""
    for key in ("boosts", "pins", "caps", "floors"):
        lasting = {number for number, _ in _lasting(getattr(chain, key))}
        for number, rule in enumerate(getattr(chain, key)):
            if number not in lasting:
                yield f"chain.{key}[{number}] (until {rule.until})"


def refuse_rules(run: Run, config: Config) -> None:
    """Refuse rules of slates that the tables cannot bear; those that have ended are left out, as an export does.

    Args:
        run: its data stage has finished.
        config: of the run.

    Raises:
        ConfigError: a column is missing or cannot be used so, a pinned item is not in the catalogue, or no slate of
            these items can follow the rules (`check_slates`).
    """
    order, files = order_spec(run, config, "serve"), slate_files(run, config)
    for name in _files_of_columns(config.chain):
        files[name]()
    if order is not None and order.slates is not None:
        check_slates(run, config, order.slates)
    _check_shares(run, config, files)


def check_slates(run: Run, config: Config, spec: SlateSpec) -> None:
    """Refuse rules that no slate of these items can follow.

    Raises:
        ConfigError: a pinned item may never be shown, or pins or the items leave a cap or a floor no way.
    """
    files, chain = slate_files(run, config), config.chain
    eligible = _may_be_shown(run, config)
    for pin, (number, _) in zip(spec.pins, _lasting(chain.pins), strict=False):
        if not eligible[pin.row] and config.stream is None:
            raise ConfigError(
                f"chain.pins[{number}].item = {chain.pins[number].item!r} may not be shown: it is out of stock, or "
                "chain.rules forbid it"
            )
    for cap, (number, _) in zip(spec.caps, _lasting(chain.caps), strict=False):
        codes = files[cap.file]()
        pinned = [int(codes[pin.row]) for pin in spec.pins if not cap.top or pin.slot <= cap.top]
        most = max((pinned.count(code) for code in pinned if code >= 0), default=0)
        if most > cap.most:
            raise ConfigError(
                f"chain.pins show {most} items of one {chain.caps[number].column}, of which chain.caps[{number}] "
                f"allows {cap.most}; drop a pin, or raise the cap"
            )
    for floor, (number, _) in zip(spec.floors, _least_floors(chain), strict=False):
        kind, places = files[floor.file](), floor.top or chain.slate_size
        if (count := int((kind & eligible).sum())) < floor.least:
            raise ConfigError(
                f"chain.floors[{number}] wants at least {floor.least} items, and {count} of those that may be shown "
                "are of its kind"
            )
        others = sum(1 for pin in spec.pins if pin.slot <= places and not kind[pin.row])
        if floor.least + others > places:
            raise ConfigError(
                f"chain.floors[{number}] wants {floor.least} of {places} places, and chain.pins give {others} of them "
                "to items of another kind; drop a pin, or lower the floor"
            )


def _check_shares(run: Run, config: Config, files: Mapping[str, Callable[[], NDArray]]) -> None:
    """Refuse a share of places for a kind of which no item may be shown; what else is too much shows at the export."""
    shares = [(number, floor) for number, floor in _lasting(config.chain.floors) if floor.share is not None]
    eligible = _may_be_shown(run, config) if shares else None
    for number, floor in shares:
        if not (files[FLOOR_FILE.format(number)]() & eligible).any():
            raise ConfigError(
                f"chain.floors[{number}] wants {floor.share:g} of the places, and none of the items that may be shown "
                "is of its kind"
            )


def _may_be_shown(run: Run, config: Config) -> NDArray[np.bool_]:
    """Bool [N]; where events come in live, what is out of stock may be in stock again."""
    items = run.folder("data") / "items.parquet"
    return eligible_items(items, config) if config.stream is None else allowed_items(items, config)


def _files_of_columns(chain: ChainConfig) -> Iterator[str]:
    """What the rules that have not ended read, of what is made from columns of the items."""
    yield from map(boosts_file, _ends_of_boosts(chain))
    yield from (CAP_FILE.format(number) for number, _ in _lasting(chain.caps))
    yield from (FLOOR_FILE.format(number) for number, _ in _lasting(chain.floors))
    if chain.order.alike:
        yield ALIKE_FILE
    if chain.order.calibrate is not None:
        yield VALUES_FILE


def _slate_spec(run: Run, chain: ChainConfig) -> SlateSpec | None:
    caps, floors = _lasting(chain.caps), _least_floors(chain)
    spec = SlateSpec(
        boosts=tuple(Boost(boosts_file(end), end) for end in _ends_of_boosts(chain)),
        caps=tuple(Cap(CAP_FILE.format(n), cap.most, cap.top, end_of(cap.until)) for n, cap in caps),
        floors=tuple(Floor(FLOOR_FILE.format(n), f.least or 0, f.top, end_of(f.until)) for n, f in floors),
        pins=_pins(run, chain),
        diversity=_diversity(chain.order),
        calibration=_calibration(chain.order),
    )
    return None if spec == SlateSpec() else spec


def _lasting(rules: Sequence[Rule]) -> list[tuple[int, Rule]]:
    """The rules that have not ended, each with its number in the config."""
    ends = [end_of(rule.until) for rule in rules]
    return [(number, rule) for number, rule in enumerate(rules) if not ends[number] or ends[number] > now_ns()]


def _least_floors(chain: ChainConfig) -> list[tuple[int, FloorRule]]:
    """The floors of each slate that have not ended; those that are shares over all slates are boosts by now."""
    return [(number, floor) for number, floor in _lasting(chain.floors) if floor.least is not None]


def _ends_of_boosts(chain: ChainConfig) -> list[int]:
    """Those of the boosts that have not ended, ascending; 0: of those that never end."""
    return sorted({end_of(boost.until) for _, boost in _lasting(chain.boosts)})


def _diversity(order: OrderConfig) -> Diversity | None:
    if order.diversity == "none" or order.strength == "auto":  # compile_chain puts a number for it
        return None
    return diversity_of(order, order.strength)


def diversity_of(order: OrderConfig, strength: float) -> Diversity:
    """What chain.json says of the diversity of a strength."""
    return Diversity(order.diversity, weight_of(strength), ALIKE_FILE if order.alike else VECTORS_FILE)


def _calibration(order: OrderConfig) -> Calibration | None:
    if order.calibrate is None:
        return None
    return Calibration(weight_of(order.calibrate.strength), VALUES_FILE, TAKEN_FILE)


def _pins(run: Run, chain: ChainConfig) -> tuple[Pin, ...]:
    pins = _lasting(chain.pins)
    if not pins:
        return ()
    ids = np.load(run.folder("data") / "ids/items.npy", mmap_mode="r", allow_pickle=False)
    is_text = ids.dtype.kind == "S"
    found = []
    for number, pin in pins:
        wanted = str(pin.item).encode() if is_text else pin.item
        rows = np.flatnonzero(ids == wanted) if is_text or isinstance(wanted, int) else np.zeros(0, np.int64)
        if not len(rows):
            kind = "texts" if is_text else "integers"
            raise ConfigError(
                f"chain.pins[{number}].item = {pin.item!r} is not in the catalogue of {len(ids):,} items, whose ids "
                f"are {kind}"
            )
        found.append(Pin(int(rows[0]), pin.slot, end_of(pin.until)))
    return tuple(found)
