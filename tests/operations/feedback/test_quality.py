"""Maturity, live quality and its estimate, against delays and chances that are known."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from operations.feedback.estimate import ERROR, ESTIMATE
from operations.feedback.join import feedback
from operations.feedback.maturity import learn_maturity
from operations.feedback.metrics import FeedbackCollector
from operations.feedback.quality import load_quality
from operations.signals.kinds import KINDS
from operations.signals.monitor import alarms, current, monitor_once
from operations.signals.show import show
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


def make_shop(folder, thinned_from=NUM_DAYS) -> Shop:
    """A shop; of slates from a day on half of the clicks are missing."""
    world, random = World(folder), np.random.default_rng(5)
    requests, events = [], []
    for number in range(NUM_DAYS * NUM_A_DAY):
        day = number // NUM_A_DAY
        at = (DAY + day) * DAY_NS + int(random.integers(0, DAY_NS))
        scores = np.sort(random.uniform(0.1, 0.7, NUM_ITEMS))[::-1]
        rows = random.choice(len(world.ids), NUM_ITEMS, replace=False).tolist()
        named = {"path": "history", "context_device": "phone"}
        named = named if number % 3 else {"path": "known_user", "context_device": "desktop"}
        requests.append(world.request(f"r{number}", number % 400, rows, at, scores=scores.tolist(), **named))
        for rank, (row, score) in enumerate(zip(rows, scores.tolist(), strict=True)):
            if random.random() < score * BY_RANK[rank] * (0.5 if day >= thinned_from else 1.0):
                delay = int(random.exponential(DELAY_H) * HOUR) + 1
                events.append({"request_id": f"r{number}", "item_id": row, "timestamp": at + delay})
    world.collect(*requests, context=[("device", "BYTES")])
    return Shop(world, requests, events)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("quality"))


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
    ranks = [k + 1 for r in of_day for k in range(NUM_ITEMS) if (r["request_id"], r["item_rows"][k]) in clicked]
    assert mature[day, "chosen_rank", ""].value == pytest.approx(np.mean(ranks))
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


def test_signals_of_mature_days_are_quiet_and_metrics_say_what_is_live(shop, mature):
    found = monitor_once(shop.world.mon, shop.end + 7 * 86_400)
    names = {row.name for row in current(found.rows) if KINDS[row.measured.signal].family == "feedback"}
    assert names == {
        *("joined_ratio", "chosen_outside", "ctr:click", "chosen_rank:click"),
        *("copc:click", "ece:click", "estimate_error:click"),
    }
    assert not [row.name for row in alarms(found.rows) if row.name in names]
    said = {
        (sample.name, *sample.labels.values()): sample.value
        for family in FeedbackCollector(shop.world.mon).collect()
        for sample in family.samples
    }
    last = NUM_DAYS - 1
    assert said["cascade_quality", "ctr", "", "click", "live"] == mature[last, "ctr", ""].value
    assert said["cascade_quality", "ctr", "", "click", "estimated"] == mature[last, ESTIMATE, ""].value
    assert said["cascade_quality", "hit", "5", "click", "live"] == mature[last, "hit", "k=5"].value
    assert said[("cascade_feedback_joined_ratio",)] == 1.0
    assert not [key for key in said if key[-1] == "provisional"]
    page = (shop.world.mon / "ops/index.html").read_text()
    assert "Live quality" in page and f"{mature[last, 'ctr', ''].value:.2%}" in page


def test_fewer_clicks_are_an_alarm_once_their_day_is_mature_and_a_provisional_day_is_none(tmp_path):
    """Half of the clicks of three mature days are missing, and all of a day whose labels have yet to come."""
    first = NUM_DAYS - 5
    thinned = make_shop(tmp_path, thinned_from=first)
    known = [event for event in thinned.events if event["timestamp"] < thinned.end * 1e9 - DAY_NS]
    mon = thinned.world.mon
    feedback(mon, thinned.world.events(*known), now=thinned.end)
    found = monitor_once(mon, thinned.end + 1000.0)
    out = {row.name: row for row in alarms(found.rows)}
    assert (out["ctr:click"].state, out["ctr:click"].since) == ("low", DAY + first)
    assert out["ctr:click"].day == NUM_DAYS + DAY - 3
    assert max(row.day for row in found.rows if row.name == "ctr:click") < NUM_DAYS + DAY - 2
    lines = list(show(mon, "ctr:click"))
    assert any(line.split()[-1].startswith("rank=") for line in lines if line.split())
    said = {tuple(sample.labels.values()) for family in FeedbackCollector(mon).collect() for sample in family.samples}
    assert {("ctr", "", "click", how) for how in ("live", "provisional", "estimated")} <= said


def test_what_was_measured_stays_when_its_requests_are_pruned(shop, mature):
    shutil.rmtree(shop.world.mon / "joined")
    feedback(shop.world.mon, now=shop.end + 8 * 86_400)
    assert repr(figures(shop)) == repr(mature)


def test_labels_that_a_client_makes_up_are_few_figures(world_of_labels):
    labels = {quality.figure.label for quality in load_quality(world_of_labels)}
    assert len(labels) == 10 and "click" in labels


@pytest.fixture
def world_of_labels(tmp_path):
    world = World(tmp_path)
    world.collect(*(world.request(f"r{n}", n, [1, 2]) for n in range(60)))
    at = DAY * DAY_NS + 13 * HOUR
    events = [{"request_id": f"r{n}", "item_id": 1, "timestamp": at, "label": f"made up {n}"} for n in range(60)]
    events += [{"request_id": f"r{n}", "item_id": 2, "timestamp": at} for n in range(60)]
    feedback(world.mon, world.events(*events), now=(DAY + 1) * 86_400.0)
    return world.mon


def test_an_event_without_a_value_above_0_is_no_success(tmp_path):
    world, at = World(tmp_path), DAY * DAY_NS + 13 * HOUR
    world.collect(*(world.request(f"r{n}", n, [1, 2]) for n in range(4)))
    events = [{"request_id": f"r{n}", "item_id": 1, "timestamp": at, "value": n - 1} for n in range(4)]
    feedback(world.mon, world.events(*events), now=(DAY + 1) * 86_400.0)
    (ctr,) = (q.figure for q in load_quality(world.mon) if (q.figure.metric, q.figure.slice) == ("ctr", ""))
    assert (ctr.observed, ctr.num, ctr.value) == (2.0, 8, 0.25)
    assert not ctr.is_mature
