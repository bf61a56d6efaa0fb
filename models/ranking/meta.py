"""meta.json of ranking/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec

from runtime.ranker.spec import RankerSpec, ShareSpec
from workflows.core.record import Meta

__all__ = ["Calibration", "RankingMeta"]


FIGURES = ("auc", "logloss", "ece", "positive_share", "mean_probability")


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How well the probabilities fit the labels; a figure is null where it is not defined.

    Attributes:
        on: the split; "train" where nothing was held out.
        factor, offset: the logit that is served is factor * the trained one + offset.
        auc: area under the ROC curve.
        logloss: mean negative log likelihood.
        ece: expected calibration error over 20 bins.
        positive_share: share of the labels that are 1.
        mean_probability: of the rows.
    """

    on: Literal["valid", "train"]
    factor: float
    offset: float
    auc: float | None
    logloss: float | None
    ece: float | None
    positive_share: float | None
    mean_probability: float | None

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures by name."""
        return {name: getattr(self, name) for name in FIGURES}


class TaskCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome that the ranker has a logit for, and how well the probability that it happens fits its label.

    Attributes:
        task: its name.
        parent: the place of the task that must have happened first; -1: none. The logit is that of the probability
            given that one, and factor and offset are of that logit.
        calibration: over all displays where the label is known.
    """

    task: str
    parent: int
    calibration: Calibration


class RankingMeta(Meta, frozen=True, kw_only=True):
    """The ranker.

    Attributes:
        factored: whether the arrays of the factored form give the model's logits; otherwise the plain graph is served.
        item_parts: whether they are in item_fields.npy and item_hidden.npy or in item_tables/.
        query_inputs: features of users, context and history that it reads, in the order of the schema.
        item_inputs: features of items, likewise.
        pair_inputs: its pair features in order, any of "tower_score", "neighbour_score" and "popularity"; may be empty.
        label: the label column; "" where every event is a positive one.
        num_query_fields, num_item_fields: Fq and Fi, the fields of both sides.
        field_dim: D of a field.
        hidden: H, units of the first top layer with the two of the linear part.
        training_examples: logged events, or positives beside drawn negatives.
        calibration: on what was held out.
        shares: pair features that compare a candidate with the user's latest items.
        tasks: the outcomes that it has a logit for, the label's first; none: the label alone.
    """

    stage: ClassVar[str] = "ranking"
    version: ClassVar[int] = 2
    renamed: ClassVar[Mapping[str, str]] = {"training_rows": "training_examples"}

    factored: bool
    item_parts: Literal["stored", "gathered"]
    query_inputs: tuple[str, ...]
    item_inputs: tuple[str, ...]
    pair_inputs: tuple[str, ...]
    label: str
    num_query_fields: int
    num_item_fields: int
    field_dim: int
    hidden: int
    training_examples: Literal["impressions", "sampled"]
    calibration: Calibration
    shares: tuple[ShareSpec, ...] = ()
    tasks: tuple[TaskCalibration, ...] = ()

    @property
    def spec(self) -> RankerSpec:
        """The part that the server reads."""
        tasks = [{"name": task.task, "parent": task.parent} for task in self.tasks]
        return msgspec.convert({**msgspec.to_builtins(self), "tasks": tasks}, RankerSpec)
