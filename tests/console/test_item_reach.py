"""Who gets an item: counted as brute force counts it over all users, and split by what the table says of them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from console.audience import Audience
from console.reach import Reach, reach_of, wilson
from console.site import Site
from ensemble.config import ChainConfig, Config
from ensemble.export.stage import export
from operations.blocks import change_blocks
from tests.console.running import Asks, running, text_of
from tests.ensemble.oracle import Oracle
from tests.ensemble.synthetic import item_id, make_run, sign_again, user_id
from workflows.core.run import Run

pytestmark = pytest.mark.service("console")
NUM_USERS = 60


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Config]:
    chain = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15, instances=1)
    run, config = make_run(tmp_path_factory.mktemp("reach") / "run", chain=chain, num_users=NUM_USERS)
    users = {
        "user_id": [user_id(row, False) for row in range(NUM_USERS)],
        "side": [None if row == 7 else "even" if row % 2 == 0 else "odd" for row in range(NUM_USERS)],
        "spend": np.arange(NUM_USERS, dtype=np.float64),
        "name": [f"user {row}" for row in range(NUM_USERS)],
    }
    pq.write_table(pa.table(users), run.folder("data") / "users.parquet")
    sign_again(run)
    export(run, config)
    return run, config


@pytest.fixture(scope="module")
def slates(exported: tuple[Run, Config]) -> list[list[int]]:
    oracle = Oracle(exported[0].root, exported[1].chain, "serve")
    return [oracle.slate(user_id(row, False))[0] for row in range(NUM_USERS)]


def whole(root: Path, row: int) -> Reach:
    """When all users are asked."""
    site = Site(root)
    audience = Audience(site.chain)
    while True:
        with site.chain() as chain:
            reach = reach_of(chain, audience.of(chain), row)
        if reach.is_done:
            return reach
        time.sleep(0.01)


def test_the_counts_are_those_of_brute_force(exported: tuple[Run, Config], slates: list[list[int]]) -> None:
    counts = np.bincount([(item - 7) // 3 for slate in slates for item in slate], minlength=300)
    for row in (int(counts.argmax()), int(np.flatnonzero(counts == 1)[0]), int(counts.argmin())):
        reach, item = whole(exported[0].root, row), item_id(row, False)
        having = [user for user, slate in enumerate(slates) if item in slate]
        assert (reach.problem, reach.num_done, reach.num_users) == ("", NUM_USERS, NUM_USERS)
        assert reach.of_all.in_slates == len(having) == counts[row] <= reach.of_all.in_candidates
        assert reach.shown_to == [str(user_id(user, False)) for user in having][:5]
        if having:
            assert reach.mean_place == pytest.approx(np.mean([slates[user].index(item) + 1 for user in having]))
        if not reach.of_all.in_candidates:
            assert not reach.groups
            continue
        odd = [user for user in having if user % 2 and user != 7]
        found = {(group.column, group.value): group for group in reach.groups}
        assert found["side", "odd"].in_slates == len(odd) and found["side", "odd"].num_users == 29
        assert ("side", "not known") not in found  # one user says nothing of a segment
        assert not any(column == "name" for column, _ in found)


def test_numbers_are_split_at_their_quartiles(exported: tuple[Run, Config]) -> None:
    site = Site(exported[0].root)
    with site.chain() as chain:
        sample = Audience(site.chain).of(chain)
    while not sample.is_done:
        time.sleep(0.01)
    parts = {each.value: int(each.is_in.sum()) for each in sample.segments if each.column == "spend"}
    assert parts == {"0 to 14": 15, "15 to 29": 15, "30 to 44": 15, "45 to 59": 15}
    assert sum(int(each.is_in.sum()) for each in sample.segments if each.column == "seen items") == NUM_USERS


def test_an_interval_is_that_of_a_table() -> None:
    # Newcombe (1998), table I: Wilson's score without continuity correction.
    assert wilson(0, 2_000)[0] == 0.0 and wilson(20, 20)[1] == 1.0
    for hits, count, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert wilson(hits, count) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.fixture
def asks(exported: tuple[Run, Config]) -> Iterator[Asks]:
    with running(exported[0].root) as found:
        yield found


def settled(asks: Asks, address: str) -> str:
    """The page when nothing of it is to come."""
    while "data-live" in (body := asks.get(address).body):
        assert re.search(r'hx-get="([^"]+)"', body)[1] == address
        time.sleep(0.01)
    return body


def test_the_page_says_so_and_a_blocked_item_is_in_no_slate(
    asks: Asks, exported: tuple[Run, Config], slates: list[list[int]]
) -> None:
    item = slates[9][0]
    count = sum(item in slate for slate in slates)
    said = text_of(settled(asks, f"/item?id={item}"))
    assert f"{count} of {NUM_USERS} users drawn at random have it in their slate" in said
    change_blocks(exported[0].root, [str(item)], block=True)
    time.sleep(0.25)  # as often as the chain looks at the file
    assert f"0 of {NUM_USERS} users" in text_of(settled(asks, f"/item?id={item}"))
