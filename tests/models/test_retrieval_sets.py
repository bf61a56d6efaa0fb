"""Examples that are users: how their items are parted, when such are taken, their loss, and a training on them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models.retrieval
from models.dataset.features import Features, Shard
from models.onnx.export import session
from models.retrieval.config import EventsConfig, RetrievalConfig, SetsConfig, WindowsConfig
from models.retrieval.examples import KINDS, refitting_examples, training_examples
from models.retrieval.sets import OWNER, set_batches
from models.retrieval.settled import TowerTraining, settled
from models.retrieval.stage import train_retrieval
from tests.models.checkerboard import LENGTH, NUM_ITEMS, NUM_USERS, SCHEMA, checkerboard_run
from tests.models.facts import FACTS, ORDERED, training_of
from workflows.core.artefacts import read_manifest, write_manifest
from workflows.core.errors import ConfigError
from workflows.features.schema import HISTORY

IDS_ALONE = msgspec.structs.replace(
    SCHEMA, features=[f for f in SCHEMA.features if f.name in ("user_id", "item_id", HISTORY)]
)


ALONE = Shard()


class Rows:
    """Training positives that are in memory."""

    def __init__(self, user_row, item_row):
        self.columns = {"user_row": np.array(user_row, np.int32), "item_row": np.array(item_row, np.int32)}


def features_of(num_users, num_items):
    users, items = (np.arange(3, number + 3, dtype=np.int32) for number in (num_users, num_items))
    return Features(schema=IDS_ALONE, users={"user_id": users}, items={"item_id": items})


def batches_of(user_row, item_row, num_users, num_items, batch_size, length, *, seed=1, shard=ALONE):
    features = features_of(num_users, num_items)
    return set_batches(Rows(user_row, item_row), features, batch_size, length, seed=seed, shard=shard)


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 11)), min_size=1, max_size=60),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(0, 99),
)
@settings(max_examples=100)
def test_every_item_of_a_user_is_shown_or_a_target(events, batch_size, length, seed):
    users = {user: {item for other, item in events if other == user} for user, _ in events}
    met = []
    for batch in batches_of(*zip(*events, strict=True), 9, 12, batch_size, length, seed=seed):
        assert batch[HISTORY].shape == (min(batch_size, len(users)), length)
        assert (np.diff(batch[OWNER]) >= 0).all()
        for place, user in enumerate(batch["user_row"].tolist()):
            shown = batch[HISTORY][place]
            num_shown = np.count_nonzero(shown)
            assert (shown[:num_shown] > 0).all()  # padded right
            shown, targets = set((shown[:num_shown] - 3).tolist()), batch["item_row"][batch[OWNER] == place].tolist()
            assert targets and len(targets) == len(set(targets)) and not shown & set(targets)
            left_out = users[user] - shown - set(targets)
            assert shown | set(targets) <= users[user] and (not left_out or num_shown == length)
            met.append(user)
    assert len(met) == len(set(met)) == len(users) - len(users) % min(batch_size, len(users))


def test_half_of_the_items_are_shown_and_the_rest_are_targets():
    user, item = np.divmod(np.arange(4_000), 40)
    (batch,) = batches_of(user, item, 100, 40, batch_size=100, length=40)
    num_shown = np.count_nonzero(batch[HISTORY])
    assert num_shown + len(batch["item_row"]) == 4_000
    assert abs(num_shown / 4_000 - 0.5) < 0.03  # almost four standard deviations


def test_processes_share_the_users():
    user, item = np.divmod(np.arange(70), 7)
    shares = []
    for rank in (0, 1):
        batches = batches_of(user, item, 10, 7, batch_size=5, length=7, shard=Shard(rank, 2))
        shares += [batch["user_row"] for batch in batches]
    assert sorted(np.concatenate(shares).tolist()) == list(range(10))


def test_auto_takes_sets_where_there_is_no_order_and_they_are_affordable():
    chosen = settled(RetrievalConfig(), FACTS)
    assert (chosen.examples, chosen.negatives, chosen.batch_size) == ("sets", "all", 512)
    assert (chosen.id_dropout, chosen.history_dropout) == (0.0, 0.0)
    with_context = msgspec.structs.replace(FACTS, context=("device",))
    for config, facts in (
        (RetrievalConfig(), msgspec.structs.replace(FACTS, in_memory=False)),
        (RetrievalConfig(sets_up_to_cells=9 * 12 - 1), FACTS),
        (RetrievalConfig(), with_context),
    ):
        events = settled(config, facts)
        assert (events.examples, events.negatives, events.learning_rate) == (
            "events",
            "all",
            EventsConfig().learning_rate,
        )
    with pytest.raises(ConfigError, match=r"retrieval\.examples is 'sets'.* features\.context has device"):
        settled(RetrievalConfig(examples="sets"), with_context)


NUMBERS = {  # under the defaults: what the figures of docs/experiments were measured with
    "windows": {
        "batch_size": 2048,
        "small_log_batches": True,
        "learning_rate": 0.005,
        "max_epochs": 12,
        "patience": 3,
        "negatives": "all",
        "num_uniform_negatives": 4096,
        "logq": True,
        "id_dropout": 0.1,
        "history_dropout": 0.3,
        "num_blocks": 1,
        "num_heads": 2,
        "attention_dropout": 0.1,
    },
    "sets": {
        "batch_size": 512,
        "small_log_batches": True,
        "learning_rate": 0.01,
        "max_epochs": 60,
        "patience": 3,
        "negatives": "all",
        "num_uniform_negatives": 0,
        "logq": False,
        "id_dropout": 0.0,
        "history_dropout": 0.0,
        "num_blocks": 0,
        "num_heads": 0,
        "attention_dropout": 0.0,
    },
    "events": {
        "batch_size": 2048,
        "small_log_batches": True,
        "learning_rate": 0.001,
        "max_epochs": 60,
        "patience": 2,
        "negatives": "all",
        "num_uniform_negatives": 4096,
        "logq": True,
        "id_dropout": 0.1,
        "history_dropout": 0.3,
        "num_blocks": 0,
        "num_heads": 0,
        "attention_dropout": 0.0,
    },
}
SHARED = {
    "embedding_dim": 64,
    "hidden": (128,),
    "temperature": 0.1,
    "lazy_adam_from": 50_000,
    "refit_share": 0.25,
    "validation_cutoff": 100,
    "validation_users": 5_000,
    "use_user_id": False,
    "share_item_table": True,
    "label": "",
    "seed": 1,
    "device": "auto",
}


@pytest.mark.parametrize(
    ("examples", "facts"),
    [("windows", ORDERED), ("sets", FACTS), ("events", msgspec.structs.replace(FACTS, context=("device",)))],
)
def test_the_defaults_come_to_the_published_training(examples, facts):
    assert msgspec.structs.asdict(settled(RetrievalConfig(), facts)) == {
        "examples": examples,
        **SHARED,
        **NUMBERS[examples],
    }
    many = msgspec.structs.replace(facts, num_users=1, num_items=20_001)
    assert settled(RetrievalConfig(), many).negatives == ("all" if examples == "sets" else "mixed")
    # Windows run all of the epochs over which their learning rate falls.
    epochs = settled(RetrievalConfig(), msgspec.structs.replace(facts, can_validate=False)).max_epochs
    assert epochs == (12 if examples == "windows" else 10)


def test_every_number_of_the_training_is_read_by_it():
    """Being settled on is no effect: some code of the stage, the loop, the towers or the losses has to ask for it."""
    folder = Path(models.retrieval.__file__).parent
    deciding = {"config.py", "settled.py", "unused.py"}
    code = "\n".join(path.read_text() for path in folder.glob("*.py") if path.name not in deciding)
    for name in TowerTraining.__struct_fields__:
        assert re.search(rf"\b(config|training)\.{name}\b", code), name


@pytest.mark.parametrize("facts", [ORDERED, FACTS, msgspec.structs.replace(FACTS, context=("device",))])
def test_what_is_set_for_the_kind_of_rows_is_what_it_is_trained_with(facts):
    """Also where the data would bound it: on so many cells, and without a user to ask."""
    own = {"learning_rate": 0.123, "patience": 50, "max_epochs": 500, "batch_size": 7, "id_dropout": 0.6}
    config = RetrievalConfig(
        windows=WindowsConfig(**own, negatives="mixed", history_dropout=0.5, max_cells=1),
        events=EventsConfig(**own, negatives="mixed", history_dropout=0.5),
        sets=SetsConfig(**own, max_cells=1),
    )
    chosen = settled(config, msgspec.structs.replace(facts, can_validate=False))
    assert {name: getattr(chosen, name) for name in own} == own
    assert chosen.examples == "sets" or (chosen.negatives, chosen.history_dropout) == ("mixed", 0.5)
    assert not chosen.small_log_batches


def test_epochs_are_bounded_by_what_they_compute_unless_they_are_set():
    for most, cells, epochs in (("auto", 10**6, 60), ("auto", 9 * 12 * 7 + 5, 7), ("auto", 1, 1), (4, 1, 4)):
        config = RetrievalConfig(sets=SetsConfig(max_epochs=most, max_cells=cells))
        assert settled(config, FACTS).max_epochs == epochs
    for cells, negatives, epochs in (
        (10**9, "all", 12),
        (1000 * 12 * 7, "all", 7),
        (1, "all", 4),
        (1000 * 3 * 7, "in_batch", 7),
        (1000 * 8 * 7, "mixed", 7),
    ):
        windows = WindowsConfig(
            negatives=negatives, batch_size=3, num_uniform_negatives=5, max_cells=cells, min_epochs=4
        )
        assert settled(RetrievalConfig(windows=windows), ORDERED).max_epochs == epochs


@pytest.mark.parametrize(
    ("few", "drawn", "affordable", "expected"),
    [
        (20, 5, 12, ("all", 12)),
        (20, 5, 6, ("all", 6)),
        (20, 2, 5, ("mixed", 12)),  # of the 12 epochs more than half would be lost
        (20, 9, 5, ("all", 5)),  # as many candidates of a batch would cost the same
        (11, 2, 12, ("mixed", 12)),
    ],
)
def test_all_items_are_negatives_while_they_are_few_and_cheap(few, drawn, affordable, expected):
    contrast = {"batch_size": 3, "all_negatives_up_to": few, "num_uniform_negatives": drawn}
    config = RetrievalConfig(
        windows=WindowsConfig(**contrast, max_cells=1000 * 12 * affordable), events=EventsConfig(**contrast)
    )
    chosen = settled(config, ORDERED)
    assert (chosen.examples, chosen.negatives, chosen.max_epochs) == ("windows", *expected)
    chosen = settled(msgspec.structs.replace(config, examples="events"), ORDERED)
    assert (chosen.negatives, chosen.max_epochs) == ("mixed" if few < 12 else "all", 60)


def test_ids_are_still_dropped_where_item_features_can_carry_them():
    with_features = msgspec.structs.replace(FACTS, item_features=("category",))
    assert settled(RetrievalConfig(), with_features).id_dropout == 0.1


def test_the_loss_of_sets_is_that_of_a_row_for_each_target():
    import tensorflow as tf

    from models.retrieval.objective import catalogue_loss, sets_loss

    random = np.random.default_rng(0)
    query, catalogue = (random.standard_normal((n, 5)).astype(np.float32) for n in (3, 6))
    owner, item_row = np.array([0, 0, 2], np.int32), np.array([5, 1, 1], np.int32)
    alone = catalogue_loss(tf.constant(query[owner]), tf.constant(catalogue), tf.constant(item_row), 0.5)
    together = sets_loss(*map(tf.constant, (query, catalogue, owner, item_row)), 0.5)
    assert float(together) == pytest.approx(float(alone), rel=1e-5)


@pytest.mark.parametrize(("kind", "at_the_end"), [("events", 0.01), ("sets", 0.01), ("windows", 0.0)])
def test_a_refit_starts_at_half_the_learning_rate_and_ends_at_none(kind, at_the_end):
    own = {"learning_rate": 0.01, "max_epochs": 8}
    sections = {"events": EventsConfig(**own), "sets": SetsConfig(**own), "windows": WindowsConfig(**own)}
    config = training_of(RetrievalConfig(examples=kind, refit_share=0.25, **sections))
    positives, features = Rows([0, 0, 1], [0, 1, 2]), features_of(2, 3)
    first, then = training_examples(positives, features, config), refitting_examples(positives, features, config, 6)
    assert type(first) is type(then) and then.config.max_epochs == 2  # a quarter of six, rounded up
    assert (first.learning_rate(0.0), then.learning_rate(0.0)) == pytest.approx((0.01, 0.005))
    assert (first.learning_rate(8.0), then.learning_rate(2.0)) == pytest.approx((at_the_end, 0.0))
    assert then.learning_rate(1.0) == pytest.approx(0.0025)  # half a cosine
    assert then.config.seed != first.config.seed


def test_sets_of_ids_alone_learn_the_checkerboard(tmp_path):
    run = checkerboard_run(tmp_path)
    folder = run.folder("features")
    IDS_ALONE.save(folder / "schema.json")
    write_manifest(folder, read_manifest(folder))
    sets = SetsConfig(batch_size=20, learning_rate=0.03, max_epochs=30, patience=30)
    config = RetrievalConfig(examples="sets", sets=sets, embedding_dim=8, validation_cutoff=4)
    info = train_retrieval(run, config).info
    assert info["examples"] == "sets" and info["epochs"] == 30 and info["batch_size"] == 20
    history = json.loads((run.folder("retrieval") / "history.json").read_text())
    assert max(record["recall_at_4"] for record in history) > 0.95
    # A tower of ids is the table itself: the query is the direction of the mean of its items, and of the offset alone.
    items = np.load(run.folder("retrieval") / "item_embeddings.npy")
    assert items.shape == (NUM_ITEMS, 8) and np.linalg.norm(items, axis=1) == pytest.approx(
        np.ones(NUM_ITEMS), abs=1e-5
    )
    tower = session(run.folder("retrieval") / "query_tower.onnx")
    assert [node.name for node in tower.get_inputs()] == [HISTORY]
    empty = tower.run(["query"], {HISTORY: np.zeros((1, LENGTH), np.int32)})[0]
    assert np.linalg.norm(empty) == pytest.approx(1.0, abs=1e-5)
    assert read_manifest(run.folder("retrieval")).info["num_examples"] == NUM_USERS * 8


@pytest.mark.parametrize(
    ("examples", "count", "processes", "size"),
    [
        ("sets", 5_000, 1, 512),  # anime of docs/QUALITY.md
        ("sets", 4_096, 1, 512),
        ("sets", 500, 1, 62),
        ("sets", 500, 2, 31),
        ("sets", 150, 1, 18),
        ("sets", 40, 1, 8),
        ("sets", 5, 1, 5),
        ("events", 131_072, 1, 2048),
        ("events", 131_072, 2, 1024),
        ("events", 7_805, 1, 121),
        ("events", 934, 1, 64),
        ("events", 30, 1, 30),
    ],
)
def test_a_small_log_takes_small_batches_and_a_large_one_those_of_the_default(examples, count, processes, size):
    class Counted(KINDS[examples]):
        num_units = count

    facts = FACTS if examples == "sets" else msgspec.structs.replace(FACTS, context=("device",))
    for asked, expected in (("auto", size), (4, 4), (2048, min(2048, count // processes))):
        own = {"sets": SetsConfig(batch_size=asked), "events": EventsConfig(batch_size=asked)}
        chosen = Counted(None, None, settled(RetrievalConfig(**own), facts))
        assert chosen.batch_size(Shard(0, processes)) == expected
