"""The [ranking] section."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from workflows.core.device import DeviceKind
from workflows.core.section import Count, Fraction, NonNegative, Positive, Section

__all__ = ["RankingConfig", "TaskConfig"]

Spread = Annotated[float, msgspec.Meta(ge=0.0)]


class TaskConfig(Section, frozen=True):
    """One outcome of a display that the ranker predicts: [ranking.tasks.NAME].

    Attributes:
        label: label column, 1 where it happened.
        after: the task that must have happened first (a purchase after a click); empty: none.
        weight: of its loss, beside those of the other tasks.
        matures_after: days until its label is final (a return, after a purchase). Of displays that are younger, by the
            last event of the training examples, the label counts as not known yet.
    """

    label: str
    after: str = ""
    weight: Positive = 1.0
    matures_after: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0


class RankingConfig(Section, frozen=True):
    """The DLRM and its training.

    Attributes:
        embedding_dim: width of every field of the dot interaction.
        bottom: widths of the MLP over continuous features, per side, before the last layer of width embedding_dim.
        top: widths of the MLP over the interactions, before the one logit.
        label: label column to predict; empty: the first label.
        tasks: several outcomes by name instead of the one label, for [chain.order] utility. They share all but the last
            layer. One of them is the label itself, after nothing, and its probability stays the score of a slate. They
            need impressions.
        training_examples: "impressions": the logged events with their labels; "sampled": positives plus drawn
            negatives; "auto": impressions where a label has both values, sampled elsewhere and where events are of
            several kinds, such as views and purchases: what was viewed and not bought was not shown in vain.
        negatives_per_positive: for "sampled".
        retrieved_negatives: share of them drawn from the retriever's candidates, the rest by popularity: with such
            ones among its negatives, which it never meets when it serves, it learnt to prefer items for being rare.
        candidate_pool: how many of the retriever's best candidates those are drawn from; positives beyond are left out.
        use_retrieval_score: whether the scores of both retrieval sources are pair features; "auto": with "sampled"
            examples only, whose positives neither has been fitted on.
        max_stored_mb: the item side of the factored ranker is computed for the whole catalogue at export while it takes
            at most this, in MiB; for more items, a request gathers it from the embedding tables.
        use_user_id: whether there is a user id embedding; "auto": with impressions where at least 5% of the label's
            variance lies between users (`models.ranking.rules`); elsewhere it learns examples by heart.
        learning_rate: of the first step; it falls to 0 along half a cosine over max_epochs.
        embedding_spread: standard deviation of the normal prior that every embedding is held to; each of its values has
            a mean and a standard deviation of its own, drawn from in training (`models.ranking.tables`), which takes
            twice the memory there. 0: plain numbers without a prior.
        id_dropout: share of item and user ids that training replaces by the out-of-vocabulary code, so that unknown
            ones have an embedding too.
        lazy_adam_from: as in retrieval.
        max_epochs: all are run unless patience ends them; the weights of the best one are kept.
        patience: epochs without an improvement of the validation loss after which training ends; the first ones, whose
            steps are large, say little of what the last ones will reach.
        refit_share: of the epochs up to the best one, so many more follow over the examples of training and those of
            early stopping together, with a learning rate that falls from half to 0. 0: none.
        batch_size: (query, item) rows a step, of each process where several train together. "auto": 4096, and of a
            small table the largest of 2048, 1024, ... 64 with which an epoch has 32 steps.
        dropout: in the top MLP.
        seed: of initial weights, negatives and shuffling.
        device: where the ranker is trained; "auto": on a GPU where TensorFlow sees one.
    """

    embedding_dim: Count = 32
    bottom: tuple[Count, ...] = (64,)
    top: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)] = (128, 64)
    label: str = ""
    tasks: dict[str, TaskConfig] = {}
    training_examples: Literal["auto", "impressions", "sampled"] = "auto"
    negatives_per_positive: Count = 20
    retrieved_negatives: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 1.0
    candidate_pool: Count = 200
    use_retrieval_score: Literal["auto", "yes", "no"] = "auto"
    max_stored_mb: Annotated[float, msgspec.Meta(ge=0.0)] = 512.0
    use_user_id: bool | Literal["auto"] = "auto"
    batch_size: Count | Literal["auto"] = "auto"
    learning_rate: Positive = 1e-2
    embedding_spread: Spread = 0.5
    lazy_adam_from: NonNegative = 50_000
    max_epochs: Count = 8
    patience: Count = 4
    refit_share: Fraction = 0.25
    id_dropout: Fraction = 0.02
    dropout: Fraction = 0.1
    seed: NonNegative = 1
    device: DeviceKind = "auto"
