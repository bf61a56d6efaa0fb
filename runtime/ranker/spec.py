"""The ranker's description beside its arrays, as the server reads it. The standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.records import from_record, known_keys

__all__ = ["GATHERED", "STORED", "RankerSpec", "ShareSpec", "TaskSpec"]

STORED, GATHERED = "stored", "gathered"


@dataclass(frozen=True)
class ShareSpec:
    """A pair feature: of a user's latest items, how many have the candidate's value of a feature.

    Attributes:
        name: of the pair feature.
        item_input: the item feature, a code an item.
        last: items of the history that are looked at.
    """

    name: str
    item_input: str
    last: int


@dataclass(frozen=True)
class TaskSpec:
    """An outcome of a display that the ranker has a logit for.

    Attributes:
        name: of the outcome.
        parent: the place of the one that must have happened first, before this one; -1: none. The logit is that of the
            probability given it.
    """

    name: str
    parent: int = -1


@dataclass(frozen=True)
class RankerSpec:
    """The ranker's inputs and shape, as ranking/meta.json and chain.json hold them.

    Attributes:
        factored: whether the arrays of the factored form are served; otherwise the plain graph is.
        query_inputs, item_inputs: its model inputs of both sides, in the order of the graphs.
        pair_inputs: its pair features, in the order of the arrays; may be empty.
        item_parts: "stored" (item fields by row) or "gathered" (from tables, at request time).
        num_query_fields, num_item_fields: Fq and Fi, embeddings of either side in the dot interaction.
        field_dim: D of one field.
        hidden: H, units of the first top layer.
        shares: pair features that compare a candidate with the user's latest items.
        tasks: the outcomes that it has a logit for; none: one logit, the label's.
    """

    factored: bool
    query_inputs: tuple[str, ...] = ()
    item_inputs: tuple[str, ...] = ()
    pair_inputs: tuple[str, ...] = ()
    item_parts: str = STORED
    num_query_fields: int = 0
    num_item_fields: int = 0
    field_dim: int = 0
    hidden: int = 0
    shares: tuple[ShareSpec, ...] = ()
    tasks: tuple[TaskSpec, ...] = ()

    @classmethod
    def of(cls, meta: Mapping[str, Any], where: str) -> RankerSpec:
        """The part of an object that the server reads.

        Args:
            meta: ranking/meta.json, or "ranker" of chain.json.
            where: the file, for the sentence.

        Raises:
            ValueError: a key is missing, or has another type.
        """
        return from_record(cls, known_keys(cls, meta), where)
