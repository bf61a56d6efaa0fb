"""Floors that cannot be kept, found when the config is read."""

from __future__ import annotations

from collections.abc import Iterator

from ensemble.config import ChainConfig
from ensemble.config_order import CapRule, FloorRule

__all__ = ["floor_problems"]


def floor_problems(chain: ChainConfig) -> Iterator[str]:
    """Yield one sentence for each floor that its places, a cap or another floor cannot bear."""
    for number, floor in enumerate(chain.floors):
        if (floor.least is None) == (floor.share is None):
            given = "none" if floor.least is None else "both"
            yield f"chain.floors[{number}] needs one of least and share, got {given}"
            continue
        places = floor.top or chain.slate_size
        least = floor.least or (floor.share or 0.0) * places
        if least > places:
            where = f"top = {floor.top}" if floor.top else f"chain.slate_size = {places}"
            yield f"chain.floors[{number}].least = {floor.least} is more than {where} has places"
        for other, cap in enumerate(chain.caps):
            if (most := _most(cap, floor)) is not None and most < least:
                wanted = f"at least {least:g} items" + (f" of {places}" if floor.share else "")
                yield (
                    f"chain.floors[{number}] wants {wanted} with {floor.column} {floor.op} {floor.value!r}, of which "
                    f"chain.caps[{other}] lets {most} be shown; change one of the two"
                )
    yield from _together(chain)
    yield from _shares(chain)


def _most(cap: CapRule, floor: FloorRule) -> int | None:
    """How many items of a floor a cap lets its places show; None where it says nothing of them."""
    if cap.column != floor.column or floor.op not in ("==", "in") or (cap.top and not 0 < floor.top <= cap.top):
        return None
    return cap.most * (len(set(map(str, floor.value))) if isinstance(floor.value, list) else 1)


def _together(chain: ChainConfig) -> Iterator[str]:
    """Floors on different values of one column that want more places than there are."""
    equal = [(n, floor, floor.least) for n, floor in enumerate(chain.floors) if floor.op == "==" and floor.least]
    for column in dict.fromkeys(floor.column for _, floor, _ in equal):
        for end in sorted({floor.top or chain.slate_size for _, floor, _ in equal}):
            largest: dict[str, tuple[int, int]] = {}
            for number, floor, least in equal:
                if floor.column == column and (floor.top or chain.slate_size) <= end:
                    largest[str(floor.value)] = max(largest.get(str(floor.value), (0, 0)), (least, number))
            wanted = sum(least for least, _ in largest.values())
            if len(largest) > 1 and wanted > end and all(least <= end for least, _ in largest.values()):
                numbers = ", ".join(f"chain.floors[{number}]" for _, number in largest.values())
                yield f"{numbers} want {wanted} items with different {column} among {end} places; ask for fewer"


def _shares(chain: ChainConfig) -> Iterator[str]:
    """Shares of different values of one column that are more than there is."""
    equal = [(n, floor, floor.share) for n, floor in enumerate(chain.floors) if floor.op == "==" and floor.share]
    for column, top in dict.fromkeys((floor.column, floor.top) for _, floor, _ in equal):
        largest: dict[str, tuple[float, int]] = {}
        for number, floor, share in equal:
            if (floor.column, floor.top) == (column, top):
                largest[str(floor.value)] = max(largest.get(str(floor.value), (0.0, 0)), (share, number))
        wanted = sum(share for share, _ in largest.values())
        if wanted > 1 + 1e-9:
            numbers = ", ".join(f"chain.floors[{number}]" for _, number in largest.values())
            yield f"{numbers} want {wanted:g} of the places for different {column}, and there is 1; lower them"
