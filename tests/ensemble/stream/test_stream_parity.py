"""The check of an export: what the live state gives at the instants of train events is what models were given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.config import Config
from ensemble.export import stream_parity
from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from ensemble.export.stream_parity import check_stream, steps_of_check
from runtime.stream import features, windows
from tests.ensemble.synthetic import make_run, sign_again
from tests.ensemble.synthetic_stream import STREAM_FEATURES
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.run import Run
from workflows.stream.backfill import TableEvents
from workflows.stream.config import StreamConfig
from workflows.stream.said import SAID_FILE, Said

# Compared where every seventh row is.
ROW = 700


def made(root: Path, *, text_ids: bool) -> tuple[Run, Config, Path]:
    run, config = make_run(root / "run", num_users=40, num_items=120, stream=STREAM_FEATURES, text_ids=text_ids)
    config = msgspec.structs.replace(config, stream=StreamConfig())
    compile_chain(run, config, root / "chain", "serve", steps_of_check(run))
    return run, config, root / "chain"


@pytest.fixture(scope="module", params=[False, True], ids=["integers", "text"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Config, Path]:
    return made(tmp_path_factory.mktemp("parity"), text_ids=request.param)


def test_training_rows_are_what_the_state_gives(
    world: tuple[Run, Config, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config, chain = world
    monkeypatch.setattr(stream_parity, "NUM_ROWS", 1000)
    assert check_stream(run, chain) == 960
    assert not list(chain.parent.glob(".stream-*"))
    monkeypatch.setattr(stream_parity, "NUM_ROWS", 7)
    export(run, config)
    assert read_manifest(run.folder("repo")).info["num_rows_compared"] == 7


def test_a_row_that_was_encoded_otherwise_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_parity, "NUM_ROWS", 138)  # every seventh of 960
    run, config, chain = made(tmp_path, text_ids=False)
    path = run.folder("features") / "train/part_000.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("context_5_clicks_7d")
    codes = table["context_5_clicks_7d"].to_numpy().copy()
    codes[ROW] += 1
    pq.write_table(table.set_column(place, "context_5_clicks_7d", pa.array(codes)), path)
    user = 1000 + 2 * table["user_row"][ROW].as_py()
    with pytest.raises(
        ArtefactError,
        match=rf"'context_5_clicks_7d' of the row of user {user} at 20.* was {codes[ROW]} in training and is "
        rf"{codes[ROW] - 1} by the live state",
    ):
        check_stream(run, chain)
    sign_again(run)
    with pytest.raises(ArtefactError, match="run the stages again from `cascade prepare --force`"):
        export(run, config)
    assert not (run.folder("repo") / "manifest.json").exists()


def test_a_fold_that_counts_otherwise_is_found(
    world: tuple[Run, Config, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, chain = world
    monkeypatch.setattr(features, "values", _one_more)
    with pytest.raises(ArtefactError, match=r"the stream feature '.*' of the row of user"):
        check_stream(run, chain)


def _one_more(newest: np.ndarray, tiles: np.ndarray, window: windows.Window, t: np.ndarray) -> np.ndarray:
    return windows.values(newest, tiles, window, t) + 1


def test_events_of_items_outside_the_catalogue_count_for_their_users(world: tuple[Run, Config, Path]) -> None:
    run, _, chain = world
    path = run.folder("data") / SAID_FILE
    before = Said.read(path)
    outside = before.item % 5 == 0
    try:
        replace(before, item=np.where(outside, -1, before.item).astype(np.int32)).write(path)
        every = TableEvents(run)
        assert len(every) == len(before)
        ids = np.load(run.folder("data") / "ids/items.npy").tolist()
        items = np.concatenate([batch.item for batch in every.batches()])
        (name,) = set(items[outside].tolist())
        assert name not in [*ids, -1, -(2**63)]
        assert set(items[~outside].tolist()) <= set(ids)
        # Their users' windows still count them, in the tables as in the state.
        assert check_stream(run, chain) > 0
    finally:
        before.write(path)
