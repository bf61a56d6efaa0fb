"""The [retrieval] section."""

from __future__ import annotations

from workflows.core.device import DeviceKind
from workflows.core.section import Count, Fraction, NonNegative, Positive, Section

__all__ = ["RetrievalConfig"]


class RetrievalConfig(Section, frozen=True):
    """The two-tower model and its training.

    Attributes:
        embedding_dim: D, the length of query and item embeddings.
        hidden: widths of each tower's MLP before the last layer of width D; empty: one linear layer.
        temperature: divides the logits.
        batch_size: rows a step; the other items of the batch are the negatives.
        learning_rate: of Adam.
        max_epochs: upper bound; early stopping usually ends sooner.
        patience: epochs without a better validation recall before training stops.
        validation_cutoff: k of the validation recall@k over the whole catalogue.
        validation_users: users drawn for it; 0: all.
        id_dropout: share of user and item ids replaced by out-of-vocabulary in training, so that features carry cold ones.
        use_user_id: whether the query tower has a user id embedding.
        logq: subtract the log of each item's sampling probability from its logit.
        label: label column whose positives are trained on; empty: the first label, or every event where there is none.
        seed: of initial weights and shuffling.
    """

    embedding_dim: Count = 64
    hidden: tuple[Count, ...] = (128,)
    temperature: Positive = 0.1
    batch_size: Count = 2048
    learning_rate: Positive = 1e-3
    max_epochs: Count = 20
    patience: Count = 2
    validation_cutoff: Count = 100
    validation_users: NonNegative = 5_000
    id_dropout: Fraction = 0.1
    use_user_id: bool = True
    logq: bool = True
    label: str = ""
    seed: NonNegative = 1
    device: DeviceKind = "auto"
