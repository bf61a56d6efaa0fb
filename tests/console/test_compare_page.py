"""Two chains side by side: each slate is what its own chain answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ensemble.config import ChainConfig
from ensemble.export.stage import export
from tests.console.running import running, text_of
from tests.ensemble.oracle import Oracle
from tests.ensemble.synthetic import make_run, user_id

pytestmark = pytest.mark.service("console")


def test_both_slates_are_those_of_brute_force(tmp_path: Path) -> None:
    slates = []
    for name, seed in (("a", 0), ("b", 1)):
        chain = ChainConfig(num_candidates=20, slate_size=4, instances=1)
        run, config = make_run(tmp_path / name, chain=chain, num_users=20, num_items=60, seed=seed)
        export(run, config)
        slates.append([str(item) for item in Oracle(run.root, config.chain).slate(user_id(9, False))[0]])
    with running(tmp_path / "a", beside=tmp_path / "b") as asks:
        page = asks.get(f"/compare?user={user_id(9, False)}")
        assert page.status == 200 and "/compare" in asks.get("/").links
        found = re.findall(r'<a class="id"[^>]*>([^<]*)</a>', page.body)
        assert [found[::2], found[1::2]] == slates
        common = len({*slates[0]} & {*slates[1]})
        assert f"{common} items are in both" in text_of(page.body)
        assert asks.get("/compare").status == 200 and asks.get("/compare?user=x").status == 400
    with running(tmp_path / "a") as alone:
        assert alone.get("/compare?user=1").status == 404 and "/compare" not in alone.get("/").links
