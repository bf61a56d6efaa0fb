"""One process of a training as the launchers start it: RUN STAGE CONFIG(JSON) [after how many epochs to die]."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from models.ranking.config import RankingConfig
from models.retrieval.config import RetrievalConfig
from workflows.core import console
from workflows.core.errors import CascadeError
from workflows.core.run import Run


def main(root: str, stage: str, config: str, dies_after: str = "") -> None:
    run = Run(Path(root))
    if dies_after:
        _die_after(int(dies_after))
    try:
        if stage == "retrieval":
            from models.retrieval.stage import train_retrieval

            train_retrieval(run, msgspec.json.decode(config, type=RetrievalConfig))
        else:
            from models.ranking.stage import train_ranking

            train_ranking(run, msgspec.json.decode(config, type=RankingConfig))
    except CascadeError as error:
        console.fail(str(error))
        sys.exit(1)


def _die_after(num_epochs: int) -> None:
    """Make this process vanish when a further epoch starts, as the kernel would end it for want of memory."""
    from models.dataset.events import Events

    true_batches, seeds = Events.batches, set()

    def batches(self, *args, **kwargs):
        seeds.add(kwargs.get("seed"))
        if len(seeds) > num_epochs:
            os._exit(9)
        return true_batches(self, *args, **kwargs)

    Events.batches = batches


if __name__ == "__main__":
    main(*sys.argv[1:])
