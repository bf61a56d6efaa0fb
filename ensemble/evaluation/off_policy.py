"""What users would do with another slate, without bias: off-policy evaluation of every source on what chance displayed.

Where chance filled a place of the log with a known probability (data.propensity), the item there was chosen by nobody.
So the log says what such a place would have earned, had it gone to one of the first k items of a source's slate, each
alike: of N places, the mean of

    r / (k p)  where the item is among the first k,  0 elsewhere

with the reward r (the relevant label) and the probability p (`models.ope`, inverse propensities). Nothing of it rests
on what the policy of the log liked. A user without a query did nothing that any source could show; their places earn 0
whatever the slate, and count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.ope.config import OpeConfig
from models.ope.diagnostics import Diagnostics, diagnose, refusal
from models.ope.intervals import linearised
from models.ope.slate import slate_ips
from models.ope.slates import Slates
from models.ope.terms import Terms, mean_of

__all__ = ["Places", "measure_off_policy"]

Floats = NDArray[np.float64]
CHUNK_CELLS = 4_000_000


class Places(msgspec.Struct, frozen=True):
    """Places of the test split that chance filled, P of them.

    Attributes:
        owner: int64 [P], query numbers; from Q on: users without a query, who did nothing that can be recommended.
        rows: int64 [P], item rows; -1: outside the catalogue.
        propensity: float64 [P], above 0.
        reward: float64 [P], 1 where the label is positive.
        label: its name; "": every event is positive.
    """

    owner: NDArray[np.int64]
    rows: NDArray[np.int64]
    propensity: Floats
    reward: Floats
    label: str


def measure_off_policy(
    slates: Mapping[str, NDArray[np.int32]], places: Places, cutoffs: Sequence[int], config: OpeConfig
) -> dict[str, Any]:
    """The record "off_policy" of metrics.json.

    Args:
        slates: source -> item rows [Q, K], best first; "chain" among them.
        places: one at least.
        cutoffs: every k.
        config: when no number is given.

    Returns:
        "label", "num_places", "num_users", "drawn" (what the places did earn), "sources" -> metric -> {"value", "low",
        "high"}, "chain_minus" -> the same of the paired differences, "refused": source -> metric -> why there is no
        number, and "ess": source -> metric -> the effective number of places.
    """
    drawn = mean_of(places.reward)
    record: dict[str, Any] = {
        "label": places.label,
        "num_places": len(places.owner),
        "num_users": len(np.unique(places.owner)),
        "drawn": _plain(drawn, places),
    }
    terms: dict[str, dict[str, Terms]] = {}
    found: dict[str, dict[str, Diagnostics]] = {}
    for source, rows in slates.items():
        logged = {f"earned@{k}": _logged(rows, places, k) for k in cutoffs}
        terms[source] = {name: slate_ips(each) for name, each in logged.items()}
        found[source] = {name: _diagnose(each, places.owner < len(rows)) for name, each in logged.items()}
    whys = {source: {name: _why(each, config) for name, each in of.items()} for source, of in found.items()}
    given = {source: [name for name, why in of.items() if not why] for source, of in whys.items()}
    chain = terms["chain"]
    return record | {
        "sources": {s: {name: _plain(terms[s][name], places) for name in names} for s, names in given.items()},
        "chain_minus": {
            s: {name: _plain(chain[name] - terms[s][name], places) for name in names if name in given["chain"]}
            for s, names in given.items()
            if s != "chain"
        },
        "refused": {s: {name: why for name, why in of.items() if why} for s, of in whys.items()},
        "ess": {s: {name: each.ess for name, each in of.items()} for s, of in found.items()},
    }


def _logged(rows: NDArray[np.int32], places: Places, k: int) -> Slates:
    """The places as slates of one item; the target gives each to one of the first k items of the user's slate."""
    share = np.zeros(len(places.owner))
    asked = np.flatnonzero(places.owner < len(rows))
    width = min(k, rows.shape[1])
    step = max(1, CHUNK_CELLS // width)
    for start in range(0, len(asked), step):
        part = asked[start : start + step]
        slate = rows[places.owner[part], :width]
        wanted = places.rows[part][:, None]
        held = ((slate == wanted) & (wanted >= 0)).any(axis=1)
        share[part] = held / np.maximum((slate >= 0).sum(axis=1), 1)
    with np.errstate(divide="ignore"):
        target = np.log(share)[:, None]
    return Slates(places.reward[:, None], np.log(places.propensity)[:, None], target, places.owner)


def _diagnose(slates: Slates, asked: NDArray[np.bool_]) -> Diagnostics:
    """The diagnostics, with a mean weight that fits what is not known: which items of users without a query would hit.

    They did nothing, so they got fewer of the good items: over all users the known weights give too low a mean, and
    over those with a query too high a one.
    """
    every = diagnose(slates)
    if every.mean_weight_z >= 0 or asked.all() or not asked.any():
        return every
    some = diagnose(slates.take(np.flatnonzero(asked)))
    return msgspec.structs.replace(every, mean_weight=some.mean_weight, mean_weight_z=min(some.mean_weight_z, 0.0))


def _why(found: Diagnostics, config: OpeConfig) -> str:
    if found.ess < config.min_ess:
        return (
            f"too few of these places hold such an item: they say as much as {found.ess:,.0f} of its own would, and "
            f"ope.min_ess is {config.min_ess:,.0f}; leave more places to chance, or look at more of the slate"
        )
    return refusal(found, min_ess=config.min_ess, max_weight_share=config.max_weight_share)


def _plain(terms: Terms, places: Places) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(linearised(terms, places.owner))
    return plain
