import json

import numpy as np
import pytest

from models.dataset.features import Features
from models.metrics.classification import auc
from models.ranking.config import RankingConfig
from runtime.ranker.factored import load_weights, score
from workflows.core.quiet import quiet
from workflows.features.schema import Feature, FeatureSchema

quiet()

NUM_USERS, NUM_ITEMS, LENGTH = 24, 20, 4


def schema_of(*, continuous=True):
    features = [
        Feature("user_id", "user", "categorical", NUM_USERS + 3, 0, "user_id"),
        Feature("item_id", "item", "categorical", NUM_ITEMS + 3, 0, "item_id"),
        Feature("tags", "item", "categorical", 9, 3, "tags"),
        Feature("device", "context", "categorical", 6, 0, "device"),
        Feature("hour", "context", "categorical", 5, 0, "hour"),
        Feature("recent_item_ids", "history", "categorical", NUM_ITEMS + 3, LENGTH, "item_id"),
    ]
    if continuous:
        features += [
            Feature("spend", "user", "continuous", 0, 0, "spend"),
            Feature("price", "item", "continuous", 0, 0, "price"),
        ]
    return FeatureSchema(features, ["click"], None, LENGTH)


def features_of(schema, seed=0):
    random = np.random.default_rng(seed)
    sides = {}
    for side, size in (("user", NUM_USERS), ("item", NUM_ITEMS)):
        sides[side] = {}
        for feature in schema.side(side):
            shape = (size, feature.length) if feature.length else (size,)
            if feature.name.endswith("_id"):
                values = np.arange(3, size + 3, dtype=np.int32)
            elif feature.kind == "categorical":
                values = random.integers(0, feature.cardinality, shape).astype(np.int32)
            else:
                values = random.standard_normal(shape).astype(np.float32)
            sides[side][feature.name] = values
    return Features(schema, sides["user"], sides["item"])


def ranker(schema, num_pairs, config=None, tasks=()):
    import tensorflow as tf

    from models.onnx.export import random_inputs
    from models.ranking.model import Ranker

    tf.keras.utils.set_random_seed(0)
    config = config or RankingConfig(embedding_dim=8, bottom=(5,), top=(16, 7), use_user_id=True)
    mean, scale = np.linspace(-1, 2, num_pairs), np.linspace(0.5, 3, num_pairs)
    model = Ranker(schema, config, mean, scale, np.linspace(1, -1, num_pairs), tasks)
    inputs = random_inputs(schema.features, 8)
    if num_pairs:
        inputs["pair"] = np.random.default_rng(1).standard_normal((8, num_pairs)).astype(np.float32)
    model({name: tf.constant(values) for name, values in inputs.items()})
    random = np.random.default_rng(2)
    # Fresh weights are small and biases zero: too easy to agree on.
    for variable in model.trainable_variables:
        variable.assign(variable + 0.3 * random.standard_normal(variable.shape))
    return model, inputs


@pytest.mark.parametrize(("num_pairs", "max_stored_mb"), [(0, 512), (3, 512), (3, 0)])
@pytest.mark.parametrize("continuous", [True, False])
def test_the_exported_forms_give_the_logits_of_the_model(tmp_path, num_pairs, continuous, max_stored_mb):
    import tensorflow as tf

    from models.onnx.export import session
    from models.ranking.export import export_ranker

    schema = schema_of(continuous=continuous)
    features = features_of(schema)
    model, inputs = ranker(schema, num_pairs)
    shape = export_ranker(tmp_path, model, features, max_stored_mb)
    assert shape["factored"]
    assert shape["item_parts"] == ("stored" if max_stored_mb else "gathered")
    assert (tmp_path / "item_fields.npy").exists() == bool(max_stored_mb)
    expected = model({name: tf.constant(values) for name, values in inputs.items()}).numpy()

    graph = session(tmp_path / "ranker.onnx")
    assert {node.name for node in graph.get_inputs()} == set(inputs)
    np.testing.assert_allclose(graph.run(["logit"], inputs)[0], expected, atol=1e-4)
    saved = tf.saved_model.load(str(tmp_path / "ranker"))
    np.testing.assert_allclose(saved.serve(inputs)["logit"].numpy(), expected, atol=1e-5)

    weights = load_weights(tmp_path, features.items)
    query = {feature.name: inputs[feature.name] for feature in schema.query}
    fields, hidden = session(tmp_path / "ranker_query.onnx").run(["fields", "hidden"], query)
    rows = np.random.default_rng(4).integers(0, NUM_ITEMS, (8, 5))
    pair = np.random.default_rng(5).standard_normal((8, 5, num_pairs)).astype(np.float32)
    by_row = {name: np.repeat(values, 5, axis=0) for name, values in query.items()} | features.item_inputs(rows.ravel())
    if num_pairs:
        by_row["pair"] = pair.reshape(40, num_pairs)
    wanted = model({name: tf.constant(values) for name, values in by_row.items()}).numpy().reshape(8, 5)
    np.testing.assert_allclose(score(fields, hidden, rows, pair, weights), wanted, rtol=1e-4, atol=1e-4)


def test_gathered_item_parts_are_the_stored_ones_and_order_alike(tmp_path):
    from models.onnx.export import session
    from models.ranking.export import export_ranker

    schema = schema_of()
    features = features_of(schema)
    features.items["tags"][:3] = [[0, 0, 0], [4, 0, 0], [1, 2, 3]]
    model, inputs = ranker(schema, 1)
    parts, logits = [], []
    rows = np.arange(NUM_ITEMS)[None]
    for name, max_stored_mb in (("stored", 512), ("gathered", 0)):
        (tmp_path / name).mkdir()
        export_ranker(tmp_path / name, model, features, max_stored_mb)
        weights = load_weights(tmp_path / name, features.items)
        parts.append(weights.items(np.arange(NUM_ITEMS)))
        query = {feature.name: inputs[feature.name][:1] for feature in schema.query}
        fields, hidden = session(tmp_path / name / "ranker_query.onnx").run(["fields", "hidden"], query)
        logits.append(score(fields, hidden, rows, np.ones((1, len(rows[0]), 1), np.float32), weights)[0])
    for stored, gathered in zip(*parts, strict=True):
        np.testing.assert_allclose(gathered, stored, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits[1], logits[0], rtol=1e-5, atol=1e-5)
    assert np.argsort(-logits[1]).tolist() == np.argsort(-logits[0]).tolist()
    with pytest.raises(ValueError, match="no encoded items were given"):
        load_weights(tmp_path / "gathered")


def test_a_user_scores_the_same_alone_and_in_a_batch(tmp_path):
    from models.onnx.export import session
    from models.ranking.export import export_ranker

    schema = schema_of()
    model, inputs = ranker(schema, 2)
    export_ranker(tmp_path, model, features_of(schema))
    query = {feature.name: inputs[feature.name] for feature in schema.query}
    fields, hidden = session(tmp_path / "ranker_query.onnx").run(["fields", "hidden"], query)
    rows = np.random.default_rng(4).integers(0, NUM_ITEMS, (8, 9))
    pair = np.random.default_rng(5).standard_normal((8, 9, 2)).astype(np.float32)
    weights = load_weights(tmp_path)
    together = score(fields, hidden, rows, pair, weights)
    for user in range(8):
        one = slice(user, user + 1)
        np.testing.assert_array_equal(score(fields[one], hidden[one], rows[one], pair[one], weights)[0], together[user])


def test_padding_has_no_part_in_a_list():
    import tensorflow as tf

    model, inputs = ranker(schema_of(), 0)
    inputs["recent_item_ids"] = np.array([[5, 7, 0, 0]] * 8, np.int32)
    before = model({name: tf.constant(values) for name, values in inputs.items()}).numpy()
    table = model._tables["item_id"].means
    table.assign(tf.tensor_scatter_nd_update(table, [[0]], [np.full(table.shape[1], 50.0, np.float32)]))
    after = model({name: tf.constant(values) for name, values in inputs.items()}).numpy()
    np.testing.assert_array_equal(before, after)


def test_constant_positions_give_merlins_dot_interaction():
    import tensorflow as tf
    from merlin.models.tf.blocks.interaction import DotProductInteraction

    from models.ranking.model import PairDots

    fields = tf.random.stateless_normal((5, 6, 3), seed=(1, 2))
    np.testing.assert_allclose(PairDots()(fields), DotProductInteraction()(fields), atol=1e-6)


def test_calibration_keeps_the_order():
    import tensorflow as tf

    model, inputs = ranker(schema_of(), 2)
    tensors = {name: tf.constant(values) for name, values in inputs.items()}
    before = model(tensors).numpy()
    model.rescale(0.5, -1.0)
    np.testing.assert_allclose(model(tensors).numpy(), 0.5 * before - 1.0, atol=1e-5)


class Checkerboard:
    """Every (user, item), clicked where both are even or both are odd."""

    listwise = False
    num_rows = NUM_USERS * NUM_ITEMS

    def __init__(self, features):
        self._features = features

    def batches(self, batch_size, seed=None):
        from models.ranking.groups import Group

        cells = np.arange(self.num_rows) if seed is None else np.random.default_rng(seed).permutation(self.num_rows)
        for start in range(0, self.num_rows, batch_size):
            user, item = np.divmod(cells[start : start + batch_size], NUM_ITEMS)
            history = np.zeros((len(user), LENGTH), np.int32)
            query = self._features.query_inputs(user, self._features.null_context(len(user)), history)
            labels = ((user + item) % 2 == 0).astype(np.float32)[:, None]
            empty = np.zeros((len(user), 1, 0), np.float32)
            yield Group(query, self._features.item_inputs(item), empty, labels, np.ones((len(user), 1), bool))


@pytest.fixture
def board():
    return Checkerboard(features_of(schema_of(continuous=False)))


def test_the_checkerboard_is_learnt_and_a_killed_training_resumes(board, tmp_path):
    import tensorflow as tf

    from models.ranking.fit import fit, predict
    from models.ranking.model import Ranker
    from models.retrieval.checkpoint import Checkpoint

    config = RankingConfig(
        embedding_dim=8,
        top=(16,),
        batch_size=64,
        learning_rate=0.02,
        max_epochs=30,
        patience=30,
        dropout=0.0,
        id_dropout=0.0,
        embedding_spread=1.0,
        use_user_id=True,
    )

    def fresh():
        tf.keras.utils.set_random_seed(1)
        return Ranker(schema_of(continuous=False), config, np.zeros(0), np.ones(0), np.zeros(0))

    model = fresh()
    history = fit(model, board, board, config, Checkpoint(tmp_path, "a"), "a")
    labels, logits = predict(model, board, 64).flat()
    assert auc(labels, logits) > 0.95
    # All epochs are done: the resumed training only restores the best weights.
    resumed = fresh()
    assert fit(resumed, board, board, config, Checkpoint(tmp_path, "a"), "a") == json.loads(json.dumps(history))
    np.testing.assert_allclose(predict(resumed, board, 64).flat()[1], logits, atol=1e-6)


def test_validating_after_each_epoch_traces_the_model_once(board, tmp_path, caplog):
    from models.ranking.fit import fit
    from models.ranking.model import Ranker
    from models.retrieval.checkpoint import Checkpoint

    config = RankingConfig(embedding_dim=4, top=(8,), batch_size=10_000, max_epochs=8, patience=8)
    model = Ranker(schema_of(continuous=False), config, np.zeros(0), np.ones(0), np.zeros(0))
    fit(model, board, board, config, Checkpoint(tmp_path, "a"), "a")
    assert not [record.getMessage() for record in caplog.records if "retracing" in record.getMessage()]


def test_the_listwise_loss_is_the_log_share_of_the_positive_among_existing_items():
    from models.ranking.fit import group_losses

    logits = np.array([[1.0, 0.0, 9.0]], np.float32)
    found = group_losses(logits, None, np.array([[True, True, False]]), listwise=True)
    np.testing.assert_allclose(found, [-np.log(np.e / (np.e + 1))], rtol=1e-6)


def test_without_a_user_id_the_rankers_inputs_lack_it(tmp_path):
    from models.onnx.export import session
    from models.ranking.export import export_ranker

    schema = schema_of()
    model, _ = ranker(schema, 1, RankingConfig(embedding_dim=4, top=(8,)))
    assert export_ranker(tmp_path, model, features_of(schema))["factored"]
    inputs = {node.name for node in session(tmp_path / "ranker_query.onnx").get_inputs()}
    assert inputs == {"device", "hour", "recent_item_ids", "spend"}


def test_each_combination_of_context_values_has_an_embedding_of_its_own():
    import tensorflow as tf

    model, inputs = ranker(schema_of(), 0)
    cells = [(device, hour) for device in range(6) for hour in range(5)]
    query = {name: np.repeat(values[:1], len(cells), axis=0) for name, values in inputs.items()}
    query["device"], query["hour"] = (np.array(values, np.int32)[:, None] for values in zip(*cells, strict=True))
    fields = model.query_fields({name: tf.constant(values) for name, values in query.items()}).numpy()
    assert fields.shape[1] == model.num_query_fields
    table = model.normal_tables[-1].values()
    assert len(table) == len(cells)
    np.testing.assert_array_equal(fields[:, -2], table)  # the last field is the bottom's


def test_one_context_feature_is_no_combination():
    schema = FeatureSchema([f for f in schema_of().features if f.name != "hour"], ["click"], None, LENGTH)
    model, _ = ranker(schema, 0)
    assert model.num_query_fields == 1 + 3  # the bottom's; user id, device, history
    assert len(model.normal_tables) == 4  # user ids, item ids, tags, device
