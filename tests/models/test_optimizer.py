"""Adam with lazy tables, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.training.optimizer import Adam

RATE, BETA_1, BETA_2, EPSILON = 0.01, 0.9, 0.999, 1e-7
ROWS, WIDTH = 12, 3


def reference(start: np.ndarray, gradients: list[np.ndarray], touched: list[np.ndarray], *, lazy: bool) -> np.ndarray:
    """Adam (Kingma and Ba, 2015, algorithm 1 with the efficient step size); lazy: rows out of the batch stand still."""
    value, m, v = start.astype(np.float64), np.zeros(start.shape), np.zeros(start.shape)
    for step, (gradient, rows) in enumerate(zip(gradients, touched, strict=True), start=1):
        moved = rows if lazy else np.arange(len(start))
        m[moved] = BETA_1 * m[moved] + (1 - BETA_1) * gradient[moved]
        v[moved] = BETA_2 * v[moved] + (1 - BETA_2) * gradient[moved] ** 2
        rate = RATE * np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
        value[moved] -= rate * m[moved] / (np.sqrt(v[moved]) + EPSILON)
    return value


@pytest.mark.parametrize("lazy_from", [0, ROWS, ROWS + 1])
def test_steps_equal_the_formula(lazy_from: int) -> None:
    rng = np.random.default_rng(3)
    start, kernel = rng.normal(size=(ROWS, WIDTH)), rng.normal(size=(WIDTH, 2))
    table, dense = tf.Variable(start, dtype=tf.float32), tf.Variable(kernel, dtype=tf.float32)
    optimizer = Adam([table, dense], RATE, lazy_from)
    apply = tf.function(
        lambda values, rows, other: optimizer.apply_gradients(
            [(tf.IndexedSlices(values, rows, (ROWS, WIDTH)), table), (other, dense)]
        ),
        autograph=False,
    )
    sparse, touched, others = [], [], []
    for _ in range(5):
        rows = rng.integers(0, ROWS - 4, 6)  # repeated rows add up; the last four are never touched
        values = rng.normal(size=(6, WIDTH)).astype(np.float32)
        summed = np.zeros((ROWS, WIDTH))
        np.add.at(summed, rows, values)
        others.append(rng.normal(size=(WIDTH, 2)).astype(np.float32))
        apply(tf.constant(values), tf.constant(rows), tf.constant(others[-1]))
        sparse.append(summed)
        touched.append(np.unique(rows))
    expected = reference(start, sparse, touched, lazy=lazy_from == ROWS)
    np.testing.assert_allclose(table.numpy(), expected, rtol=1e-5, atol=1e-6)
    every = [np.arange(WIDTH)] * 5
    np.testing.assert_allclose(dense.numpy(), reference(kernel, others, every, lazy=False), rtol=1e-5, atol=1e-6)


def test_variables_carry_the_whole_state() -> None:
    values = np.ones((2, WIDTH), np.float32)

    def made() -> tuple[tf.Variable, tf.Variable, Adam]:
        table, dense = tf.Variable(tf.ones((ROWS, WIDTH))), tf.Variable(tf.ones((2, WIDTH)))
        return table, dense, Adam([table, dense], RATE, ROWS)

    def step(table: tf.Variable, dense: tf.Variable, optimizer: Adam) -> None:
        optimizer.apply_gradients([(tf.IndexedSlices(values, [1, 2], (ROWS, WIDTH)), table), (values, dense)])

    one, other = made(), made()
    for _ in range(3):
        step(*one)
    state = [v.numpy() for v in (*one[:2], *one[2].variables)]
    for variable, value in zip((*other[:2], *other[2].variables), state, strict=True):
        variable.assign(value)
    step(*one)
    step(*other)
    for left, right in zip(one[:2], other[:2], strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy())


def test_variables_without_a_gradient_stand_still() -> None:
    table, dense = tf.Variable(tf.ones((ROWS, WIDTH))), tf.Variable(tf.ones(2))
    Adam([table, dense], RATE, ROWS).apply_gradients([(None, table), (tf.ones(2), dense)])
    assert (table.numpy() == 1).all()
    np.testing.assert_allclose(dense.numpy(), 1 - RATE, rtol=1e-5)
