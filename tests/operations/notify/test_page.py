"""docs/SEND_GATE.md: its tutorial, block after block, as somebody follows it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from operations.notify.folder import batches
from scripts.cli import app

PAGE = (Path(__file__).parents[3] / "docs/SEND_GATE.md").read_text()
TUTORIAL = PAGE.partition("## From a log to a batch")[2].partition("\n## ")[0]


def follow(text: str) -> None:
    """Run the blocks of a page in the current folder."""
    names: dict[str, Any] = {}
    for language, code in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            exec(code, names)
        elif language == "toml":
            Path(code.splitlines()[0].removeprefix("# ")).write_text(code)
        else:
            assert language == "console"
            for line in code.splitlines():
                program, *words = shlex.split(line)
                done = CliRunner().invoke(app, words)
                assert program == "cascade" and done.exit_code == 0, (line, done.output)


@pytest.mark.slow
def test_the_tutorial_of_when_not_to_send_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    follow(TUTORIAL)
    first, again, second = (pq.read_table(f"{name}.parquet").to_pydict() for name in ("first", "again", "second"))
    assert first == again
    assert sum(first["send"]) < len(first["send"]) / 2
    sends = {(send, reason) for send, reason in zip(first["send"], first["reason"], strict=True)}
    assert sends == {(True, "worth"), (True, "explored"), (False, "not_worth"), (False, "explored")}
    assert set(second["reason"][::2]) == {"quiet_hours"}
    assert 110 < sum(second["send"]) < 190
    assert {"worth", "price", "not_worth", "explored"} <= set(second["reason"][1::2])
    assert len(batches(Path("decided"))) == 2
