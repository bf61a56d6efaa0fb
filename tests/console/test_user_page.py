"""The console over a real socket: what the User page shows, where it leads, and every sentence of what is wrong."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from typer.testing import CliRunner

from ensemble.config import ChainConfig, Config
from ensemble.export.stage import export
from ensemble.publish import publish
from scripts.cli import app
from tests.console.running import Answered, Asks, running, text_of
from tests.ensemble.oracle import Oracle
from tests.ensemble.synthetic import item_id, make_run, sign_again, user_id
from workflows.core.run import Run

pytestmark = pytest.mark.service("console")
CHAIN = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15, instances=1)
USER = 9
ITEM = re.compile(r'<a class="id"[^>]*>([^<]*)</a>')
NASTY = '<i>&"x'


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Config]:
    run, config = make_run(tmp_path_factory.mktemp("console") / "run", chain=CHAIN, text_ids=True, num_users=20)
    ids = np.load(run.folder("data") / "ids/items.npy")
    ids[0] = NASTY.encode()  # the first in order too
    ids[0] = b'<i>&"x'
    np.save(run.folder("data") / "ids/items.npy", ids)
    sign_again(run)
    export(run, config)
    return run, config


@pytest.fixture(scope="module")
def asks(exported: tuple[Run, Config]) -> Iterator[Asks]:
    with running(exported[0].root) as found:
        yield found


def user(asks: Asks, row: int = USER, **more: str | list[str]) -> Answered:
    return asks.get(f"/user?{urlencode({'user': user_id(row, True), **more}, doseq=True)}")


def shown(answered: Answered) -> list[str]:
    """The items of the slate's table."""
    table = answered.body.split('id="slate"')[1].split("</tbody>")[0]
    return ITEM.findall(table)


def test_the_page_shows_the_slate_of_brute_force(asks: Asks, exported: tuple[Run, Config]) -> None:
    oracle = Oracle(exported[0].root, exported[1].chain, "serve")
    for row in (USER, 2, 0):
        expected, _, _ = oracle.slate(user_id(row, True))
        assert shown(user(asks, row)) == [item.decode() for item in expected]
    changed = user(asks, **{"context.device": "phone", "recent": item_id(3, True).decode(), "size": "7"})
    expected, _, _ = oracle.slate(user_id(USER, True), {"device": "phone"}, [item_id(3, True)], (), 7)
    assert shown(changed) == [item.decode() for item in expected]


def test_the_first_page_offers_users_and_every_link_of_a_page_leads_to_a_page(asks: Asks) -> None:
    seen, waiting = set[str](), [*asks.get("/user").links]
    for address in waiting:
        if address.startswith(("data:", "#")) or address in seen or len(seen) > 40:
            continue
        seen.add(address)
        found = asks.get(address.split("#")[0])
        assert found.status == 200, address
        if "user=" in address and len(seen) < 12:
            waiting += found.links
    assert any("item=" in address for address in seen) and any("exclude=" in address for address in seen)


def test_a_click_an_exclusion_and_a_shorter_history_change_the_slate(asks: Asks) -> None:
    before = shown(user(asks))
    excluded = user(asks, exclude=before[0])
    assert before[0] not in shown(excluded) and "1 are new" in text_of(excluded.body)
    assert before[0] in text_of(excluded.body.split("No longer shown")[1])
    clicked = user(asks, recent=before[0])
    assert before[0] not in shown(clicked) and "request" in text_of(clicked.body.split('id="history"')[1])
    history = ITEM.findall(user(asks).body.split('id="history"')[1])[0]
    shorter = user(asks, without=history)
    kept, _, _ = text_of(shorter.body.split('id="history"')[1]).partition("Left out")
    assert history not in kept


def test_why_says_what_cascade_why_says(asks: Asks, exported: tuple[Run, Config]) -> None:
    for item in (item_id(3, True).decode(), item_id(40, True).decode(), shown(user(asks))[0]):
        words = ["why", item, str(exported[0].root), "--user-id", user_id(USER, True).decode(), "--json"]
        expected = json.loads(CliRunner().invoke(app, words).stdout)
        quick = user(asks, item=item)
        offers = "How many candidates it would take" in quick.body
        assert offers == any(change["kind"] == "candidates" for change in expected["changes"])
        said = text_of(user(asks, item=item, thorough="1").body)
        assert expected["summary"][1:] in said
        for change in expected["changes"]:
            assert change["words"] in said


def test_what_a_name_holds_is_text_on_the_page(asks: Asks) -> None:
    found = user(asks, recent=NASTY, item=NASTY)
    assert found.status == 200
    assert "<i>" not in found.body and NASTY in text_of(found.body)


@pytest.mark.parametrize(
    ("address", "status", "sentence"),
    [
        (f"user={quote(user_id(USER, True))}&item=nothing", 404, "the item 'nothing' is unknown"),
        (f"user={quote(user_id(USER, True))}&without=nothing", 404, "the item 'nothing' is unknown"),
        (f"user={quote(user_id(USER, True))}&size=900", 400, "slate_size must be from 1 to 15, got 900"),
        (f"user={quote(user_id(USER, True))}&size=many", 400, "slate size must be a whole number, got 'many'"),
        (f"user={quote(user_id(USER, True))}&context.hour=soon", 400, "context hour must be a 64-bit integer"),
        (f"user={quote(user_id(USER, True))}&context.mood=good", 400, "the chain has no such context column"),
        ("user=nobody", 404, "user nobody is not among the 20 users that this chain was exported with"),
    ],
)
def test_what_is_wrong_is_one_sentence_on_the_page_with_its_status(
    asks: Asks, address: str, status: int, sentence: str
) -> None:
    found = asks.get(f"/user?{address}")
    assert found.status == status
    assert sentence in text_of(found.body) and "Traceback" not in found.body


def test_an_unknown_user_of_whom_something_is_said_is_a_visitor(asks: Asks) -> None:
    found = asks.get(f"/user?user=nobody&recent={item_id(3, True).decode()}")
    assert found.status == 200 and "the recent items of the request" in text_of(found.body)


def test_no_page_fetches_from_elsewhere_and_no_other_site_reads_one(asks: Asks) -> None:
    for address in ("/user", f"/user?user={quote(user_id(USER, True))}", "/nothing", "/static/htmx.min.js"):
        found = asks.get(address)
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert "'unsafe" not in found.headers["content-security-policy"]
    page = asks.get(f"/user?user={quote(user_id(USER, True))}")
    assert all(link.startswith(("/", "#", "data:,")) for link in page.links)
    assert "style=" not in page.body and "onclick" not in page.body
    assert asks.get("/user", host="evil.example").status == 400
    assert asks.get("/nothing").status == 404 and "there is no page /nothing" in text_of(asks.get("/nothing").body)


def test_people_who_ask_at_once_each_have_their_own_answer(asks: Asks) -> None:
    alone = {row: user(asks, row, item=item_id(40, True).decode()).body for row in range(2, 10)}
    together: dict[int, str] = {}

    def ask(row: int) -> None:
        together[row] = user(asks, row, item=item_id(40, True).decode()).body

    threads = [threading.Thread(target=ask, args=(row,)) for row in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_a_published_repository_is_shown_and_another_version_is_opened_when_it_is_served(
    exported: tuple[Run, Config], tmp_path: Path
) -> None:
    run, config = exported
    publish(run, config, tmp_path / "published", "fused")
    with running(tmp_path / "published") as asks:
        alone = user(asks)
        assert alone.status == 200 and "give --run RUN" not in alone.body
        publish(run, config, tmp_path / "published", "fused")
        assert shown(user(asks)) == shown(alone)
        shutil.rmtree(tmp_path / "published")
        gone = user(asks)
        assert gone.status == 503 and "Traceback" not in gone.body


def test_what_cannot_be_shown_is_said_before_anything_listens(exported: tuple[Run, Config], tmp_path: Path) -> None:
    from console.serve import listening

    def refused(*words: str) -> str:
        found = CliRunner().invoke(app, ["console", *words])
        assert found.exit_code == 1
        return " ".join(found.stderr.split())

    root = str(exported[0].root)
    (tmp_path / "run").mkdir()
    assert "cascade export" in refused(str(tmp_path / "run")) or "no model repository" in refused(str(tmp_path / "run"))
    assert "is no folder" in refused(root, "--monitor", str(tmp_path / "mon"))
    with listening("127.0.0.1", 0) as taken:
        assert "is taken; --port 0 takes a free one" in refused(root, "--port", str(taken.getsockname()[1]))
    assert "a port is from 1 to 65535" in refused(root, "--port", "70000")
    assert "cannot listen there" in refused(root, "--host", "203.0.113.7", "--port", "0")
