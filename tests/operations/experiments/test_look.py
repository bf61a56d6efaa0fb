"""One look at a log: what counts for which variant, what is worse, what is hidden, and when the next stage is due."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from operations.experiments.look import History, Look, history_of, look, save
from operations.experiments.observed import observed
from operations.experiments.page import render
from operations.experiments.record import Running, Side
from operations.experiments.show import is_hidden, lines, verdict
from operations.experiments.watch import why_not_yet
from operations.feedback.join import feedback
from operations.feedback.schema import DAY_NS
from tests.operations.feedback.made import START, World
from workflows.core.errors import ArtefactError

STARTED = datetime.fromtimestamp(START // 10**9 - 60, timezone.utc).isoformat()


def experiment(**given: Any) -> Running:
    return Running(
        **{
            "name": "e",
            "salt": "e-1",
            "layer": "serving",
            "start": 0.0,
            "end": 1.0,
            "variants": [Side("a", 0.0, 0.5, 0.5, "", 1), Side("b", 0.5, 1.0, 1.0, "cascade_v2", 2)],
            "metric": "ctr",
            "guardrails": ["errors", "p95_ms", "empty_slates", "ctr"],
            "tolerance": 0.05,
            "stages": [0.5, 1.0],
            "min_hours": 0.0,
            "min_exposures": 10,
            "users": 1_000,
            "alpha": 0.05,
            "stage": 0,
            "stage_since": STARTED,
            "started_at": STARTED,
            **given,
        }
    )


class Shop(World):
    """A log of an experiment."""

    def play(self, users: int = 300, clicks: tuple[float, float] = (0.3, 0.3), seed: int = 0, **b: Any) -> None:
        """One request of each user of both variants, and what they click on; `b`: values of requests of variant b."""
        rng, requests, events = np.random.default_rng(seed), [], []
        for user in range(2 * users):
            is_b = user % 2
            values = {key: value(user) if callable(value) else value for key, value in b.items()} if is_b else {}
            took = int(rng.gamma(20, 100))
            request = self.request(
                f"r-{seed}-{user}",
                user,
                [0, 1, 2, 3, 4],
                START + user * 10**6,
                **{"experiment": f"e={'ab'[is_b]}", "model_version": 1 + is_b, "service_us": took, **values},
            )
            requests.append(request)
            at = datetime.fromtimestamp(START // 10**9 + 60, timezone.utc).isoformat()
            events += [
                {"user_id": user, "item_id": row, "label": "click", "at": at, "request_id": f"r-{seed}-{user}"}
                for row in request["item_rows"] or []
                if rng.random() < clicks[is_b]
            ]
        self.collect(*requests)
        feedback(self.mon, self.events(*events, name=f"{seed}.ndjson"), impressions="slate")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def seen(shop: Shop, running: Running | None = None, history: History | None = None) -> Look:
    running = running or experiment()
    return look(shop.mon, running, history or History(running.started_at))


def test_what_differs_is_measured_by_user(shop: Shop) -> None:
    shop.play(clicks=(0.2, 0.4))
    found = seen(shop)
    assert found.users == found.slates == [300, 300] and not found.ratio.alarm and found.breaches == []
    [metric] = found.metric
    assert metric.control == pytest.approx(0.2, abs=0.03) and metric.value == pytest.approx(0.4, abs=0.04)
    assert metric.low is not None and metric.low > 0.1 and metric.p_value is not None and metric.p_value < 1e-6
    assert verdict(experiment(), found, History("")) == "b has more ctr than a."


@pytest.mark.parametrize(
    ("planted", "metric"),
    [
        ({"service_us": 9_000}, "p95_ms"),
        (
            {"item_rows": lambda user: [] if user % 3 == 0 else [0], "num_items": lambda user: int(user % 3 > 0)},
            "empty_slates",
        ),
        ({"model_version": lambda user: 2 if user % 8 > 1 else 1}, "errors"),
        ({"error": lambda user: None if user % 8 > 1 else "no", "user_key": lambda user: None}, "errors"),
        ({"num_items": 0, "item_rows": []}, "empty_slates"),
    ],
    ids=["slow", "empty", "answered by another version", "refused", "all empty"],
)
def test_what_is_worse_is_a_breach(shop: Shop, planted: dict, metric: str) -> None:
    shop.play(**planted)
    found = seen(shop)
    assert [each.metric for each in found.breaches][:1] == [metric]
    assert verdict(experiment(), found, History("")).startswith("Withdraw it: b has more")


def test_fewer_clicks_are_a_breach_and_more_are_none(shop: Shop) -> None:
    shop.play(users=500, clicks=(0.5, 0.35))
    assert [each.metric for each in seen(shop).breaches] == ["ctr"]
    other = experiment(variants=[Side("b", 0, 0.5, 0.5, "", 2), Side("a", 0.5, 1, 1, "x", 1)])
    assert seen(shop, other).breaches == []


def test_nothing_that_is_not_of_the_experiment_counts(shop: Shop) -> None:
    shop.play(users=150)
    before = observed(shop.mon, experiment())
    for number, values in enumerate(
        (
            {"experiment": None},
            {"experiment": "other=b"},
            {"experiment": "e=b", "attempt": 2},
            {"experiment": "e=b", "weight": 0.0, "reason": "slow"},
            {"experiment": "e=b", "at": START - 3_600 * 10**9},
            {"experiment": "e=b", "at": START - 2 * DAY_NS},
        )
    ):
        shop.collect(shop.request(f"x-{number}", 10_000 + number, [0], **{"at": START, "model_version": 2, **values}))
    after = observed(shop.mon, experiment())
    assert (after.users, after.slates, after.since_stage) == (before.users, before.slates, before.since_stage)
    # Of several experiments a user is in, each counts for itself.
    shop.collect(shop.request("y", 99_999, [0], experiment="other=b;e=b", model_version=2))
    assert observed(shop.mon, experiment()).users == [150, 151]


def test_a_log_from_before_there_were_experiments_holds_none(shop: Shop) -> None:
    shop.collect(shop.request("x", 1, [0], experiment="e=a"))
    [path] = (shop.mon / "requests").glob("chain=*/date=*/*.parquet")
    pq.write_table(pq.read_table(path).drop_columns(["experiment"]), path)
    found = observed(shop.mon, experiment())
    assert found.users == [0, 0] and found.latest == 0


def test_lost_users_hide_what_differs_until_somebody_says_why(shop: Shop) -> None:
    shop.play(clicks=(0.2, 0.4))
    shop.collect(*(shop.request(f"z-{n}", 50_000 + n, [0], experiment="e=a") for n in range(200)))
    running, history = experiment(), History(STARTED)
    found = seen(shop, running, history)
    assert found.ratio.alarm and is_hidden(found, history)
    shown = "\n".join(lines(running, found, history))
    assert "ALARM" in shown and "ctr" not in shown and "ctr" not in render(running, history).split("</style>")[1]
    assert why_not_yet(running, found, history).startswith("the variants do not have the users")
    history.acknowledged = "a bot"
    assert "b, ctr: " in "\n".join(lines(running, found, history))
    assert "a bot" in render(running, history) and "What differs" in render(running, history)


def test_too_few_users_say_nothing(shop: Shop) -> None:
    shop.play(users=50, clicks=(0.0, 1.0), service_us=10**6)
    found = seen(shop)
    assert found.breaches == [] and found.metric[0].low is None
    assert verdict(experiment(), found, History("")) == "Too little is known yet."


def test_sequences_are_fixed_at_the_first_look_that_knows_enough(shop: Shop) -> None:
    running, history = experiment(), History(STARTED)
    shop.play()
    first = seen(shop, running, history)
    fixed = dict(history.information)
    shop.play(seed=1)
    second = seen(shop, running, history)
    assert history.information == fixed and len(history.looks) == 2
    widths = [(look.metric[0].high or 0) - (look.metric[0].low or 0) for look in (first, second)]
    assert widths[1] < widths[0]
    save(shop.mon, running, history)
    assert history_of(shop.mon, running) == history
    # Another experiment of the same name starts without them.
    assert history_of(shop.mon, experiment(started_at="2030-01-01T00:00:00+00:00")).looks == []
    page = render(running, history)
    assert page.count("<svg") == 1 and "b: ctr minus that of a" in page and "http" not in page
    (shop.mon / "experiments/e.json").write_text("{")
    with pytest.raises(ArtefactError, match="looks so far are forgotten"):
        history_of(shop.mon, running)


def test_the_next_stage_is_due_when_the_present_one_has_had_its_time_and_its_slates(shop: Shop) -> None:
    shop.play()
    history = History(STARTED)

    def why(running: Running) -> str:
        return why_not_yet(running, seen(shop, running, history), history)

    assert why(experiment()) == ""
    assert why(experiment(min_exposures=1_000)) == "a has 300 of 1,000 slates of this stage"
    soon = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    assert "has run 1.0 of 24 hours" in why(experiment(min_hours=24.0, stage_since=soon))
    assert "is the last one" in why(experiment(stage=1))
    later = (datetime.now(timezone.utc) + timedelta(hours=5)).isoformat(timespec="milliseconds")
    assert "is yet to come by the clock of this machine" in why(experiment(stage_since=later))
    ahead = experiment(started_at=later)
    assert "what is logged before then does not count" in "\n".join(lines(ahead, seen(shop, ahead), History(later)))


def test_a_folder_without_a_log_and_a_broken_file_are_refused(shop: Shop) -> None:
    with pytest.raises(ArtefactError, match="holds no collected requests"):
        observed(shop.mon, experiment())
    shop.play(users=10)
    [path] = (shop.mon / "requests").glob("chain=*/date=*/*.parquet")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArtefactError, match="cascade log verify"):
        observed(shop.mon, experiment())
