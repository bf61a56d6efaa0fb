"""Slates that were drawn at random are asked again with their own seeds: a chain that explores pages for nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.faults.serving import asked_of, rows_of
from ensemble.export.stage import export
from ensemble.profile.ask import OpenChain, ask, open_chain
from operations.signals.features import asked_again, mismatched, parsed
from operations.signals.slates import Sample, sample_of
from runtime.order_spec import POLICIES
from runtime.request import Parsed
from tests.ensemble.exploring import make_exploring_run

NUM, USERS, SIZE = 60, 20, 5


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[OpenChain, Sample]:
    """The chain, and what a process of it has logged."""
    root = tmp_path_factory.mktemp("exploring")
    run, config = make_exploring_run(root / "run", num_users=USERS)
    export(run, config)
    fused = run.folder("repo") / "fused"
    chain = open_chain(fused / "cascade/1/chain")
    nothing = np.empty((NUM, 0), np.int32)
    context = {column.name: np.full(NUM, np.nan) for column in chain.spec.context_columns}
    users, sizes = np.arange(NUM, dtype=np.int32) % USERS, np.full(NUM, SIZE, np.int32)
    asked = asked_of(Parsed(users, nothing, nothing, sizes, context), users, fused / "cascade/1/chain", chain.spec)
    return chain, sample_of(rows_of(asked, fused, ("0" * 64, fused), root / "served"))


def test_drawn_slates_come_again_with_their_seeds_alone(drawn: tuple[OpenChain, Sample]) -> None:
    chain, sample = drawn
    explored = np.array(sample.table["explored"].to_pylist())
    assert 0 < explored.sum() < NUM and {POLICIES[0]} != set(sample.table["policy"].to_pylist())
    rows = asked_again(sample)
    assert len(rows) == NUM
    assert not mismatched(rows, ask(chain, parsed(rows, chain.spec))).any()
    seeds = pa.array(rows.numbers("seed") ^ 1)
    other = Sample(rows.table.set_column(rows.table.column_names.index("seed"), "seed", seeds))
    assert mismatched(rows, ask(chain, parsed(other, chain.spec))).sum() > explored.sum() / 2
