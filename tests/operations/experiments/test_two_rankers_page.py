"""docs/TWO_RANKERS.md: its tutorial, block after block, as somebody follows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tutorial import follow

PAGE = (Path(__file__).parents[3] / "docs/TWO_RANKERS.md").read_text()


@pytest.mark.slow
@pytest.mark.long
def test_the_tutorial_of_which_ranker_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    names, said = follow(PAGE)
    assert "choices.parquet would have earned" in said and said.rstrip().endswith("was earned: more")
    assert names["without_chance"].found.refusal.startswith("too little overlap")
    assert names["share"] - 0.5 > 2 * names["error"]
    [found] = names["history"].looks[-1].metric
    assert not names["history"].looks[-1].ratio.alarm
    assert 0 < found.low < names["truth"] / 100 < found.high
    assert "new has more ctr than old." in capsys.readouterr().out
