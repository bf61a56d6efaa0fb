import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.dataset.events import Events
from models.ranking.config import RankingConfig
from models.ranking.rules import LabelCounts, count_labels, wants_user_id, why_sampled
from workflows.core.errors import ConfigError


def counts_of(rows, positives):
    return LabelCounts(np.array(rows), np.array(positives))


ALIKE, APART = counts_of([4, 4, 4], [2, 2, 2]), counts_of([4, 4, 4], [0, 2, 4])
ONE_VALUE = counts_of([4, 4, 0], [4, 4, 0])


def drawn(random, num_users, spread):
    """Users whose share of positives follows a beta distribution: its intraclass correlation is `spread`."""
    scale = (1 - spread) / spread
    rows = random.integers(1, 40, num_users)
    return LabelCounts(rows, random.binomial(rows, random.beta(0.3 * scale, 0.7 * scale, num_users)))


@pytest.mark.parametrize("memory_budget_bytes", [1 << 20, 0])
def test_every_users_rows_and_positives_are_counted_in_memory_or_streamed(tmp_path, memory_budget_bytes):
    random = np.random.default_rng(0)
    users, labels = random.integers(0, 5, 40).astype(np.int32), random.integers(0, 2, 40).astype(np.float32)
    paths = [tmp_path / f"part_{number:03d}.parquet" for number in range(2)]
    for path, rows in zip(paths, np.split(np.arange(40), [25]), strict=True):
        pq.write_table(pa.table({"user_row": users[rows], "item_row": users[rows], "liked": labels[rows]}), path)
    events = Events(paths, memory_budget_bytes=memory_budget_bytes)
    found = count_labels(events, "liked", 6)
    assert found.rows.tolist() == [int((users == user).sum()) for user in range(6)]
    assert found.positives.tolist() == [int(labels[users == user].sum()) for user in range(6)]
    assert not count_labels(events, "", 6).rows.any()


def test_the_share_between_users_equals_that_of_an_analysis_of_variance_by_hand():
    # Means 1/4 and 3/4 of four rows each: between 4 * 2 / 16 / 1, within 4 * 2 * 3 / 16 / 6; (1/2 - 1/4) / (1/2 + 3/4).
    assert counts_of([4, 4], [1, 3]).share_between_users == pytest.approx(0.2)
    assert counts_of([4, 0, 4], [1, 0, 3]).share_between_users == pytest.approx(0.2)
    assert counts_of([4, 4], [0, 4]).share_between_users == pytest.approx(1.0)


@pytest.mark.parametrize("spread", [0.01, 0.2])
def test_the_share_between_users_is_that_of_the_distribution_they_were_drawn_from(spread):
    counts = drawn(np.random.default_rng(1), 20_000, spread)
    assert counts.share_between_users == pytest.approx(spread, abs=0.01)


@pytest.mark.parametrize("counts", [counts_of([], []), counts_of([1, 1], [0, 1]), counts_of([9], [4]), ONE_VALUE])
def test_nothing_lies_between_users_that_cannot_be_told_apart(counts):
    assert counts.share_between_users == 0.0


@pytest.mark.parametrize(
    ("counts", "wanted", "kinds", "sampled"),
    [
        (APART, "auto", False, False),
        (APART, "auto", True, True),
        (ONE_VALUE, "auto", False, True),
        (counts_of([0, 0], [0, 0]), "auto", False, True),
        (APART, "sampled", False, True),
        (APART, "impressions", False, False),
        (APART, "impressions", True, False),
    ],
)
def test_impressions_are_trained_on_where_the_label_has_both_values(counts, wanted, kinds, sampled):
    assert bool(why_sampled(counts, "liked", RankingConfig(training_examples=wanted), of_kinds=kinds)) == sampled


def test_impressions_without_both_values_are_refused():
    with pytest.raises(ConfigError, match="both values in the train split, got 'liked'"):
        why_sampled(ONE_VALUE, "liked", RankingConfig(training_examples="impressions"), of_kinds=False)


@pytest.mark.parametrize(("counts", "sampled", "expected"), [(APART, False, True), (APART, True, False)])
def test_users_who_differ_get_an_embedding_but_not_over_sampled_rows(counts, sampled, expected):
    assert wants_user_id(counts, RankingConfig(), sampled=sampled) == expected
    assert not wants_user_id(ALIKE, RankingConfig(), sampled=sampled)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("sampled", [True, False])
def test_the_config_overrules_the_log(asked, sampled):
    assert wants_user_id(ALIKE if asked else APART, RankingConfig(use_user_id=asked), sampled=sampled) == asked
