"""A chain whose ranker makes the slates worse is said to be one, where the clicks can tell."""

from __future__ import annotations

from typing import Any

import pytest

from ensemble.evaluation.verdict import losses_sentence


def metrics(**gaps: tuple[float, float, float]) -> dict[str, Any]:
    """The part of metrics.json that is read; a gap is the chain's value minus the source's, with its interval."""
    means = {"popularity": 0.2081, "retrieval": 0.2268, "ease": 0.3, "chain": 0.0199}
    return {
        "cutoffs": [10, 20],
        "sources": {source: {"recall@10": {"value": value}} for source, value in means.items()},
        "chain_minus": {
            source: {"recall@10": dict(zip(("value", "low", "high"), gap, strict=True))} for source, gap in gaps.items()
        },
    }


LOSS, TIE, WIN = (-0.2, -0.3, -0.1), (-0.01, -0.03, 0.01), (0.1, 0.05, 0.2)


@pytest.mark.parametrize(
    ("gaps", "lost"),
    [
        ({"popularity": LOSS, "retrieval": LOSS}, "Popularity (0.2081) and Retrieval alone (0.2268)"),
        ({"popularity": WIN, "retrieval": LOSS}, "Retrieval alone (0.2268)"),
    ],
)
def test_a_loss_beyond_chance_is_said_with_both_figures(gaps, lost):
    assert losses_sentence(metrics(**gaps)) == (
        f"The chain loses to {lost} in recall@10 (0.0199), beyond chance: its ranker makes the slates worse. Look at "
        "data.labels and ranking.training_examples, as docs/TROUBLESHOOTING.md says."
    )


@pytest.mark.parametrize("gaps", [{"popularity": LOSS, "retrieval": TIE}, {"popularity": LOSS}])
def test_of_a_loss_to_popularity_alone_the_ranker_is_not_accused(gaps):
    said = losses_sentence(metrics(**gaps))
    assert said.startswith(
        "The chain loses to Popularity (0.2081) in recall@10 (0.0199), beyond chance: of these users"
    )
    assert "ranker" not in said


def test_nothing_is_said_of_a_tie_a_win_and_a_loss_to_a_tuned_baseline():
    assert losses_sentence(metrics(popularity=WIN, retrieval=TIE, ease=LOSS)) == ""


def test_nothing_is_said_of_clicks_on_what_a_policy_chose_where_chance_displayed_too():
    assert losses_sentence(metrics(popularity=LOSS) | {"random_display": {"sources": {}}}) == ""
