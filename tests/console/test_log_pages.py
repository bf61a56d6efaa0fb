"""The pages of a published repository and its collected requests: Overview, Item and the Request log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from operations.log.collect import collect
from operations.replay.requests import latest
from operations.replay.versions import find_given
from tests.console.running import Asks, running, text_of
from tests.operations.repository import publish_golden
from tests.operations.why.test_logged import answer_all

pytestmark = pytest.mark.service("console")
ITEM = re.compile(r'<a class="id"[^>]*>([^<]*)</a>')


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("log_pages")
    answer_all(root / "LOG", publish_golden(root / "published", 1, "fused", "exact"), "exact", False)
    collect(root / "LOG", root / "MON")
    return root


@pytest.fixture(scope="module")
def asks(world: Path) -> Iterator[Asks]:
    with running(world / "published", monitor=world / "MON") as found:
        yield found


def rows(world: Path) -> list[dict[str, Any]]:
    return [dict(row.values) for row in latest(world / "MON", 100)]


def ids(world: Path, name: str) -> list[int]:
    key = rows(world)[0]["chain_key"]
    return np.array(find_given(world / "published", "fused", key, None).ids(name)).tolist()


def test_the_log_lists_every_request_and_each_leads_to_its_slates(asks: Asks, world: Path) -> None:
    listed = asks.get("/requests")
    assert listed.status == 200
    items, users = ids(world, "items"), ids(world, "users")
    for row in rows(world):
        address = f"/request?id={quote(row['request_id'])}"
        assert address in listed.links
        page = asks.get(address)
        assert page.status == 200
        slate = page.body.split(f'id="user-{row["position"] + 1}"')[1].split("</section>")[0]
        assert ITEM.findall(slate) == [str(items[item]) for item in row["item_rows"]]
        known = f"User {users[row['user_row']]}" if row["user_row"] >= 0 else "did not know"
        assert known in text_of("<h2>" + slate)


def test_a_request_is_asked_again_and_an_item_of_it_explained(asks: Asks, world: Path) -> None:
    row = rows(world)[0]
    address = f"/request?id={quote(row['request_id'])}"
    again = asks.get(f"{address}&again=1")
    assert again.status == 200 and "the same answer, bit for bit" in text_of(again.body)
    item, place = ids(world, "items")[row["item_rows"][1]], 2
    why = asks.get(f"{address}&user={row['position'] + 1}&item={item}")
    assert why.status == 200
    assert f"Shown: place {place} of {row['num_items']}" in text_of(why.body)


def test_what_is_not_in_the_log_is_a_sentence(asks: Asks, world: Path) -> None:
    missing = asks.get("/request?id=nobody")
    assert missing.status == 404 and "has no request nobody" in text_of(missing.body)
    name = quote(rows(world)[0]["request_id"])
    for more, status in (("&item=77777777", 409), ("&user=99&item=1", 409), ("&user=x", 404)):
        found = asks.get(f"/request?id={name}{more}")
        assert found.status == status and 'role="alert"' in found.body
    with running(world / "published") as alone:
        for address in ("/requests", "/request?id=1"):
            found = alone.get(address)
            assert found.status == 404 and "start the console with --monitor MON" in text_of(found.body)
        assert alone.get("/").status == 200


def test_an_item_is_as_near_and_as_often_shown_as_brute_force_has_it(asks: Asks, world: Path) -> None:
    items, logged = ids(world, "items"), rows(world)
    counts = np.bincount([row for each in logged for row in each["item_rows"]])
    row = int(counts.argmax())
    places = [list(each["item_rows"]).index(row) + 1 for each in logged if row in each["item_rows"]]
    page = asks.get(f"/item?id={items[row]}")
    assert page.status == 200
    said = text_of(page.body)
    assert f"in {100 * len(places) / len(logged):.3g}% of {len(logged)} slates" in said
    assert f"at place {np.mean(places):.4g} on average" in said
    chain = next((world / "published").glob("cascade/1/chain"))
    embeddings = np.load(chain / "item_embeddings.npy")
    scores = embeddings @ embeddings[row]
    scores[row] = -np.inf
    near = page.body.split('id="Similarity"')[1].split("</section>")[0]
    found = [int(each) for each in re.findall(r"/item\?id=(\d+)", near)]
    assert found == [items[at] for at in np.lexsort((np.arange(len(items)), -scores))[:10]]
    indptr, others = (np.load(chain / f"neighbours/{name}.npy") for name in ("indptr", "rows"))
    raised = page.body.split('id="Weight"')[1].split("</section>")[0]
    raises = {items[other] for other in others[indptr[row] : indptr[row + 1]]}
    assert {int(each) for each in re.findall(r"/item\?id=(\d+)", raised)} <= raises
    raising = page.body.split('id="Weights"')[1].split("</section>")[0]
    owners = [at for at in range(len(items)) if row in others[indptr[at] : indptr[at + 1]]]
    assert {int(each) for each in re.findall(r"/item\?id=(\d+)", raising)} <= {items[at] for at in owners}
    assert ("None." in text_of(raising)) == (not owners)
    assert asks.get("/item?id=77777777").status == 404


def test_the_overview_says_what_is_served_and_what_happened(asks: Asks, world: Path) -> None:
    said = text_of(asks.get("/").body)
    assert "version 1 (fused)" in said and f"collected requests {len(rows(world))}" in said
    assert "No day is measured yet" in said
    for address in ("/", "/item", "/requests"):
        assert 'aria-current="page"' in asks.get(address).body
