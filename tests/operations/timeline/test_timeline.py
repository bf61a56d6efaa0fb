"""What happened when: every kind of entry from the file that says it, in order, and what cannot be read is said."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ensemble.export.stage import export
from ensemble.history import HISTORY, Happening, history_of, note, withdrawn_before
from ensemble.kept_versions import claim
from ensemble.publish import publish, rollback
from operations.blocks import change_blocks
from operations.log.collect import collect
from operations.signals.accepted import ACCEPTED
from operations.signals.kinds import Measured
from operations.signals.monitor import monitor_once
from operations.signals.table import Row, save
from operations.timeline.entries import timeline
from scripts.cli import app
from tests.ensemble.synthetic import make_run
from tests.operations.repository import answer_some, publish_golden
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

DAY = 20_000


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run, config = make_run(tmp_path_factory.mktemp("timeline") / "run", num_users=20, num_items=60)
    export(run, config)
    publish(run, config, run.root / "first", "fused")
    return run


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Path]:
    """A repository with two versions, the folder of its log, and an operator's night."""
    target, log, mon = tmp_path / "published", tmp_path / "LOG", tmp_path / "MON"
    for version in (1, 2):
        folder = publish_golden(target, version)
    answer_some(log, folder, 3)
    claim(target, log, ())
    collect(log, mon)
    note(target, Happening("2026-01-01T01:00:00+00:00", "gate", 1, run="runs/a", verdict="HOLD", why="nothing to gain"))
    change_blocks(target, ["105"], block=True, reason="recalled")
    change_blocks(target, ["105"], block=False, reason="a mistake")
    rollback(target, "slates of one item")
    found = [row(DAY, "ok"), row(DAY + 1, "high", DAY + 1), row(DAY + 2, "high", DAY + 1), row(DAY + 3, "ok")]
    save(mon, found)
    (mon / ACCEPTED).parent.mkdir(exist_ok=True)
    record = {"name": "empty", "from": DAY + 1, "accepted_at": "2026-02-01T00:00:00+00:00", "value": 0.5, "reason": "x"}
    (mon / ACCEPTED).write_text(json.dumps([record]))
    return target, mon


def row(day: int, state: str, since: int = -1) -> Row:
    measured = Measured(signal="empty", slice="", value=0.5, noise=0.0, spread=0.1, num=9, effective=9, is_enough=True)
    return Row(day, "", 2, measured, 9, limit_high=0.25, state=state, since=since)  # type: ignore[arg-type]


def test_every_kind_of_entry_is_there_in_order_from_either_side(world: tuple[Path, Path]) -> None:
    target, mon = world
    found = timeline(target)
    assert found.notes == [] and found == timeline(mon)
    # Two golden versions were published without a line, as by an earlier release: they have their files' time.
    assert [(e.what, e.of) for e in found.entries if e.what == "published"] == [
        ("published", "version 1"),
        ("published", "version 2"),
    ]
    said = {(entry.at[:10], entry.what, entry.of, entry.why) for entry in found.entries}
    assert {
        ("2024-10-05", "alarm", "empty", "0.5, above 0.25"),
        ("2024-10-07", "alarm over", "empty", "0.5"),
        ("2026-01-01", "gate", "version 1", "HOLD: nothing to gain (runs/a)"),
        ("2026-02-01", "accepted", "empty", "0.5: x"),
    } <= said
    assert {(what, of, why) for _, what, of, why in said} >= {
        ("blocked", "item 105", "recalled"),
        ("unblocked", "item 105", "a mistake"),
        ("withdrawn", "version 2", "version 1 is served again: slates of one item"),
    }
    assert [entry.at for entry in found.entries] == sorted(entry.at for entry in found.entries)


def test_a_publication_says_data_code_and_the_run(exported: Run) -> None:
    (line,) = history_of(exported.root / "first")
    manifest = read_manifest(exported.folder("repo"))
    assert (line.what, line.version, line.served, line.run) == ("published", 1, 1, str(exported.root))
    assert (line.export, line.cascade) == (manifest.content, manifest.versions["cascade"])


def test_a_withdrawn_export_is_known_until_it_is_published_again(exported: Run, tmp_path: Path) -> None:
    target = tmp_path / "published"
    shutil.copytree(exported.root / "first", target)
    content = read_manifest(exported.folder("repo")).content
    publish_golden(target, 2)
    lines = [("published", 3, content), ("withdrawn", 3, ""), ("published", 4, "another")]
    for what, version, export_ in lines:
        note(target, Happening("2026-01-01T00:00:00+00:00", what, version, export=export_, why="bad"))
    found = withdrawn_before(target, content)
    assert found is not None and (found.version, found.why) == (3, "bad")
    assert withdrawn_before(target, "another") is None and withdrawn_before(target, "never") is None
    note(target, Happening("2026-01-01T00:00:00+00:00", "published", 5, export=content))
    assert withdrawn_before(target, content) is None


def test_where_a_line_cannot_be_written_the_command_says_so_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "published"
    publish_golden(target, 1)
    publish_golden(target, 2)
    (target / HISTORY).mkdir()
    assert rollback(target) == 1
    assert ".history.ndjson cannot be written (Is a directory)" in capsys.readouterr().err
    note(tmp_path / "nowhere", Happening("2026-01-01T00:00:00+00:00", "gate"))
    assert not (tmp_path / "nowhere").exists()


def test_the_page_of_operations_shows_it(world: tuple[Path, Path]) -> None:
    target, mon = world
    note(target, Happening("2026-01-02T00:00:00+00:00", "retrained", verdict="FAILED", why="<b>full</b>", run="runs/b"))
    monitor_once(mon)
    page = (mon / "ops/index.html").read_text()
    assert "What happened" in page and "slates of one item" in page and "nothing to gain" in page
    assert f"<code>cascade rollback {target} --reason" in page
    assert "&lt;b&gt;full&lt;/b&gt;" in page


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(world: tuple[Path, Path]) -> None:
    target, mon = world
    (mon / "signals.parquet").write_bytes(b"PAR1 not")
    with (target / "blocked.ndjson").open("a") as file:
        file.write("nonsense\n")
    with (target / HISTORY).open("a") as file:
        file.write('{"at": "2026-')  # torn by a kill
    found = timeline(target)
    assert len(found.notes) == 2 and {"withdrawn", "gate", "accepted"} <= {entry.what for entry in found.entries}


def test_the_command(world: tuple[Path, Path], tmp_path: Path) -> None:
    target, mon = world
    shown = CliRunner().invoke(app, ["timeline", str(target), "--last", "2"])
    assert shown.exit_code == 0 and len(shown.stdout.splitlines()) == 2 and "the latest 2 of" in shown.stderr
    lines = CliRunner().invoke(app, ["timeline", str(mon), "--json"]).stdout.splitlines()
    assert [json.loads(line) for line in lines] == [asdict(entry) for entry in timeline(target).entries]
    wrong = CliRunner().invoke(app, ["timeline", str(tmp_path / "nothing")])
    assert wrong.exit_code == 1 and "is not a folder" in wrong.stderr
    with pytest.raises(ArtefactError, match="neither a run directory nor a model repository"):
        timeline(tmp_path)
