"""Where an item stands in each retrieval source when the source gives all that it has, and not C items."""

from __future__ import annotations

from dataclasses import replace

from operations.why.nodes import Nodes, changed
from operations.why.way import Standing, Way
from runtime.step import Arrays

__all__ = ["deep_ranks", "found_with"]


def deep_ranks(way: Way) -> dict[int, Standing | None]:
    """Where the item stands in each source that is queried, by the place of the source.

    With as many candidates as there are items an index is searched exactly, so that what it misses has a rank here.
    """
    places = way.nodes.places.sources
    wanted = [place for place in places if place in way.queried]
    if not wanted or way.is_blocked:
        return dict.fromkeys(wanted)
    spec = replace(way.nodes.spec, num_candidates=way.nodes.spec.num_items)
    with changed(way.nodes, {}, spec) as nodes:
        arrays = nodes.run_from(places[0], way.arrays, places[-1] + 1)
        deep = Way(nodes, arrays, way.user, way.row)
        return {place: deep.found_by(place) for place in wanted}


def found_with(way: Way, count: int) -> bool:
    """Whether the item is a candidate where the chain has more of them; of a graph with a merge."""
    places = way.nodes.places
    assert places.merge is not None
    with changed(way.nodes, {}, replace(way.nodes.spec, num_candidates=count)) as nodes:
        arrays: Arrays = nodes.run_from(_first(nodes), way.arrays, places.merge + 1)
        return way.row in Way(nodes, arrays, way.user, way.row).candidates()


def _first(nodes: Nodes) -> int:
    """The first node that depends on the number of candidates."""
    return nodes.places.sources[0] if nodes.places.sources else 1
