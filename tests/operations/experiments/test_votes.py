"""Votes of an interleaved experiment: who voted for what, what counts for neither, and what is an error of whom."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operations.experiments.look import History, Look, look
from operations.experiments.page import render
from operations.experiments.record import Running, Side
from operations.experiments.show import lines, verdict
from operations.experiments.votes import voted
from operations.experiments.watch import why_not_yet
from operations.feedback.join import feedback
from tests.operations.experiments.test_look import experiment
from tests.operations.feedback.made import START, World

TEAMS = [-1, 0, 1, 1, 0]


def interleaved(**given: Any) -> Running:
    sides = [Side("old", 0, 0, 0, "", 1), Side("new", 0, 0, 0, "cascade_v2", 2), Side("both", 0, 1, 1, "cascade_v3", 3)]
    return experiment(kind="interleave", variants=sides, guardrails=["errors"], **given)


class Shop(World):
    """A log of an interleaved experiment."""

    def ask(self, name: str, user: int, clicks: list[int], **values: Any) -> None:
        """A slate of items 0 to 4, and the places that are clicked on; some of them twice."""
        given = {"experiment": "e=both", "model_version": 3, "variant": "both", "team": TEAMS, **values}
        self.asked.append(self.request(name, user, [0, 1, 2, 3, 4], START + user * 10**6, **given))
        at = datetime.fromtimestamp(START // 10**9 + 60, timezone.utc).isoformat()
        self.events_of += [
            {"user_id": user, "item_id": place, "label": "click", "at": at, "request_id": name} for place in clicks
        ]

    def look(self, running: Running | None = None) -> Look:
        running = running or interleaved()
        self.done()
        return look(self.mon, running, History(running.started_at))

    def done(self) -> None:
        self.collect(*self.asked, drafts=True)
        feedback(self.mon, self.events(*self.events_of), impressions="slate")

    @property
    def arms(self) -> list[tuple[float, float, float]]:
        """Users, net votes and votes of both teams."""
        self.done()
        found = voted(self.mon, interleaved()).arms["ctr"]
        return [(float(np.asarray(a.users)), float(np.asarray(a.y)), float(np.asarray(a.x))) for a in found]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    made.asked, made.events_of = [], []
    return made


def test_a_slate_votes_once_for_the_team_with_more_of_the_clicked_places(shop: Shop) -> None:
    shop.ask("a", 1, [2, 2, 3])  # the second, by two places
    shop.ask("b", 1, [1])  # the first: the same user
    shop.ask("c", 2, [0])  # a place of neither
    shop.ask("d", 3, [1, 2])  # one each
    shop.ask("e", 4, [0, 3])  # the second
    shop.ask("f", 5, [])
    assert shop.arms == [(2.0, -1.0, 3.0), (2.0, 1.0, 3.0)]


def test_who_is_preferred_is_told_with_an_interval(shop: Shop) -> None:
    rng = np.random.default_rng(0)
    chosen = [rng.random() < 0.7 for _ in range(400)]
    for user, second in enumerate(chosen):
        shop.ask(f"r{user}", user, [2] if second else [1])
    running = interleaved(users=400)
    taken = shop.look(running)
    [metric] = taken.metric
    assert metric.value == pytest.approx(np.mean(chosen)) and metric.control == pytest.approx(1 - (metric.value or 0))
    assert (
        metric.low is not None and metric.high is not None and 0.0 < metric.low < 2 * np.mean(chosen) - 1 < metric.high
    )
    history = History(running.started_at, looks=[taken])
    told = list(lines(running, taken, history))
    assert "Readers prefer new to old, in votes by click." in told[-1]
    assert "  both: slates of both, 400 users, 400 slates, p95 2 ms" in told
    assert "  old: version 1" in told and not any("sample ratio" in line for line in told)
    assert "Readers prefer new to old" in render(running, history)


def test_where_readers_have_no_preference_none_is_told(shop: Shop) -> None:
    for user in range(400):
        shop.ask(f"r{user}", user, [1 + user % 2])
    taken = shop.look()
    assert taken.metric[0].value == 0.5 and verdict(interleaved(), taken, History("")) == "Not decided yet."


def test_a_version_that_cannot_answer_is_an_error_of_its_own(shop: Shop) -> None:
    for user in range(300):
        alone = {"variant": "old", "team": [-1] * 5} if user % 5 == 0 else {}
        shop.ask(f"r{user}", user, [1], **alone)
    taken = shop.look()
    [breach] = taken.breaches
    assert (breach.variant, breach.metric, breach.value, breach.control) == ("new", "errors", 0.2, 0.0)
    assert taken.elsewhere[2] == pytest.approx(0.2) and taken.since_stage == [0, 0, 240]
    assert verdict(interleaved(), taken, History("")).startswith("Withdraw it: new has more errors")


def test_what_is_neither_s_fault_is_no_error(shop: Shop) -> None:
    for user in range(300):
        # A version that was published since, and requests that are good for nobody.
        values: dict[str, Any] = {"variant": "", "team": [-1] * 5} if user % 2 else {"error": "no", "item_rows": None}
        shop.ask(f"r{user}", user, [], **values)
    assert shop.look().breaches == []


def test_the_served_version_answers_where_nobody_drafts_and_that_is_an_error(shop: Shop) -> None:
    for user in range(300):
        shop.ask(f"r{user}", user, [1], **({"model_version": 1, "variant": None, "team": None} if user % 3 else {}))
    assert [each.metric for each in shop.look().breaches] == ["errors"]


def test_the_next_stage_waits_for_drafted_slates_alone(shop: Shop) -> None:
    for user in range(12):
        shop.ask(f"r{user}", user, [1], **({"variant": "old"} if user % 2 else {}))
    running = interleaved(min_exposures=10)
    taken = shop.look(running)
    assert why_not_yet(running, taken, History("")) == "both has 6 of 10 slates of this stage"


def test_a_log_without_drafts_holds_no_votes(shop: Shop) -> None:
    shop.collect(shop.request("x", 1, [0], experiment="e=both"))
    feedback(shop.mon, shop.events({"user_id": 1, "item_id": 0, "label": "click", "at": "2024-10-04T12:01:00Z"}))
    found = voted(shop.mon, interleaved())
    assert found.slates == [0, 0, 1] and found.elsewhere == [0.0, 0.0, 1.0]
