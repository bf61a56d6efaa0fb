"""Every chain that a release has written opens in this one, and gives the slates that it gave then."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.chain import Chain
from runtime.spec import PATHS
from runtime.steps.rank import RANKING_STEP
from tests.golden.chains import GOLDEN, answers


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_golden_chain_gives_the_slates_that_were_recorded(folder):
    chain, paths = Chain.load(folder / "chain"), set()
    for request, recorded in answers(folder):
        answer = chain.recommend(request)
        assert answer.keys() == recorded.keys()
        for name in ("item_id", "num_items", "path"):
            assert answer[name].tolist() == recorded[name].tolist()
        assert answer["score"].dtype == recorded["score"].dtype
        # Logits are rounded to this step: the machine that recorded agrees in every bit, another one within a step.
        np.testing.assert_allclose(answer["score"], recorded["score"], rtol=0, atol=RANKING_STEP)
        paths |= set(answer["path"].ravel().tolist())
    assert paths == {path.encode() for path in PATHS}
