"""The two-tower stage on the checkerboard, and its objective in closed form."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.dataset.features import load_events, load_features, load_state
from models.index.config import IndexConfig
from models.index.stage import Serving, build_index, sample_queries
from models.onnx.export import PARITY_TOLERANCE, check_parity, export_onnx, random_inputs, session
from models.ranking.config import RankingConfig
from models.ranking.stage import train_ranking
from models.retrieval.config import EventsConfig, RetrievalConfig, SetsConfig, WindowsConfig
from models.retrieval.retriever import Retriever
from models.retrieval.stage import train_retrieval
from models.retrieval.validation import recall_at_k, validation_set
from tests.models.checkerboard import NUM_ITEMS, NUM_USERS, SCHEMA, checkerboard_run, ring_run
from tests.models.facts import training_of
from workflows.core.artefacts import read_manifest, write_manifest
from workflows.core.errors import ArtefactError

EVENTS = EventsConfig(batch_size=64, max_epochs=25, patience=25, learning_rate=0.02, history_dropout=0.1)
CONFIG = RetrievalConfig(embedding_dim=8, hidden=(16,), validation_cutoff=4, events=EVENTS)
ONE_EPOCH = msgspec.structs.replace(CONFIG, events=msgspec.structs.replace(EVENTS, max_epochs=1))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = checkerboard_run(tmp_path_factory.mktemp("retrieval"))
    train_retrieval(run, CONFIG)
    return run


def query_all_users(run):
    features, state = load_features(run), load_state(run, "train")
    users = np.arange(NUM_USERS)
    codes = features.history_codes(np.asarray(state.history))
    inputs = features.query_inputs(users, features.null_context(NUM_USERS), codes)
    tower = session(run.folder("retrieval") / "query_tower.onnx")
    return tower, {node.name: inputs[node.name] for node in tower.get_inputs()}


def test_the_best_unseen_items_have_the_users_parity(run):
    tower, inputs = query_all_users(run)
    scores = tower.run(["query"], inputs)[0] @ np.load(run.folder("retrieval") / "item_embeddings.npy").T
    state = load_state(run, "train")
    for user in range(NUM_USERS):
        scores[user, state.seen(user)] = -np.inf
    top = np.argsort(-scores, axis=1)[:, :4]  # exactly four items of the own parity are unseen
    assert np.mean(top % 2 == np.arange(NUM_USERS)[:, None] % 2) > 0.97


def test_embeddings_are_normalised_and_by_item_row(run):
    import tensorflow as tf

    embeddings = np.load(run.folder("retrieval") / "item_embeddings.npy")
    assert embeddings.shape == (NUM_ITEMS, 8)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(NUM_ITEMS), abs=1e-5)
    tower, inputs = query_all_users(run)
    assert np.linalg.norm(tower.run(["query"], inputs)[0], axis=1) == pytest.approx(np.ones(NUM_USERS), abs=1e-5)
    saved = tf.keras.models.load_model(run.folder("retrieval") / "item_tower", compile=False)
    item_inputs = load_features(run).item_inputs(np.arange(NUM_ITEMS))
    again = saved({name: tf.constant(value) for name, value in item_inputs.items()})
    assert np.asarray(again) == pytest.approx(embeddings, abs=1e-5)


def test_padding_does_not_change_the_query(run):
    from models.retrieval.towers import build_towers

    short = msgspec.structs.replace(
        SCHEMA,
        features=[msgspec.structs.replace(f, length=3) if f.side == "history" else f for f in SCHEMA.features],
    )
    training = training_of(CONFIG)
    towers, towers_short = build_towers(SCHEMA, training), build_towers(short, training)
    for target, source in zip(towers_short.variables, towers.variables, strict=True):
        target.assign(source)
    inputs = random_inputs(SCHEMA.query, 9)
    inputs["recent_item_ids"] = np.pad(inputs["recent_item_ids"][:, :3], ((0, 0), (0, 3)))
    cut = {**inputs, "recent_item_ids": inputs["recent_item_ids"][:, :3]}
    assert towers.encode_query(inputs) == pytest.approx(towers_short.encode_query(cut), abs=1e-6)
    moved = {**inputs, "recent_item_ids": np.roll(inputs["recent_item_ids"], 1, axis=1)}
    assert towers.encode_query(moved) == pytest.approx(towers.encode_query(inputs), abs=1e-6)


def without_context(run):
    """The run without the features of the context, which examples of sets cannot have."""
    folder = run.folder("features")
    msgspec.structs.replace(SCHEMA, features=[f for f in SCHEMA.features if f.side != "context"]).save(
        folder / "schema.json"
    )
    write_manifest(folder, read_manifest(folder))
    return run


def tower_variables(folder):
    """Name -> value of each variable of a saved tower."""
    import tensorflow as tf

    saved = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    names = [name for name in saved.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: saved.get_tensor(name) for name in names}


@pytest.mark.parametrize(
    "examples",
    ["events", pytest.param("sets", marks=pytest.mark.long), pytest.param("windows", marks=pytest.mark.long)],
)
def test_a_training_killed_in_both_of_its_phases_ends_as_an_unbroken_one(examples, tmp_path, monkeypatch):
    """To the last bit: what is drawn follows from seed, epoch and step, and the checkpoint has everything else."""
    import models.retrieval.training as training

    config = msgspec.structs.replace(
        CONFIG,
        examples=examples,
        refit_share=0.9,
        events=msgspec.structs.replace(EVENTS, max_epochs=4),
        windows=WindowsConfig(max_epochs=4, history_dropout=0.1),
        sets=SetsConfig(max_epochs=4),
    )
    make = ring_run if examples == "windows" else checkerboard_run
    whole, killed = make(tmp_path / "whole"), make(tmp_path / "killed")
    if examples == "sets":
        without_context(whole), without_context(killed)
    info = train_retrieval(whole, config).info
    num_epochs, num_refit = info["epochs"], info["refit_epochs"]
    assert num_epochs > 2 and num_refit > 1
    true_epoch, started = training._epoch, []

    def killed_at(count):
        def epoch_of(epoch, *rest):
            started.append(epoch)
            if len(started) == count:
                raise KeyboardInterrupt
            return true_epoch(epoch, *rest)

        monkeypatch.setattr(training, "_epoch", epoch_of)
        with pytest.raises(KeyboardInterrupt):
            train_retrieval(killed, config)
        assert not killed.folder("retrieval").exists()

    killed_at(3)
    killed_at(1 + num_epochs + 2)
    monkeypatch.setattr(training, "_epoch", lambda epoch, *rest: started.append(epoch) or true_epoch(epoch, *rest))
    assert train_retrieval(killed, config).info == info | {"onnx_difference": pytest.approx(0.0, abs=1e-3)}
    # The third epoch and the second one of the refit were lost, and nothing else.
    assert started == [0, 1, 2, *range(2, num_epochs), 0, 1, *range(1, num_refit)]
    for name in ("item_embeddings.npy", "train/item_embeddings.npy"):
        np.testing.assert_array_equal(*(np.load(r.folder("retrieval") / name) for r in (whole, killed)))
    assert not killed.scratch("retrieval").exists()
    for tower in ("query_tower", "item_tower"):
        one, two = (tower_variables(r.folder("retrieval") / tower) for r in (whole, killed))
        assert one.keys() == two.keys() and len(one) > 2
        for name, values in one.items():
            np.testing.assert_array_equal(values, two[name])
    # What was made from the ones fits the others.
    assert len({read_manifest(r.folder("retrieval")).content for r in (whole, killed)}) == 1


def without_a_click(folder):
    """One click of a split becomes none."""
    tables = {part: pq.read_table(part) for part in sorted(folder.glob("*.parquet"))}
    part, table = next((part, table) for part, table in tables.items() if max(table["click"].to_pylist()) == 1)
    clicks = table["click"].to_numpy().copy()
    clicks[np.flatnonzero(clicks)[0]] = 0
    pq.write_table(table.set_column(table.schema.get_field_index("click"), "click", pa.array(clicks)), part)


def test_a_refit_goes_over_train_and_valid_and_leaves_the_towers_of_the_train_split(tmp_path):
    """One click less in the valid split moves what is served, and only that."""
    config = ONE_EPOCH
    embeddings = {}
    for name, share in (("refit", 0.5), ("again", 0.5), ("none", 0.0)):
        run = checkerboard_run(tmp_path / name)
        if name == "again":
            without_a_click(run.folder("features") / "valid")
            write_manifest(run.folder("features"), read_manifest(run.folder("features")))
        info = train_retrieval(run, msgspec.structs.replace(config, refit_share=share)).info
        assert (info["refit_epochs"] > 0) == (share > 0)
        folder = run.folder("retrieval")
        embeddings[name] = [np.load(f / "item_embeddings.npy") for f in (folder / "train", folder)]
        asked = random_inputs(load_features(run).schema.query, 4)
        queries = [Retriever(f).embed(asked) for f in (folder / "train", folder)]
        assert (np.abs(queries[0] - queries[1]).max() > 1e-3) == (share > 0)
    assert embeddings["none"][0] == pytest.approx(embeddings["none"][1], abs=1e-7)
    assert embeddings["refit"][0] == pytest.approx(embeddings["again"][0], abs=1e-6)
    assert embeddings["refit"][0] == pytest.approx(embeddings["none"][0], abs=1e-6)
    assert np.abs(embeddings["refit"][1] - embeddings["again"][1]).max() > 1e-3


@pytest.mark.long
def test_a_seed_decides_the_result(tmp_path):
    config = ONE_EPOCH
    results = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = checkerboard_run(tmp_path / name)
        train_retrieval(run, msgspec.structs.replace(config, seed=seed))
        results.append(np.load(run.folder("retrieval") / "item_embeddings.npy"))
    assert results[0] == pytest.approx(results[1], abs=1e-5)
    assert np.abs(results[0] - results[2]).max() > 0.01


def corrected_softmax(query, items, rows, correction, temperature):
    """The mean loss one row and one candidate at a time; other candidates of a row's own item are left out."""
    losses = []
    for b in range(len(query)):
        others = [n for n in range(len(items)) if rows[n] != rows[b]]
        logits = [query[b] @ items[n] / temperature - correction[rows[n]] for n in [b, *others]]
        losses.append(np.log(np.exp(logits).sum()) - logits[0])
    return np.mean(losses)


def test_in_batch_loss_is_the_corrected_softmax():
    import tensorflow as tf

    from models.retrieval.objective import in_batch_loss

    random = np.random.default_rng(0)
    query, item = random.standard_normal((2, 4, 5)).astype(np.float32)
    rows, popularity = np.array([0, 2, 2, 1], np.int32), np.array([5, 1, 14], np.float32)
    item[2] = item[1]  # rows 1 and 2 hold the same item: an accidental hit for each other
    config = msgspec.structs.replace(training_of(CONFIG), temperature=0.5)
    for logq in (True, False):
        correction = np.log(popularity / popularity.sum()) if logq else np.zeros(3)
        expected = corrected_softmax(query, item, rows, correction, 0.5)
        loss = in_batch_loss(msgspec.structs.replace(config, logq=logq), popularity)
        assert float(loss(*map(tf.constant, (query, item, rows)))) == pytest.approx(expected, rel=1e-4)


def test_mixed_loss_corrects_by_how_often_an_item_is_among_the_candidates():
    import tensorflow as tf

    from models.retrieval.objective import mixed_loss

    random = np.random.default_rng(0)
    query, items = (random.standard_normal((n, 5)).astype(np.float32) for n in (3, 7))
    rows = np.array([0, 2, 2, 1, 3, 0, 3], np.int32)  # three targets, then four drawn; equal rows are one item
    items = items[rows]
    popularity = np.array([5, 1, 14, 0], np.float32)
    config = msgspec.structs.replace(training_of(CONFIG), temperature=0.5)
    share = np.maximum(popularity, 1) / np.maximum(popularity, 1).sum()
    for logq in (True, False):
        correction = np.log(3 * share + 4 / 4) if logq else np.zeros(4)
        expected = corrected_softmax(query, items, rows, correction, 0.5)
        loss = mixed_loss(msgspec.structs.replace(config, logq=logq), popularity)
        assert float(loss(*map(tf.constant, (query, items, rows)))) == pytest.approx(expected, rel=1e-4)


def test_the_mixed_loss_of_many_draws_is_that_over_the_catalogue():
    import tensorflow as tf

    from models.retrieval.objective import catalogue_loss, mixed_loss

    random = np.random.default_rng(1)
    query, catalogue = (random.standard_normal((n, 8)).astype(np.float32) for n in (64, 500))
    popularity = random.zipf(1.5, 500).clip(1, 1000).astype(np.float32)
    targets = random.choice(500, 64, p=popularity / popularity.sum())
    rows = np.concatenate([targets, random.integers(500, size=20_000)]).astype(np.int32)
    config = msgspec.structs.replace(training_of(CONFIG), logq=True, temperature=1.0)
    got = mixed_loss(config, popularity)(tf.constant(query), tf.constant(catalogue[rows]), tf.constant(rows))
    exact = catalogue_loss(tf.constant(query), tf.constant(catalogue), tf.constant(rows[:64]), 1.0)
    own_correction = np.log(64 * popularity / popularity.sum() + 20_000 / 500)[targets].mean()  # moves no gradient
    assert float(got) - own_correction == pytest.approx(float(exact), abs=0.05)


@pytest.mark.parametrize("negatives", ["in_batch", "mixed"])
def test_training_with_sampled_negatives_learns_the_checkerboard_too(tmp_path, negatives):
    run = checkerboard_run(tmp_path)
    events = msgspec.structs.replace(EVENTS, negatives=negatives, num_uniform_negatives=8)
    train_retrieval(run, msgspec.structs.replace(CONFIG, events=events))
    history = json.loads((run.folder("retrieval") / "history.json").read_text())
    assert history[-1]["loss"] < history[0]["loss"]
    assert max(record["recall_at_4"] for record in history) > 0.95


def test_validation_recall_matches_a_hand_worked_case(run):
    features, state = load_features(run), load_state(run, "train")
    positives = load_events(run, "valid").select(positives_of="click", known_items_only=True)
    queries = validation_set(features, positives, state, CONFIG.validation_users, CONFIG.seed)
    assert len(queries) == NUM_USERS
    # Every query prefers even rows, low ones first: even users find what an oracle finds, odd users nothing.
    items = np.where(np.arange(NUM_ITEMS) % 2 == 0, -np.arange(NUM_ITEMS), -1000.0).astype(np.float32)[:, None]
    expected = []
    for user in range(NUM_USERS):
        unseen_even = np.setdiff1d(np.arange(0, NUM_ITEMS, 2), state.seen(user))[:2]
        expected.append(np.isin(queries.relevant[user], unseen_even).mean())
    ones = lambda rows: np.ones((len(rows["user_id"]), 1), np.float32)  # noqa: E731
    assert recall_at_k(queries, ones, items, 2) == pytest.approx(np.mean(expected))


def test_onnx_that_differs_is_refused(tmp_path):
    export_onnx(lambda inputs: {"y": inputs["x"] * 2.0}, {"x": (np.float32, 3)}, tmp_path / "double.onnx")
    rows = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    assert check_parity(tmp_path / "double.onnx", lambda inputs: {"y": inputs["x"] * 2.0}, rows) == 0.0
    with pytest.raises(ArtefactError, match=r"double\.onnx: output 'y' differs"):
        check_parity(tmp_path / "double.onnx", lambda inputs: {"y": inputs["x"] * 2.001}, rows)


def test_the_index_stage_measures_on_real_queries(run):
    even = np.arange(NUM_ITEMS) % 2 == 0
    serving = Serving(num_candidates=7, eligible=lambda: even, inputs={"rules": "even"})
    build_index(run, IndexConfig(recall_cutoff=5), serving)
    meta = json.loads((run.folder("index") / "meta.json").read_text())
    assert (meta["kind"], meta["index_recall_at_k"], meta["recall_cutoff"]) == ("exact", 1.0, 5)
    assert (meta["num_candidates"], meta["share_eligible"]) == (7, 0.5)
    users, queries = sample_queries(run, 1000)
    state = load_state(run, "eval")
    assert meta["mean_blocked"] == np.mean([len(state.seen(user)) for user in users.tolist()]) > 0
    assert len(queries) == len(users) == meta["num_queries"]
    # What is searched exactly is item_embeddings.npy itself.
    assert not (run.folder("index") / "index.faiss").exists()
    before = read_manifest(run.folder("index")).fingerprint
    build_index(run, IndexConfig(recall_cutoff=5), serving)
    assert read_manifest(run.folder("index")).fingerprint == before
    build_index(run, IndexConfig(recall_cutoff=5), replace(serving, inputs={"rules": "others"}))
    assert read_manifest(run.folder("index")).fingerprint != before


@pytest.mark.gpu("tensorflow")
def test_an_epoch_on_the_gpu_exports_graphs_that_agree_on_the_cpu(tmp_path, capsys):
    import tensorflow as tf

    run = checkerboard_run(tmp_path)
    towers = train_retrieval(run, msgspec.structs.replace(ONE_EPOCH, device="gpu"))
    ranker = train_ranking(run, RankingConfig(device="gpu", embedding_dim=8, top=(16,), batch_size=64, max_epochs=1))
    said = capsys.readouterr().err
    assert "train-retrieval: on GPU" in said and "train-ranking: on GPU" in said
    assert tf.config.experimental.get_memory_info("GPU:0")["peak"] > 0
    assert towers.info["onnx_difference"] <= PARITY_TOLERANCE
    assert ranker.info["onnx_difference"] <= PARITY_TOLERANCE
    assert ranker.info["factored"]
