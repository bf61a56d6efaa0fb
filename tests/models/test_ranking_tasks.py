import numpy as np
import pytest

from models.ranking.config import RankingConfig, TaskConfig
from models.ranking.tasks import DAY_NS, Task, label_matrix, resolve_tasks, task_problems
from runtime.ranker.factored import load_weights, score
from runtime.ranker.tasks import expected_worth, probabilities
from tests.models.test_ranking_model import NUM_ITEMS, features_of, ranker, schema_of
from workflows.core.quiet import quiet

quiet()

LABELS = ["click", "purchase", "returned"]
TASKS = {
    "return": TaskConfig(label="returned", after="buy", matures_after=30.0),
    "buy": TaskConfig(label="purchase", after="click", weight=2.0),
    "click": TaskConfig(label="click"),
}
ORDERED = (Task("click", "click"), Task("buy", "purchase", 0, 2.0), Task("return", "returned", 1, 1.0, 30.0))


def config(**changes):
    return RankingConfig(tasks={**TASKS, **changes.pop("tasks", {})}, **changes)


def test_tasks_are_put_after_their_parents_the_label_first():
    assert not list(task_problems(config(), LABELS))
    assert resolve_tasks(config(), "click") == ORDERED
    assert resolve_tasks(RankingConfig(), "click") == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tasks": {"return": TaskConfig(label="sent_back", after="buy")}}, "'sent_back' is not among data.labels"),
        (
            {"tasks": {"buy": TaskConfig(label="purchase", after="view")}},
            "ranking.tasks.buy.after = 'view' is no other",
        ),
        ({"tasks": {"buy": TaskConfig(label="purchase", after="return")}}, "comes after 'buy' itself"),
        ({"tasks": {"buy": TaskConfig(label="purchase", after="buy")}}, "comes after 'buy' itself"),
        ({"tasks": {"click": TaskConfig(label="click", matures_after=1.0)}}, "ranking.tasks.click.after names none"),
        ({"tasks": {"again": TaskConfig(label="click")}}, "got ['click', 'again']"),
        ({"label": "purchase"}, "expected one task whose label is 'purchase'"),
        ({"training_examples": "sampled"}, "needs logged impressions"),
        ({"tasks": {"a-b": TaskConfig(label="click", after="click")}}, "expected a name of letters"),
    ],
)
def test_tasks_that_contradict_each_other_are_refused(changes, expected):
    assert expected in " ".join(task_problems(config(**changes), LABELS))


def test_a_label_counts_once_it_is_final_and_only_where_its_parent_happened():
    columns = {
        "click": np.array([0, 1, 1, 1, 0, 1]),
        "purchase": np.array([0, 0, 1, 1, 1, 1]),
        "returned": np.array([0, 0, 0, 1, 0, 0]),
        "at": DAY_NS * np.array([99, 99, 99, 50, 50, 70]),
    }
    found = label_matrix(ORDERED, columns, end=100 * DAY_NS)
    unknown = np.nan
    np.testing.assert_array_equal(
        found, [[0, 0, unknown], [1, 0, unknown], [1, 1, unknown], [1, 1, 1], [0, 0, 0], [1, 1, 0]]
    )


def test_the_loss_is_cross_entropy_of_the_products_along_the_parents():
    import tensorflow as tf

    from models.ranking.task_loss import task_losses

    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (50, 3))
    labels = (random.random((50, 3)) < 0.5).astype(np.float32).cumprod(axis=1)
    labels[::7, 2] = np.nan
    found = task_losses(tf.constant(logits, tf.float32), tf.constant(labels, tf.float32), ORDERED)
    p = np.cumprod(1 / (1 + np.exp(-logits)), axis=1)
    each = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)) * [1.0, 2.0, 1.0]
    np.testing.assert_allclose(found, np.nansum(each, axis=1), rtol=1e-4)


@pytest.mark.parametrize("size", [0.0, 40.0, -40.0, 120.0])
def test_the_loss_and_its_gradient_are_finite_for_sure_predictions(size):
    import tensorflow as tf

    from models.ranking.task_loss import task_losses

    logits = tf.Variable(np.full((2, 3), size, np.float32))
    with tf.GradientTape() as tape:
        loss = task_losses(logits, tf.constant([[1.0, 0.0, np.nan], [1.0, 1.0, 1.0]]), ORDERED)
    assert np.isfinite(loss).all()
    assert np.isfinite(tape.gradient(loss, logits)).all()


@pytest.mark.parametrize("num_pairs", [0, 3])
def test_the_factored_form_gives_the_logits_of_every_task(tmp_path, num_pairs):
    import tensorflow as tf

    from models.onnx.export import session
    from models.ranking.export import export_ranker

    model, inputs = ranker(schema_of(), num_pairs, tasks=ORDERED)
    model.rescale(np.array([1.0, 0.5, 2.0], np.float32), np.array([0.0, 1.0, -1.0], np.float32))
    features = features_of(schema_of())
    assert export_ranker(tmp_path, model, features)["factored"]
    weights = load_weights(tmp_path, features.items)
    query = {feature.name: inputs[feature.name] for feature in schema_of().query}
    fields, hidden = session(tmp_path / "ranker_query.onnx").run(["fields", "hidden"], query)
    rows = np.random.default_rng(4).integers(0, NUM_ITEMS, (8, 5))
    pair = np.random.default_rng(5).standard_normal((8, 5, num_pairs)).astype(np.float32)
    by_row = {name: np.repeat(values, 5, axis=0) for name, values in query.items()} | features.item_inputs(rows.ravel())
    if num_pairs:
        by_row["pair"] = pair.reshape(40, num_pairs)
    wanted = model({name: tf.constant(values) for name, values in by_row.items()}).numpy().reshape(8, 5, 3)
    assert np.ptp(wanted - wanted[..., :1]) > 0.1
    np.testing.assert_allclose(score(fields, hidden, rows, pair, weights), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(session(tmp_path / "ranker.onnx").run(["logit"], inputs)[0].shape, (8, 3))


def test_the_first_task_of_several_learns_what_a_ranker_without_tasks_learns():
    """With the others' weights next to 0, the same loss trains the same click logit."""
    import tensorflow as tf

    from models.ranking.task_loss import task_losses

    alone = (Task("click", "click"), Task("buy", "purchase", 0, 0.0))
    logits = tf.constant([[0.3, 9.0], [-2.0, -9.0]])
    found = task_losses(logits, tf.constant([[1.0, 0.0], [0.0, 0.0]]), alone)
    wanted = tf.nn.sigmoid_cross_entropy_with_logits(tf.constant([1.0, 0.0]), logits[:, 0])
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_worth_is_the_sum_of_what_happens_times_what_it_is_worth():
    logits = np.array([[[0.0, 0.0, 0.0], [2.0, -1.0, 3.0]]], np.float32)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    happens = probabilities(logits, [-1, 0, 1])
    assert happens.dtype == np.float32
    np.testing.assert_allclose(happens, np.cumprod(p, axis=-1), rtol=1e-6)
    worth = np.array([[[1.0, 2.0, 3.0, -4.0], [0.5, 0.0, 7.0, -8.0]]], np.float32)
    wanted = worth[..., 0] + (np.cumprod(p, axis=-1) * worth[..., 1:]).sum(axis=-1)
    np.testing.assert_allclose(expected_worth(happens, worth), wanted, rtol=1e-6)


def test_calibration_of_a_later_task_is_fitted_where_its_parent_happened():
    from models.ranking.calibrate_tasks import calibrate_tasks

    random = np.random.default_rng(0)
    z = random.normal(-1, 1, (40_000, 3))
    p = 1 / (1 + np.exp(-z))
    labels = (random.random(p.shape) < p).astype(np.float32).cumprod(axis=1)
    labels[:3, 2] = np.nan
    shifted = z.copy()
    shifted[:, 1] = 2 * z[:, 1] + 3  # as a ranker would that is too sure
    first, buy, back = calibrate_tasks(ORDERED, labels, shifted, "valid")
    assert abs(first.calibration.factor - 1) < 0.03
    assert abs(first.calibration.offset) < 0.05
    assert (buy.task, buy.parent) == ("buy", 0)
    assert abs(buy.calibration.factor - 0.5) < 0.03
    assert abs(buy.calibration.offset + 1.5) < 0.1
    for one in (task.calibration for task in (first, buy, back)):
        assert abs(one.mean_probability / one.positive_share - 1) < 0.05


def test_a_task_that_matures_after_the_held_out_displays_is_calibrated_on_those_of_training():
    from models.ranking.calibrate_tasks import calibrate_tasks

    random = np.random.default_rng(0)
    z = random.normal(0, 1, (20_000, 3))
    labels = (random.random(z.shape) < 1 / (1 + np.exp(-z))).astype(np.float32).cumprod(axis=1)
    shifted = z + np.array([0.0, 0.0, 2.0])
    young = labels.copy()
    young[:, 2] = np.nan
    found = calibrate_tasks(ORDERED, young, shifted, "valid", lambda: (labels, shifted))
    assert [task.calibration.on for task in found] == ["valid", "valid", "train"]
    assert abs(found[2].calibration.offset + 2.0) < 0.1
    assert abs(found[2].calibration.mean_probability / found[2].calibration.positive_share - 1) < 0.02
    alone = calibrate_tasks(ORDERED, young, shifted, "train")
    assert (alone[2].calibration.factor, alone[2].calibration.offset) == (1.0, 0.0)
