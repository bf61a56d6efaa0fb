"""What an export writes for a chain with a live state, and where no live event may count."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.config import ChainConfig, Config, FilterRule
from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from ensemble.stream import catalogue
from ensemble.stream.live import DAY_NS, live_spec
from runtime.chain import Chain
from runtime.plan import Plan
from runtime.spec import ChainSpec, LiveSpec
from runtime.standard import standard_plan
from runtime.stream.folder import FOLDER_VARIABLE
from runtime.stream.items import KEY_ROWS_FILE, KEYS_FILE
from runtime.stream.keys import item_keys
from tests.ensemble.synthetic import item_id, make_run, user_id
from tests.runtime.stream.writer import Writer, stock
from tests.workflows.infos import data_info
from workflows.core.errors import DataError
from workflows.core.run import Run
from workflows.stream.config import StreamConfig

RULE = FilterRule(column="price", op="<=", value=0.8)


def streaming(config: Config, **chain: object) -> Config:
    changed = msgspec.structs.replace(config.chain, **chain)
    return msgspec.structs.replace(config, stream=StreamConfig(), chain=changed)


def rows_in(path: Path, num_items: int) -> set[int]:
    return set(np.flatnonzero(np.unpackbits(np.load(path), bitorder="little", count=num_items)).tolist())


@pytest.mark.parametrize("text_ids", [False, True])
def test_a_chain_holds_what_the_rules_allow_beside_what_is_in_stock(tmp_path, text_ids):
    chain = ChainConfig(num_candidates=30, slate_size=5, max_slate_size=20, rules=[RULE])
    run, config = make_run(tmp_path / "run", num_users=10, num_items=60, text_ids=text_ids, chain=chain, further=True)
    plan = compile_chain(run, streaming(config), tmp_path / "live", "serve")
    compile_chain(run, config, tmp_path / "plain", "serve")
    assert plan == standard_plan(ChainSpec.load(tmp_path / "live"))
    items = pq.read_table(run.folder("data") / "items.parquet").to_pydict()
    allowed = {row for row, price in enumerate(items["price"]) if price <= 0.8}
    in_stock = {row for row in allowed if items["in_stock"][row]}
    assert rows_in(tmp_path / "live/rules.npy", 60) == allowed > in_stock
    for name in ("live", "plain"):
        assert rows_in(tmp_path / name / "eligible.npy", 60) == in_stock
        for order in ("popular.npy", "sources/trending/order.npy", "sources/latest/order.npy"):
            assert set(np.load(tmp_path / name / order).tolist()) == (allowed if name == "live" else in_stock)
    added = {"rules.npy", *((KEYS_FILE, KEY_ROWS_FILE) if text_ids else ())}
    written = [{p.relative_to(f).as_posix() for p in f.rglob("*") if p.is_file()} for f in tmp_path.glob("[lp]*")]
    assert written[0] ^ written[1] == added
    if text_ids:
        keys, rows = np.load(tmp_path / "live" / KEYS_FILE), np.load(tmp_path / "live" / KEY_ROWS_FILE)
        assert (np.diff(keys) > 0).all()
        wanted = item_keys(np.array([item_id(row, True) for row in range(60)], object))
        assert wanted[rows].tolist() == keys.tolist()


def test_two_text_ids_of_one_hash_are_refused(tmp_path, monkeypatch):
    np.save(tmp_path / "items.npy", np.array([b"a", b"b", "c\u00e9".encode()]))
    monkeypatch.setattr(catalogue, "item_keys", lambda ids: np.array([5, -3, 5]))
    with pytest.raises(
        DataError, match="the ids 'a' and 'c\u00e9' have the same 64-bit hash, by which live events know"
    ):
        catalogue.write_keys(tmp_path / "items.npy", tmp_path / "item_keys.npy")


def test_a_log_is_known_up_to_the_offset_to_which_it_was_read(tmp_path):
    run, config = make_run(tmp_path / "run", num_users=10, num_items=40)
    info = data_info(10, 40, timestamp_unit="datetime", log_id="that", log_offset=77)
    live = live_spec(run, streaming(config), info, [], "serve")
    # Whatever came behind it is news, however early its time.
    assert live == LiveSpec(live.stream, known_log="that", known_offset=77)


@pytest.mark.parametrize(
    ("unit", "latest", "known_at"),
    [
        ("s", 10**18, 10**18),
        ("datetime", 10**18, 10**18),
        ("date", 10**18, 10**18 + DAY_NS - 1),
        ("order", 99, LiveSpec.known_at),
        ("rows", 99, LiveSpec.known_at),
    ],
)
def test_tables_are_known_up_to_their_latest_event(tmp_path, unit, latest, known_at):
    run, config = make_run(tmp_path / "run", num_users=10, num_items=40)
    for split, at in (("train", [5, 7]), ("valid", []), ("test", [latest, 9])):
        (run.folder("data") / split).mkdir(exist_ok=True)
        pq.write_table(pa.table({"at": pa.array(at, pa.int64())}), run.folder("data") / split / "part_00000.parquet")
    live = live_spec(run, streaming(config), data_info(10, 40, timestamp_unit=unit), [], "serve")
    assert live is not None and live.known_at == known_at


def test_an_event_of_the_future_does_not_hide_those_that_come_until_then(tmp_path):
    run, config = make_run(tmp_path / "run", num_users=10, num_items=40)
    table = pa.table({"at": [time.time_ns() + 10**18]})
    pq.write_table(table, run.folder("data") / "train/part_00001.parquet")
    before = time.time_ns()
    live = live_spec(run, streaming(config), data_info(10, 40, timestamp_unit="ns"), [], "serve")
    assert live is not None and before <= live.known_at <= time.time_ns()


@pytest.fixture
def busy(tmp_path, monkeypatch) -> tuple[Run, Config]:
    """A run whose live state would change every slate: the best item is sold out and everybody has clicked."""
    run, config = make_run(tmp_path / "run", num_users=20, num_items=80)
    config = streaming(config)
    compile_chain(run, config, tmp_path / "first", "serve")
    spec = ChainSpec.load(tmp_path / "first")
    assert spec.live is not None
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "events"))
    with Writer(tmp_path / "events", spec.live.stream) as writer:
        clicks = [{"user": user_id(row, False), "item": item_id(row + 9, False), "at": 5} for row in range(20)]
        writer.send(*clicks, *(stock(item_id(row, False), 0.0, at=5) for row in range(0, 80, 2)))
    answer = Chain.load(tmp_path / "first").recommend({"user_id": np.array([[user_id(4, False)]])})
    assert answer["stream_offset"].tolist() == [[60]]
    assert not any((item - 7) // 3 % 2 == 0 for item in answer["item_id"][0].tolist())
    return run, config


def test_the_check_against_brute_force_sees_no_live_events(busy):
    run, config = busy
    assert export(run, config).info["num_users_compared"] == 16


def test_the_check_of_a_graph_of_ones_own_sees_no_live_events(busy):
    run, config = busy
    assert export(run, streaming(config, graph="tests.ensemble.graphs:with_promotion")).info["num_users_compared"] == 16


def test_an_offline_evaluation_knows_no_live_state(busy, tmp_path):
    run, config = busy
    compile_chain(run, config, tmp_path / "eval", "eval")
    compile_chain(run, msgspec.structs.replace(config, stream=None), tmp_path / "plain", "eval")
    assert ChainSpec.load(tmp_path / "eval") == ChainSpec.load(tmp_path / "plain")
    assert Plan.load(tmp_path / "eval") == Plan.load(tmp_path / "plain")


def test_a_server_without_lmdb_does_not_load_a_chain_that_needs_it(busy, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    with pytest.raises(ModuleNotFoundError, match="lmdb"):
        Chain.load(tmp_path / "first")
