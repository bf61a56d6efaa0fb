"""The [retrieval] section: what holds for every kind of training examples, and a section for each kind."""

from __future__ import annotations

from typing import Literal

from workflows.core.device import DeviceKind
from workflows.core.section import Count, Fraction, NonNegative, Positive, Section

__all__ = [
    "ContrastConfig",
    "EventsConfig",
    "ExampleKind",
    "Negatives",
    "RetrievalConfig",
    "SetsConfig",
    "TowerConfig",
    "WindowsConfig",
]

ExampleKind = Literal["events", "windows", "sets"]
Negatives = Literal["in_batch", "mixed", "all"]


class ContrastConfig(Section, frozen=True):
    """The negatives of an event, where examples are single events: the keys that events and windows share.

    Attributes:
        negatives: "in_batch": the other items of the batch, with logQ correction; "mixed": these and items drawn
            uniformly; "all": a softmax over the whole catalogue; "auto": all up to `all_negatives_up_to` items, where
            that leaves windows half of their epochs; else mixed.
        num_uniform_negatives: M, drawn for each step where they are mixed.
        all_negatives_up_to: catalogue size up to which "auto" takes every item as a negative.
        logq: subtract the log of each item's sampling probability from its logit, where not all items are negatives.
        id_dropout: share of user and item ids replaced by out-of-vocabulary in training, so that features carry
            cold ones.
        history_dropout: share of recent items hidden in training.
    """

    negatives: Negatives | Literal["auto"] = "auto"
    num_uniform_negatives: Count = 4096
    all_negatives_up_to: NonNegative = 20_000
    logq: bool = True
    id_dropout: Fraction = 0.1
    history_dropout: Fraction = 0.3


class EventsConfig(ContrastConfig, frozen=True):
    """The [retrieval.events] section: training examples that are events, each with the mean of the history before it.

    Attributes:
        batch_size: examples a step, of each process where several train together. "auto": 2048, and fewer of a small
            log, down to 64, so that an epoch has 64 steps.
        learning_rate: of Adam.
        max_epochs: upper bound; early stopping usually ends sooner. "auto": 60, and 10 where no user of the valid split
            can be queried.
        patience: epochs without a better validation recall before training stops.
    """

    batch_size: Count | Literal["auto"] = "auto"
    learning_rate: Positive = 1e-3
    max_epochs: Count | Literal["auto"] = "auto"
    patience: Count = 2


class WindowsConfig(ContrastConfig, frozen=True):
    """The [retrieval.windows] section: training examples that are stretches of users' histories, read with attention.

    `features.history_length` is the longest.

    Attributes:
        num_blocks: attention blocks; each reads what the one before it made of every position.
        num_heads: attention heads of a block; divides the embedding dimension.
        dropout: share of zeros after the embeddings and after each part of a block, in training.
        batch_size: events a step that are targets, of each process where several train together. "auto": 2048, and
            fewer of a small log, down to 64, so that an epoch has 32 steps.
        learning_rate: of Adam at the start; it falls to 0 along half a cosine.
        max_epochs: over which it falls; early stopping may end sooner. "auto": 12, and fewer of large data.
        max_cells: logits computed in all, of every event with its candidates (all items, or the batch and what is
            drawn): bounds the epochs where they are "auto", and tells where "auto" negatives cannot be all.
        min_epochs: which that bound leaves.
        patience: epochs without a better validation recall.
    """

    num_blocks: Count = 1
    num_heads: Count = 2
    dropout: Fraction = 0.1
    batch_size: Count | Literal["auto"] = "auto"
    learning_rate: Positive = 5e-3
    max_epochs: Count | Literal["auto"] = "auto"
    max_cells: Count = 30_000_000_000
    min_epochs: Count = 4
    patience: Count = 3


class SetsConfig(Section, frozen=True):
    """The [retrieval.sets] section: one training example a user, where the items of users have no order.

    Coins part a user's items into a history and targets, and every item of the catalogue is a negative: there is no
    history dropout and no choice of negatives.

    Attributes:
        batch_size: users a step, of each process where several train together. "auto": 512, and fewer where there are
            few, down to 8, so that an epoch has 8 steps.
        learning_rate: of Adam; there are few steps an epoch, each over all items.
        max_epochs: upper bound; early stopping usually ends sooner. "auto": 60, fewer of large data, and 10 where no
            user of the valid split can be queried.
        max_cells: logits computed in all, which bounds the epochs where they are "auto": users times items are those of
            one epoch.
        patience: epochs without a better validation recall; more than for examples of events, as epochs are shorter.
        id_dropout: share of user and item ids replaced by out-of-vocabulary in training. "auto": .1 where items have
            features beside their id, which can carry cold ones, else 0.
    """

    batch_size: Count | Literal["auto"] = "auto"
    learning_rate: Positive = 0.01
    max_epochs: Count | Literal["auto"] = "auto"
    max_cells: Count = 40_000_000_000
    patience: Count = 3
    id_dropout: Fraction | Literal["auto"] = "auto"


class TowerConfig(Section, frozen=True):
    """What holds for every kind of training examples.

    Attributes:
        embedding_dim: D, the length of query and item embeddings.
        hidden: widths of each tower's MLP before the last layer of width D; empty: one linear layer.
        temperature: divides the logits.
        lazy_adam_from: rows from which an embedding table is moved by lazy Adam, whose step touches only the rows of
            the batch; smaller tables keep Adam's rule; 0: all do.
        refit_share: of the epochs up to the best one, so many more follow over train and valid together, with a
            learning rate that falls from half to 0; they make the towers that are served. What is tuned or trained on
            the valid split uses the best epoch's towers. 0: what is served knows the train split alone.
        validation_cutoff: k of the validation recall@k over the whole catalogue.
        validation_users: users drawn for it; 0: all.
        use_user_id: whether the query tower has a user id embedding; histories alone generalised better on the
            real data sets of docs/QUALITY.md.
        share_item_table: whether history and item tower look item ids up in one table.
        label: label column whose positives are trained on; empty: the first label, or every event where there is none.
        seed: of initial weights, dropout and shuffling.
        device: where the towers are trained; "auto": on a GPU where TensorFlow sees one.
    """

    embedding_dim: Count = 64
    hidden: tuple[Count, ...] = (128,)
    temperature: Positive = 0.1
    lazy_adam_from: NonNegative = 50_000
    refit_share: Fraction = 0.25
    validation_cutoff: Count = 100
    validation_users: NonNegative = 5_000
    use_user_id: bool = False
    share_item_table: bool = True
    label: str = ""
    seed: NonNegative = 1
    device: DeviceKind = "auto"


class RetrievalConfig(TowerConfig, frozen=True):
    """The two-tower model and its training.

    Attributes:
        examples: what a training example is. "events": an event and the mean of the history before it; "windows": a
            stretch of a user's events in their order, read with causal attention, each the target of those before it;
            "sets": a user, whose items are parted at random into a history and targets. "auto": windows where the
            events have timestamps; sets where they have neither timestamps nor context, fit in memory, and there are at
            most `sets_up_to_cells`; else events. A key of the section of another kind is refused.
        sets_up_to_cells: users times items up to which `examples` = "auto" takes sets: every item is a negative of
            every user, and so many logits are computed an epoch.
        windows, sets, events: the training on each kind of examples.
    """

    examples: ExampleKind | Literal["auto"] = "auto"
    sets_up_to_cells: NonNegative = 2_000_000_000
    windows: WindowsConfig = WindowsConfig()
    sets: SetsConfig = SetsConfig()
    events: EventsConfig = EventsConfig()
