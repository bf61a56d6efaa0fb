"""A training resumes from its own checkpoint, and from no other."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.retrieval.checkpoint import BYTES, FILE_NAME, Checkpoint, Progress


@pytest.fixture
def folder(tmp_path):
    """Holds the checkpoint of one epoch of the training with the fingerprint "ours"."""
    Checkpoint(tmp_path / "c", "ours").save(Progress("ours", [{"loss": 1.0}], 0), [np.ones(2)], [np.zeros(2)])
    return tmp_path / "c"


def test_the_same_training_goes_on(folder):
    progress, [current], [best] = Checkpoint(folder, "ours").load()
    assert progress == Progress("ours", [{"loss": 1.0}], 0)
    assert (current.tolist(), best.tolist()) == ([1.0, 1.0], [0.0, 0.0])


def test_a_checkpoint_of_another_training_is_removed(folder):
    assert Checkpoint(folder, "theirs").load() is None
    assert not folder.exists()


def test_a_checkpoint_of_an_older_release_which_names_no_fingerprint_is_removed(folder):
    record = msgspec.json.encode({"mark": "ours", "history": [{"loss": 1.0}], "best_epoch": 0})
    np.savez(folder / FILE_NAME, **{BYTES: np.frombuffer(record, np.uint8), "current_0": np.ones(2)})
    assert Checkpoint(folder, "ours").load() is None
    assert not folder.exists()
