"""Histories with an order: the windows that are trained on, the attention encoder, and what both learn together."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.dataset.events import Events
from models.dataset.features import load_events, load_features, load_state
from models.dataset.shard import Shard
from models.onnx.export import session
from models.retrieval.config import RetrievalConfig, WindowsConfig
from models.retrieval.examples import training_examples
from models.retrieval.settled import settled
from models.retrieval.stage import train_retrieval
from models.retrieval.windows import PLACE, window_batches
from tests.models.checkerboard import LENGTH, NUM_ITEMS, NUM_WALKS, SCHEMA, checkerboard_run, ring_run
from tests.models.facts import ORDERED, training_of
from workflows.core.errors import ConfigError

CONFIG = RetrievalConfig(
    examples="windows",
    windows=WindowsConfig(
        batch_size=64, learning_rate=0.02, max_epochs=4, patience=4, id_dropout=0.0, history_dropout=0.0
    ),
    embedding_dim=16,
    hidden=(16,),
    validation_cutoff=1,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return ring_run(tmp_path_factory.mktemp("ring"))


def clicks(run):
    return load_events(run, "train").select(positives_of="click", known_items_only=True)


def histories(batch, codes):
    """Of each target: the items of its window up to its place, as item rows."""
    row_of = {code: row for row, code in enumerate(codes)}
    width = batch["recent_item_ids"].shape[1]
    for place in batch[PLACE]:
        window, last = divmod(place - 1, width)
        yield [] if not place else [row_of[code] for code in batch["recent_item_ids"][window, : last + 1]]


@pytest.mark.parametrize("length", [3, LENGTH, 50])
def test_every_positive_is_once_the_target_of_what_its_user_had_before_it(run, length):
    features, events = load_features(run), clicks(run)
    before = {}
    for user in range(NUM_WALKS):
        walk = events.columns["item_row"][events.columns["user_row"] == user].tolist()
        before |= {(user, item): walk[:i] for i, item in enumerate(walk)}
    lengths = []
    for seed in (1, 2):
        targets = []
        for batch in window_batches(events, features, 48, length, seed=seed, shard=Shard()):
            assert batch["recent_item_ids"].shape[1] <= length
            rows = zip(batch["user_row"], batch["item_row"], histories(batch, features.items["item_id"]), strict=True)
            for user, item, history in rows:
                targets.append((user, item))
                past = before[user, item]
                assert history == past[len(past) - len(history) :]
                assert bool(history) == bool(past)
                assert len(history) <= length
                lengths.append((seed, user, item, len(history)))
        assert sorted(targets) == sorted(before)
    seen = [{tuple(rest) for s, *rest in lengths if s == seed} for seed in (1, 2)]
    assert (seen[0] != seen[1]) == (length < 7)  # seven of the eight items are followed by one: longer, no cut


def test_a_log_that_does_not_fit_in_memory_is_cut_at_its_parts(run):
    features, whole = load_features(run), clicks(run)
    parts = sorted((run.folder("features") / "train").glob("*.parquet"))
    streamed = Events(parts, positives_of="click", known_items_only=True, memory_budget_bytes=1)
    assert not streamed.fits_memory
    targets = [
        pair
        for batch in window_batches(streamed, features, 48, LENGTH, seed=1, shard=Shard())
        for pair in zip(batch["user_row"].tolist(), batch["item_row"].tolist(), strict=True)
    ]
    columns = whole.columns
    assert sorted(targets) == sorted(zip(columns["user_row"].tolist(), columns["item_row"].tolist(), strict=True))


def test_users_of_one_event_are_targets_of_an_empty_history(run):
    features, alone = load_features(run), clicks(run)
    alone.columns.update({name: values[::8].copy() for name, values in alone.columns.items()})
    assert len(np.unique(alone.columns["user_row"])) == len(alone.columns["user_row"]) == NUM_WALKS
    batches = list(window_batches(alone, features, 64, LENGTH, seed=1, shard=Shard()))
    assert sum(len(batch["item_row"]) for batch in batches) == NUM_WALKS
    assert all((batch[PLACE] == 0).all() and batch["recent_item_ids"].shape[1] == 1 for batch in batches)


def test_every_process_gets_batches_of_one_shape(run):
    features, shapes, targets = load_features(run), [], []
    for rank in range(3):
        batches = list(window_batches(clicks(run), features, 30, 4, seed=7, shard=Shard(rank, 3)))
        shapes.append(
            [(batch["recent_item_ids"].shape, batch[PLACE].shape, batch["item_row"].shape) for batch in batches]
        )
        targets.append({pair for batch in batches for pair in zip(batch["user_row"], batch["item_row"], strict=True)})
    assert shapes[0] == shapes[1] == shapes[2]
    assert set(shapes[0]) == {(shapes[0][0][0], (30,), (30,))}
    assert not targets[0] & targets[1] and not targets[0] & targets[2] and not targets[1] & targets[2]


def test_a_state_in_training_is_what_serving_computes_for_the_history_up_to_it(run):
    import tensorflow as tf

    from models.retrieval.towers import build_towers

    towers = build_towers(SCHEMA, training_of(CONFIG))
    random = np.random.default_rng(0)
    for variable in towers.variables:
        variable.assign(random.standard_normal(variable.shape).astype(np.float32) * 0.4)
    fields = towers._fields
    fields.history.dropout = 0.0
    for block in fields.history.blocks:
        block.dropout = 0.0
    windows = random.integers(3, NUM_ITEMS + 3, (5, LENGTH)).astype(np.int32)
    states = towers.history_states(tf.constant(windows), tf.constant([1, 2])).numpy()
    assert states[0] == pytest.approx(np.zeros(32))
    others = {f.name: np.ones((5, f.length or 1), np.int32) for f in towers.query_features if f.kind == "categorical"}
    others["age"] = np.ones((5, 1), np.float32)
    for k in range(LENGTH):
        prefix = np.where(np.arange(LENGTH) <= k, windows, 0)
        served = towers.encode_query({**others, "recent_item_ids": prefix})
        trained = towers.encode_query({**others, "recent_item_ids": states[1:].reshape(5, LENGTH, -1)[:, k]})
        assert served == pytest.approx(trained, abs=1e-5)
        if k:
            turned = np.concatenate([prefix[:, k::-1], prefix[:, k + 1 :]], axis=1)
            assert np.abs(towers.encode_query({**others, "recent_item_ids": turned}) - served).max() > 1e-3


@pytest.mark.long
def test_the_order_decides_where_a_walk_goes_on(run):
    train_retrieval(run, CONFIG)
    features, history = load_features(run), np.asarray(load_state(run, "train").history)
    tower = session(run.folder("retrieval") / "query_tower.onnx")
    item_embeddings = np.load(run.folder("retrieval") / "item_embeddings.npy")

    def goes_on(rows):
        inputs = features.query_inputs(
            np.arange(NUM_WALKS), features.null_context(NUM_WALKS), features.history_codes(rows)
        )
        query = tower.run(["query"], {node.name: inputs[node.name] for node in tower.get_inputs()})[0]
        scores = query @ item_embeddings.T
        np.put_along_axis(scores, rows, -np.inf, axis=1)
        return scores.argmax(axis=1)

    turns = np.where(np.arange(NUM_WALKS) % 2, 1, -1)
    assert np.mean(goes_on(history) == (history[:, -1] + turns) % NUM_ITEMS) > 0.95
    # The same items the other way round: back to where the walk came from.
    assert np.mean(goes_on(history[:, ::-1]) == (history[:, 0] - turns) % NUM_ITEMS) > 0.95


def test_a_saved_tower_reads_the_order_too(run):
    import tensorflow as tf

    from models.onnx.export import random_inputs
    from models.retrieval.towers import build_towers

    towers = build_towers(SCHEMA, training_of(CONFIG))
    inputs = random_inputs(towers.query_features, 9)
    path = str(run.root / "saved")
    towers.query.save(path, include_optimizer=False)
    again = tf.keras.models.load_model(path, compile=False)
    got = again({name: tf.constant(value) for name, value in inputs.items()})
    assert np.asarray(got) == pytest.approx(towers.encode_query(inputs), abs=1e-6)


def test_windows_are_taken_where_there_is_an_order(tmp_path):
    from models.retrieval.towers import build_towers

    chosen = settled(RetrievalConfig(), msgspec.structs.replace(ORDERED, in_memory=False))
    assert (chosen.examples, chosen.learning_rate) == ("windows", WindowsConfig().learning_rate)
    with pytest.raises(ConfigError, match=r"retrieval\.examples is 'windows', but the events have no timestamps"):
        train_retrieval(checkerboard_run(tmp_path), CONFIG)
    three = msgspec.structs.replace(CONFIG, windows=WindowsConfig(num_heads=3))
    with pytest.raises(ConfigError, match=r"num_heads is 3, expected a divisor of retrieval\.embedding_dim, 16"):
        build_towers(SCHEMA, training_of(three))


def test_windows_of_a_small_log_take_small_batches_unless_their_size_is_set(run):
    positives, features, largest = clicks(run), load_features(run), {}
    for size in ("auto", 64, 2048):
        config = msgspec.structs.replace(CONFIG, windows=WindowsConfig(batch_size=size))
        examples = training_examples(positives, features, training_of(config))
        batches = [len(batch["item_row"]) for batch in examples.batches(seed=1, shard=Shard())]
        assert sum(batches) == len(positives)
        largest[size] = max(batches)
    assert len(positives) // 32 == 100  # steps in an epoch
    assert largest[64] <= 64 + LENGTH < largest["auto"] <= 100 + LENGTH < 1000 < largest[2048]
