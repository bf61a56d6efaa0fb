"""Events and slates leave nothing behind in memory, once users and items are known and their records are full."""

from __future__ import annotations

import gc
import itertools
import sys

import msgspec
import numpy as np
import pytest

from ensemble.export.compile import compile_chain
from runtime.chain import Chain
from runtime.spec import ChainSpec
from runtime.stream.ingest import Ingest
from runtime.stream.live import events_in
from tests.ensemble.synthetic import make_run
from tests.runtime.stream.test_fold import events_of
from workflows.stream.config import StreamConfig

USERS, ITEMS, BATCH, ROUNDS = 20, 120, 32, 100


@pytest.mark.slow
def test_neither_a_batch_of_events_nor_a_slate_leaves_anything_in_memory(tmp_path):
    run, config = make_run(tmp_path / "run", num_users=USERS, num_items=ITEMS)
    config = msgspec.structs.replace(config, stream=StreamConfig())
    compile_chain(run, config, tmp_path / "chain", "serve")
    live = ChainSpec.load(tmp_path / "chain").live
    assert live is not None
    ingest, random = Ingest(tmp_path / "events", live.stream), np.random.default_rng(1)
    ids = {side: np.load(run.folder("data") / "ids" / f"{side}s.npy") for side in ("user", "item")}
    with events_in(tmp_path / "events"):
        chain = Chain.load(tmp_path / "chain")

    instants = itertools.count(1)

    def go_on(rounds: int) -> int:
        """Memory blocks of Python that are in use when so many rounds have ended."""
        for _ in range(rounds):
            drawn = zip(random.choice(ids["user"], BATCH), random.choice(ids["item"], BATCH), strict=True)
            events = events_of([{"user": int(u), "item": int(i), "at": next(instants)} for u, i in drawn])
            status, _ = ingest.accept(events, 1)
            assert status.all()
            chain.recommend_many([{"user_id": random.choice(ids["user"], (1, 1))}])
        gc.collect()
        return sys.getallocatedblocks()

    blocks = [go_on(ROUNDS) for _ in range(5)]
    ingest.close()
    # Caches fill up at first; an object that each round leaves behind is there in every part.
    assert min(np.diff(blocks)) < ROUNDS / 2, blocks
