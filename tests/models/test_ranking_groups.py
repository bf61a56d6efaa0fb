"""Logged impressions as groups: each with its own history, or with what its user had as of one snapshot."""

from __future__ import annotations

import numpy as np
import pytest

from models.dataset.features import load_events, load_features, load_state
from models.ranking.groups import ImpressionGroups
from models.ranking.pairing import PairSource
from tests.models.checkerboard import ring_run
from workflows.features.schema import HISTORY


@pytest.mark.parametrize("frozen", [False, True])
def test_the_history_is_that_of_the_event_or_the_one_that_is_given(tmp_path, frozen):
    run = ring_run(tmp_path)
    features, state, events = load_features(run), load_state(run, "eval"), load_events(run, "test")
    given = features.history_codes(np.asarray(state.history)) if frozen else None
    groups = ImpressionGroups(events, "click", features, PairSource([], None, state), given)
    found = np.concatenate([group.query[HISTORY] for group in groups.batches(100)])
    own = events.columns
    np.testing.assert_array_equal(found, given[own["user_row"]] if frozen else own[HISTORY])
