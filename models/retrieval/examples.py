"""Training examples of the kind that was settled on. Imports TensorFlow."""

from __future__ import annotations

from models.dataset.features import Events, Features
from models.retrieval.event_examples import EventExamples
from models.retrieval.sets import SetExamples
from models.retrieval.settled import TowerTraining
from models.retrieval.windows import WindowExamples
from models.training.refit import refitting

__all__ = ["KINDS", "refitting_examples", "training_examples"]

KINDS = {"events": EventExamples, "sets": SetExamples, "windows": WindowExamples}


def training_examples(positives: Events, features: Features, config: TowerTraining) -> EventExamples:
    """Examples of the kind that the config names."""
    return KINDS[config.examples](positives, features, config)


def refitting_examples(positives: Events, features: Features, config: TowerTraining, num_epochs: int) -> EventExamples:
    """Examples of the same kind, to go on with over more events: other draws, and a learning rate that falls from half.

    Args:
        positives: those of training and those that told its best epoch.
        features: of the run.
        config: of the training.
        num_epochs: that the best epoch was the last of; `config.refit_share` of them follow.
    """
    config = refitting(config, num_epochs, seed=config.seed + 1)
    return KINDS[config.examples](positives, features, config, falls=True)
