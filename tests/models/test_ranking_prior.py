"""Normal tables against closed forms and sampling, and the prior of lazily moved tables against that of small ones."""

import numpy as np
import pytest
import tensorflow as tf

from models.ranking.config import RankingConfig
from models.ranking.fit import cosine
from models.ranking.prior import Prior
from models.ranking.tables import NormalTable
from models.training.optimizer import Adam
from tests.models.test_ranking_model import features_of, ranker, schema_of

V, D, SPREAD = 9, 5, 0.4


@pytest.fixture
def table():
    made = NormalTable("colour", V, D, SPREAD)
    made.scalar(tf.constant([[3]]))
    random = np.random.default_rng(0)
    made.means.assign(random.normal(size=(V, D)))
    made.log_deviations.assign(random.normal(-1.0, 0.5, (V, D)))
    return made


def test_the_divergence_is_that_of_normal_variables(table):
    """E[log q(x) - log p(x)] over draws of q."""
    means, deviations = table.values().astype(np.float64), np.exp(table.log_deviations.numpy().astype(np.float64))
    noise = np.random.default_rng(1).standard_normal((200_000, V, D))
    drawn = means + deviations * noise
    gap = np.log(SPREAD / deviations) + drawn**2 / (2 * SPREAD**2) - noise**2 / 2
    np.testing.assert_allclose(table.divergence(), gap.mean(axis=0).sum(axis=1), rtol=0.01)
    rows = np.array([4, 4, 0], np.int32)
    np.testing.assert_allclose(table.divergence(tf.constant(rows)), table.divergence().numpy()[rows], rtol=1e-6)


def test_the_prior_itself_diverges_nowhere(table):
    table.means.assign(np.zeros((V, D)))
    table.log_deviations.assign(np.full((V, D), np.log(SPREAD)))
    np.testing.assert_allclose(table.divergence(), np.zeros(V), atol=1e-6)


def test_training_draws_around_the_means_and_serving_gives_them(table):
    codes = np.repeat(np.array([[3], [7]], np.int32), 40_000, axis=0)
    drawn = table.scalar(tf.constant(codes), tf.constant([5, 6])).numpy().reshape(2, -1, D)
    rows = table.values()[[3, 7]]
    deviations = np.exp(table.log_deviations.numpy()[[3, 7]])
    np.testing.assert_allclose(drawn.mean(axis=1), rows, atol=0.03)
    np.testing.assert_allclose(drawn.std(axis=1), deviations, rtol=0.03)
    np.testing.assert_array_equal(table.scalar(tf.constant([[3], [7]])), rows)


def test_a_drawn_list_is_spread_as_the_mean_of_its_drawn_values(table):
    codes = np.repeat(np.array([[5, 2, 5, 0], [0, 0, 0, 0]], np.int32), 40_000, axis=0)
    drawn = table.pooled(tf.constant(codes), tf.constant([5, 6])).numpy().reshape(2, -1, D)
    variances = np.exp(2 * table.log_deviations.numpy())
    np.testing.assert_allclose(drawn[0].mean(axis=0), (2 * table.values()[5] + table.values()[2]) / 3, atol=0.03)
    np.testing.assert_allclose(drawn[0].std(axis=0), np.sqrt(2 * variances[5] + variances[2]) / 3, rtol=0.03)
    np.testing.assert_allclose(drawn[1], 0.0, atol=1e-4)  # nothing to draw


def test_without_a_prior_a_table_holds_numbers():
    made = NormalTable("colour", V, D, 0.0)
    codes = tf.constant([[3], [7]])
    np.testing.assert_array_equal(made.scalar(codes, tf.constant([5, 6])), made.scalar(codes))
    np.testing.assert_array_equal(made.divergence(), np.zeros(V))
    assert len(made.trainable_variables) == 1


def test_the_prior_of_small_tables_is_their_divergence_a_group():
    model, inputs = ranker(schema_of(), 0)
    prior = Prior(model, Adam(model.trainable_variables, 1e-3, lazy_from=0), num_groups=50, num_processes=2)
    whole = sum(float(tf.reduce_sum(table.divergence())) for table in model.normal_tables)
    np.testing.assert_allclose(prior(inputs, tf.constant(8)), whole / 100, rtol=1e-5)


def test_over_an_epoch_a_lazy_table_adds_the_divergence_of_each_row_that_is_there_once():
    """A batch of one group an epoch: how often a row is in an epoch is then known from the first step on."""
    config = RankingConfig(embedding_dim=4, top=(8,), use_user_id=True)
    model, inputs = ranker(schema_of(), 0, config)
    one = {name: tf.constant(values[:1]) for name, values in inputs.items()}
    one["recent_item_ids"] = tf.constant([[5, 5, 9, 0]])
    lazy = Prior(model, Adam(model.trainable_variables, 1e-3, lazy_from=1), num_groups=1)
    expected = 0.0
    for looked_up, codes in model.looked_up(one):
        rows = np.setdiff1d(codes, [0])
        expected += float(tf.reduce_sum(tf.gather(looked_up.divergence(), rows)))
    for _ in range(3):
        np.testing.assert_allclose(lazy(one, tf.constant(1)), expected, rtol=1e-5)


def test_a_lazy_tables_prior_is_on_average_that_of_a_small_one():
    """Every item once an epoch, in batches: after some epochs a step adds what a small table would."""
    config = RankingConfig(embedding_dim=4, top=(8,), use_user_id=False)
    schema = schema_of()
    features = features_of(schema)
    model, inputs = ranker(schema, 0, config)
    prior = Prior(model, Adam(model.trainable_variables, 1e-3, lazy_from=1), num_groups=20)
    items = next(table for table, codes in model.looked_up(inputs) if table.means.shape[0] == 23)
    for table in model.normal_tables:
        if table is not items:  # leaves the items' divergence alone to be compared
            table.means.assign(tf.zeros_like(table.means))
            table.log_deviations.assign(tf.fill(table.means.shape, float(np.log(config.embedding_spread))))
    query = {feature.name: inputs[feature.name][:4] for feature in schema.query}
    query["recent_item_ids"] = np.zeros((4, 4), np.int32)
    random = np.random.default_rng(0)
    for _ in range(12):
        batches = random.permutation(20).reshape(5, 4)
        added = [float(prior(query | features.item_inputs(rows), tf.constant(4))) for rows in batches]
    whole = float(tf.reduce_sum(items.divergence()[3:]))
    # A row of the twelfth epoch was seen twelve times in 11.6 epochs on average.
    np.testing.assert_allclose(np.mean(added), whole / 20 * 11.6 / 12, rtol=0.01)


def test_the_learning_rate_falls_along_half_a_cosine():
    assert [cosine(done) for done in (0.0, 0.5, 1.0, 1.5)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
    table = tf.Variable(tf.ones((4, 2)))
    dense = tf.Variable(tf.ones((2,)))
    optimizer = Adam([table, dense], 1.0, lazy_from=4)
    step = tf.function(
        lambda: optimizer.apply_gradients([(tf.ones((4, 2)), table), (tf.ones((2,)), dense)]), autograph=False
    )
    optimizer.set_learning_rate(0.25)
    step()
    np.testing.assert_allclose(table, 0.75, rtol=1e-5)
    optimizer.set_learning_rate(0.0)
    step()
    for variable in (table, dense):
        np.testing.assert_allclose(variable, 0.75, rtol=1e-5)
