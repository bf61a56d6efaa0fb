"""The pages of signals and experiments say what the pages that the commands write say."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.experiments.look import Compared, History, Look, Ratio, save
from operations.experiments.page import render
from operations.experiments.record import changing
from operations.log.collect import collect
from operations.signals.monitor import OPS, monitor_once
from tests.console.running import Asks, running, text_of
from tests.operations.experiments.test_look import experiment
from tests.operations.repository import publish_golden
from tests.operations.why.test_logged import answer_all

pytestmark = pytest.mark.service("console")
DAY_S = 86_400
HISTORY = History(
    experiment().started_at,
    looks=[
        Look(
            at=f"2026-11-2{day}T10:00:00+00:00",
            variants=["a", "b"],
            users=[500, 510],
            slates=[900, 920],
            since_stage=[900, 920],
            elsewhere=[0.0, 0.01],
            p95_ms=[3.0, 3.2],
            ratio=Ratio(0.5, 0.6, False),
            metric=[Compared("b", "ctr", 0.1, 0.1 + day / 100, day / 100, 0.001 * day, 0.02 * day)],
            guardrails=[Compared("b", "errors", 0.0, 0.0, 0.0, None, None)],
            stage=0,
        )
        for day in (1, 2)
    ],
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("monitor_pages")
    answer_all(root / "LOG", publish_golden(root / "published", 1, "fused", "exact"), "exact", False)
    collect(root / "LOG", root / "MON")
    with changing(root / "published") as record:
        record.experiments += [experiment(), experiment(name="unseen <b>")]
    save(root / "MON", experiment(), HISTORY)
    return root


@pytest.fixture(scope="module")
def asks(world: Path) -> Iterator[Asks]:
    with running(world / "published", monitor=world / "MON") as found:
        yield found


def main_of(page: str) -> str:
    """What the page says, without when it was made."""
    said = text_of(page.split("<main")[1].partition(">")[2].split("</main>")[0])
    return re.sub(r"page is of \d{4}-\d\d-\d\d \d\d:\d\d", "", said)


def test_signals_are_those_of_the_page_that_the_monitor_writes(asks: Asks, world: Path) -> None:
    assert "No day of requests has ended yet" in text_of(asks.get("/signals").body)
    monitor_once(world / "MON", time.time() + 2 * DAY_S)
    found, written = asks.get("/signals"), (world / "MON" / OPS / "index.html").read_text()
    assert found.status == 200
    both = [re.sub(r"[\d.]+ days old", "", main_of(page)) for page in (found.body, written)]
    assert both[0].replace("The latest requests are : nothing is logged or collected since then. ", "") == (
        both[1].replace("The latest requests are : nothing is logged or collected since then. ", "")
    )
    assert "errors" in both[0] and "style=" not in found.body


def test_an_experiment_is_that_of_the_page_of_its_latest_look(asks: Asks) -> None:
    listed = asks.get("/experiments")
    assert "/experiment?name=e" in listed.links and "1 of 2" in text_of(listed.body)
    found = asks.get("/experiment?name=e")
    assert found.status == 200
    assert main_of(found.body) == main_of(render(experiment(), HISTORY)) and "b has more ctr than a" in found.body
    unseen = asks.get(next(link for link in listed.links if "unseen" in link))
    assert unseen.status == 200 and "Nobody has looked at it yet" in text_of(unseen.body) and "<b>" not in unseen.body
    assert asks.get("/experiment?name=nobody").status == 404


def test_pages_of_the_monitor_are_not_offered_without_it(world: Path) -> None:
    with running(world / "published") as alone:
        links = alone.get("/").links
        assert "/experiments" in links and "/signals" not in links
        assert alone.get("/signals").status == 404
        assert "started without --monitor MON" in text_of(alone.get("/experiment?name=e").body)
