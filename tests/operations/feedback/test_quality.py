"""Maturity, live quality and its estimate, against delays and chances that are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from operations.feedback.estimate import ERROR, ESTIMATE
from operations.feedback.join import feedback
from operations.feedback.maturity import learn_maturity
from operations.feedback.quality import load_quality
from tests.operations.feedback.made import DAY, DAY_NS, HOUR, World

NUM_DAYS, NUM_A_DAY, NUM_ITEMS = 24, 120, 5
# How often an item at each rank is clicked, of the chance that its score says.
BY_RANK = (1.0, 0.8, 0.6, 0.5, 0.4)
DELAY_H = 6.0


def test_maturity_is_right_though_the_late_ones_of_young_slates_are_missing() -> None:
    random = np.random.default_rng(0)
    ages, delays = random.uniform(0, 5, 40_000), random.exponential(1.0, 40_000)
    seen = delays <= ages
    curve = learn_maturity(delays[seen], ages[seen])
    at = np.array([0.1, 0.5, 1.0, 2.0, 3.0, 10.0])
    truth = np.minimum((1 - np.exp(-at)) / (1 - np.exp(-5)), 1.0)
    np.testing.assert_allclose(curve.at(at), truth, atol=0.02)
    # What a plain share of what came would say.
    assert (delays[seen] <= 1.0).mean() > truth[2] + 0.05


def test_of_few_positives_nothing_is_known_of_delays() -> None:
    curve = learn_maturity(np.ones(99), np.full(99, 5.0))
    assert not curve.is_known
    assert curve.at(np.array([9.0])).tolist() == [0.0]


def test_delays_worked_by_hand() -> None:
    """A hundred slates that are old and four delays: 1, 2, 3 and 4, a quarter each."""
    curve = learn_maturity(np.tile([1.0, 2.0, 3.0, 4.0], 25), np.full(100, 9.0))
    np.testing.assert_allclose(curve.at(np.array([0.5, 1.0, 2.5, 3.0, 4.0])), [0, 0.25, 0.5, 0.75, 1.0])


@dataclass
class Shop:
    """A world of known chances, and what happened in it."""

    world: World
    requests: list
    events: list

    @property
    def end(self) -> float:
        return (DAY + NUM_DAYS) * 86_400.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    world, random = World(tmp_path_factory.mktemp("quality")), np.random.default_rng(5)
    requests, events = [], []
    for number in range(NUM_DAYS * NUM_A_DAY):
        at = (DAY + number // NUM_A_DAY) * DAY_NS + int(random.integers(0, DAY_NS))
        scores = np.sort(random.uniform(0.1, 0.7, NUM_ITEMS))[::-1]
        rows = random.choice(len(world.ids), NUM_ITEMS, replace=False).tolist()
        device, path = ("phone", "history") if number % 3 else ("desktop", "known_user")
        requests.append(
            world.request(
                f"r{number}", number % 400, rows, at, scores=scores.tolist(), path=path, context_device=device
            )
        )
        for rank, (row, score) in enumerate(zip(rows, scores.tolist(), strict=True)):
            if random.random() < score * BY_RANK[rank]:
                delay = int(random.exponential(DELAY_H) * HOUR) + 1
                events.append({"request_id": f"r{number}", "item_id": row, "timestamp": at + delay})
    world.collect(*requests, context=[("device", "BYTES")])
    return Shop(world, requests, events)


@pytest.fixture(scope="module")
def provisional(shop) -> dict:
    """Figures at the end of the last day: (day, metric, slice) -> figure."""
    known = [event for event in shop.events if event["timestamp"] < shop.end * 1e9]
    feedback(shop.world.mon, shop.world.events(*known), now=shop.end)
    return figures(shop)


@pytest.fixture(scope="module")
def mature(shop, provisional) -> dict:
    """The same a week later."""
    feedback(shop.world.mon, shop.world.events(*shop.events), now=shop.end + 7 * 86_400)
    return figures(shop)


def figures(shop) -> dict:
    return {
        (quality.day - DAY, quality.figure.metric, quality.figure.slice): quality.figure
        for quality in load_quality(shop.world.mon)
    }


def test_a_day_is_provisional_until_its_labels_have_come(provisional, mature):
    assert not provisional[NUM_DAYS - 1, "ctr", ""].is_mature
    assert provisional[NUM_DAYS - 3, "ctr", ""].is_mature
    assert mature[NUM_DAYS - 1, "ctr", ""].is_mature
    young = provisional[NUM_DAYS - 1, "ctr", ""]
    # Exponential delays of six hours, ages that are even over a day.
    assert young.maturity == pytest.approx(1 - 0.25 * (1 - np.exp(-4)), abs=0.03)
    # Corrected for what has not come it is near what comes.
    assert abs(young.value - mature[NUM_DAYS - 1, "ctr", ""].value) < 3 * young.spread


def test_click_through_is_what_happened_by_position_path_segment_and_over_all(shop, mature):
    day = 4
    clicked = {(event["request_id"], event["item_id"]) for event in shop.events}
    of_day = [request for request in shop.requests if request["at"] // DAY_NS == DAY + day]

    def rate(chosen, ranks=range(NUM_ITEMS)):
        return np.mean([(r["request_id"], r["item_rows"][k]) in clicked for r in of_day if chosen(r) for k in ranks])

    expected = {
        "": rate(lambda _: True),
        "rank=1": rate(lambda _: True, [0]),
        "rank=5": rate(lambda _: True, [4]),
        "path=history": rate(lambda r: r["path"] == "history"),
        "consumer=web": rate(lambda _: True),
        "device=desktop": rate(lambda r: r["context_device"] == "desktop"),
    }
    for name, value in expected.items():
        assert mature[day, "ctr", name].value == pytest.approx(value, rel=0.002), name
    first_hit = np.mean([(r["request_id"], r["item_rows"][0]) in clicked for r in of_day])
    assert mature[day, "hit", "k=1"].value == pytest.approx(first_hit, rel=0.002)
    any_hit = np.mean([any((r["request_id"], row) in clicked for row in r["item_rows"]) for r in of_day])
    assert mature[day, "hit", "k=5"].value == pytest.approx(any_hit, rel=0.002)
    assert mature[day, "hit", "k=10"].value == mature[day, "hit", "k=5"].value


def test_calibration_tells_a_score_that_comes_true_from_one_that_does_not(shop, mature):
    days = range(3, NUM_DAYS)
    first = np.array([mature[day, "copc", "rank=1"].value for day in days])
    last = np.array([mature[day, "copc", "rank=5"].value for day in days])
    assert first.mean() == pytest.approx(1.0, abs=0.06)
    assert last.mean() == pytest.approx(BY_RANK[4], abs=0.06)
    assert 0.05 < mature[5, "ece", ""].value < 0.3


def test_the_estimate_before_labels_come_is_near_what_comes_and_is_kept(provisional, mature):
    last = NUM_DAYS - 1
    assert mature[last, ESTIMATE, ""].value == provisional[last, ESTIMATE, ""].value
    days = [day for day in range(NUM_DAYS) if (day, ERROR, "") in mature]
    errors = np.array([mature[day, ERROR, ""].value for day in days])
    assert len(days) == NUM_DAYS - 3
    assert abs(mature[last, ERROR, ""].value) < 0.1 + 2 * mature[last, ERROR, ""].spread
    assert abs(errors.mean()) < 0.05
    covered = [
        abs(mature[day, ESTIMATE, ""].value - mature[day, "ctr", ""].value) <= 1.645 * mature[day, ESTIMATE, ""].spread
        for day in days
    ]
    assert np.mean(covered) >= 0.9
