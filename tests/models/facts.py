"""Facts of a log of nine users and twelve items, and what a config comes to on it."""

from __future__ import annotations

import msgspec

from models.retrieval.config import RetrievalConfig
from models.retrieval.settled import LogFacts, TowerTraining, settled

FACTS = LogFacts(num_users=9, num_items=12, num_positives=1000, ordered=False, in_memory=True)
ORDERED = msgspec.structs.replace(FACTS, ordered=True)


def training_of(config: RetrievalConfig) -> TowerTraining:
    """The training on whatever kind of examples the config names; events where it says "auto"."""
    examples = "events" if config.examples == "auto" else config.examples
    return settled(msgspec.structs.replace(config, examples=examples), ORDERED)
