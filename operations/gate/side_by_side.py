"""What the served version and the candidate say of one family, side by side: for who wants to know what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ensemble.profile.bins import Histogram
from ensemble.profile.profile import Profile
from operations.gate.exported_rows import Compared

__all__ = ["FAMILIES", "side_by_side"]

FAMILIES = ("requests", "features", "predictions", "exposure")
# Bins of a histogram that are listed, those that have moved most.
MOST_SHOWN = 12


def side_by_side(compared: Compared, family: str) -> Iterator[str]:
    """Every comparison of a family, what moved most first, then the histograms that they are of."""
    found = sorted((each for each in compared.found if each.family == family), key=lambda each: -each.value)
    yield f"{family}: what was the same in the served version and is not in the candidate, as a share"
    for each in found:
        differs, broken = each.limits
        mark = "BROKEN " if each.value > broken else "differs" if each.value > differs else "as before"
        yield f"  {each.value:8.4f}  {mark:9}  {each.name}: {each.words}"
    ours, theirs = compared.ours.profile, compared.theirs.profile
    if ours is None or theirs is None:
        return
    moved = {each.name: each.value for each in found}
    for name, served, candidate in sorted(_histograms(theirs, ours, family), key=lambda h: -moved.get(h[0], 0.0)):
        yield f"{name}{' ':>30}{'served':>12}{'candidate':>12}"
        yield from _bins(served, candidate)


def _histograms(theirs: Profile, ours: Profile, family: str) -> Iterator[tuple[str, Histogram, Histogram]]:
    groups: Mapping[str, tuple[tuple[str, str], ...]] = {
        "requests": (("column", "columns"),),
        "features": (("feature", "features"), ("items", "items")),
        "predictions": (("scores", "scores"),),
    }
    for kind, group in groups.get(family, ()):
        served, candidate = getattr(theirs, group), getattr(ours, group)
        for name in served.keys() & candidate.keys():
            yield f"{kind}:{name}", served[name], candidate[name]


def _bins(served: Histogram, candidate: Histogram) -> Iterator[str]:
    """Shares by what each bin holds; the edges of numbers are each side's own."""
    shares = [dict(zip(h.bins.names, h.counts / max(h.counts.sum(), 1.0), strict=True)) for h in (served, candidate)]
    names = list(dict.fromkeys([*shares[0], *shares[1]]))
    if shares[0].keys() == shares[1].keys():
        names = sorted(names, key=lambda name: -abs(shares[0][name] - shares[1][name]))[:MOST_SHOWN]
    for name in names[: 2 * MOST_SHOWN]:
        cells = ["-" if name not in side else f"{side[name]:.1%}" for side in shares]
        yield f"  {name[:38]:38}{cells[0]:>12}{cells[1]:>12}"
