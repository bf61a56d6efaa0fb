"""docs/SEND_GATE.md: its tutorial, block after block, as somebody follows it."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from operations.notify.folder import batches
from tests.tutorial import follow

PAGE = (Path(__file__).parents[3] / "docs/SEND_GATE.md").read_text()
TUTORIAL = PAGE.partition("## From a log to a batch")[2].partition("\n## ")[0]


@pytest.mark.slow
def test_the_tutorial_of_when_not_to_send_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, said = follow(TUTORIAL)
    gains = {
        name: float(re.findall(rf"^{name} +[\d.]+ +(-?[\d.]+)", said, re.MULTILINE)[-1])
        for name in ("always", "logging rule", "learnt send gate", "observable reference")
    }
    assert 0.1 < gains["always"] < 0.4 < gains["logging rule"] < 0.65
    assert 0.7 < gains["learnt send gate"] < gains["observable reference"]
    first, again, second = (pq.read_table(f"{name}.parquet").to_pydict() for name in ("first", "again", "second"))
    assert first == again
    assert 0.3 < sum(first["send"]) / len(first["send"]) < 0.7
    sends = {(send, reason) for send, reason in zip(first["send"], first["reason"], strict=True)}
    assert sends == {(True, "worth"), (True, "explored"), (False, "not_worth"), (False, "explored")}
    assert set(second["reason"][::2]) == {"quiet_hours"}
    assert 110 < sum(second["send"]) < 190
    assert {"worth", "price", "not_worth", "explored"} <= set(second["reason"][1::2])
    assert len(batches(Path("decided"))) == 2
