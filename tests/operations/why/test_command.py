"""`cascade why` as a user types it: both layouts, a published repository, and everything that can be wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from ensemble.config import ChainConfig, Config, FilterRule
from ensemble.export.stage import export
from ensemble.publish import publish
from scripts.cli import app
from tests.ensemble.synthetic import item_id, make_run, user_id
from workflows.core.run import Run

RULES = [FilterRule(column="price", op="<", value=0.5)]
CHAIN = ChainConfig(num_candidates=20, slate_size=4, max_slate_size=15, rules=RULES, instances=1)
NOBODY = "üser-nobody"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Config]:
    run, config = make_run(tmp_path_factory.mktemp("command") / "run", chain=CHAIN, text_ids=True, num_users=20)
    export(run, config)
    return run, config


def text(made: Any) -> str:
    return made.decode() if isinstance(made, bytes) else str(made)


def ask(*words: object) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["why", *map(str, words)])
    return found.exit_code, found.stdout, found.stderr


def answer(*words: object) -> dict[str, Any]:
    status, out, err = ask(*words, "--json")
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


USER = text(user_id(9, True))


def test_both_layouts_and_the_published_repository_answer_alike(exported: tuple[Run, Config], tmp_path: Path) -> None:
    run, config = exported
    answers = {}
    for layout in ("fused", "ensemble"):
        publish(run, config, tmp_path / layout, layout)
        for number in (3, 40, 41, 42, 43):
            given = (text(item_id(number, True)), "--user-id", USER, "--context", "device=phone", "--context", "hour=7")
            of_run = answer(given[0], run.root / "repo" / layout, *given[1:])
            published = answer(given[0], tmp_path / layout, *given[1:], "--run", run.root)
            assert of_run == published and of_run["layout"] == layout
            answers.setdefault(number, {**of_run, "layout": ""})
            assert {**of_run, "layout": ""} == answers[number]
    assert len({found["outcome"]["lost_at"] for found in answers.values()}) > 1


def test_the_rule_is_named_where_the_run_is_known(exported: tuple[Run, Config], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    run, config = exported
    prices = pq.read_table(run.folder("data") / "items.parquet")["price"].to_pylist()
    item = text(item_id(next(row for row, price in enumerate(prices) if price > 1), True))
    publish(run, config, tmp_path / "published", "fused")
    named = answer(item, run.root, "--user-id", USER)
    assert "not allowed by chain.rules[0] (price < 0.5): its price is" in named["summary"]
    assert any("without the rule chain.rules[0]" in change["words"] for change in named["changes"])
    unnamed = answer(item, tmp_path / "published", "--user-id", USER)
    assert "give --run RUN" in unnamed["summary"] and unnamed["outcome"]["lost_at"] == "eligibility"
    assert [change["words"] for change in unnamed["changes"]] == ["were it allowed by stock and rules"]


def test_a_table_for_people_holds_the_sentence_the_steps_and_what_would_change_it(exported: tuple[Run, Config]) -> None:
    run, _ = exported
    status, out, _ = ask(text(item_id(40, True)), run.root, "--user-id", USER, "--recent-item-id", "no such item")
    assert status == 0
    assert out.startswith(f"item {text(item_id(40, True))} for user {USER}: ")
    assert all(name in out for name in ("catalogue", "eligibility", "towers", "merge", "slate", "what happened"))


def test_of_an_unknown_user_the_answer_says_so(exported: tuple[Run, Config]) -> None:
    run, _ = exported
    found = answer(text(item_id(40, True)), run.root, "--user-id", NOBODY)
    assert found["path"] == "popularity" and found["history"] == []
    assert "not among those that this chain was exported with" in " ".join(found["notes"])


def test_a_blocked_item_is_left_out_as_in_the_server(exported: tuple[Run, Config], tmp_path: Path) -> None:
    run, config = exported
    publish(run, config, tmp_path / "published", "fused")
    plain = answer(text(item_id(40, True)), tmp_path / "published", "--user-id", USER)
    line = {"at": "2026-01-01T00:00:00Z", "item_id": text(item_id(40, True)), "blocked": True, "reason": "recalled"}
    (tmp_path / "published/blocked.ndjson").write_text(json.dumps(line) + "\n")
    found = answer(text(item_id(40, True)), tmp_path / "published", "--user-id", USER)
    assert found["notes"][0].startswith("the item is blocked")
    excluded = next(change for change in found["changes"] if change["kind"] == "exclude")
    assert excluded["outcome"]["place"] == plain["outcome"]["place"]
    assert excluded["outcome"]["lost_at"] == plain["outcome"]["lost_at"]


def test_what_cannot_be_asked_is_one_sentence(exported: tuple[Run, Config], tmp_path: Path) -> None:
    run, _ = exported
    item = text(item_id(40, True))
    plain, _ = make_run(tmp_path / "plain", num_users=10, num_items=40)
    cases = {
        ("no such item", run.root, "--user-id", USER): (2, "the item 'no such item' is unknown"),
        (f" 00{item}", run.root, "--user-id", USER): (2, f"was exported with; is '{item}' meant?"),
        (item, plain.root, "--user-id", "1"): (1, "is a run without an export"),
        (item, tmp_path / "absent", "--user-id", "1"): (1, "is not a folder"),
        (item, run.root, "--user-id", USER, "--context", "color=red"): (1, "no such context column"),
        (item, run.root, "--user-id", USER, "--context", "hour=early"): (1, "must be a 64-bit integer"),
        (item, run.root, "--user-id", USER, "--context", "hour"): (1, "expected name=value"),
        (item, run.root, "--user-id", USER, "--slate-size", 99): (1, "slate_size must be from 1 to 15"),
        (item, run.root, "--user-id", USER, "--events", tmp_path / "absent"): (1, "is no folder"),
        (item, run.root, "--user-id", USER, "--run", plain.root): (1, "repo"),
    }
    for words, (status, sentence) in cases.items():
        found, out, err = ask(*words)
        assert (found, out) == (status, "") and sentence in " ".join(err.split()), (words, err)
        assert err.startswith("error: ") and "Traceback" not in err


def test_an_export_that_was_altered_or_is_of_another_release(exported: tuple[Run, Config], tmp_path: Path) -> None:
    run, config = exported
    item = text(item_id(40, True))
    publish(run, config, tmp_path / "published", "fused")
    version = tmp_path / "published/cascade/1"
    scores = version / "chain/popular_scores.npy"
    kept = scores.read_bytes()
    scores.write_bytes(kept[:-1])
    status, _, err = ask(item, tmp_path / "published", "--user-id", USER)
    assert status == 1 and "popular_scores.npy" in err
    scores.write_bytes(kept)
    assert answer(item, tmp_path / "published", "--user-id", USER)["notes"] == []
    code = version / "lib/runtime/seen.py"
    code.write_text(code.read_text() + "# of an earlier release\n")
    _sign(version)
    assert "another release" in answer(item, tmp_path / "published", "--user-id", USER)["notes"][0]
    record = json.loads((version / "chain/chain.json").read_text())
    (version / "chain/chain.json").write_text(json.dumps({**record, "format_version": 99}))
    _sign(version)
    status, _, err = ask(item, tmp_path / "published", "--user-id", USER)
    assert status == 1 and "cannot be opened by this release" in " ".join(err.split())


def test_the_items_of_another_time_do_not_name_a_rule(exported: tuple[Run, Config], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from tests.ensemble.synthetic import sign_again

    run, _ = exported
    shutil.copytree(run.root, tmp_path / "run")
    items = tmp_path / "run/data/items.parquet"
    table = pq.read_table(items)
    pq.write_table(table.slice(0, len(table)), items, compression="gzip")
    repo = (tmp_path / "run/repo/manifest.json").read_bytes()
    sign_again(Run(tmp_path / "run"))
    (tmp_path / "run/repo/manifest.json").write_bytes(repo)
    prices = table["price"].to_pylist()
    item = text(item_id(next(row for row, price in enumerate(prices) if price > 1), True))
    assert (
        "is not the table that this was exported from" in answer(item, tmp_path / "run", "--user-id", USER)["summary"]
    )


def _sign(folder: Path) -> None:
    from workflows.core.artefacts import read_manifest, write_manifest

    write_manifest(folder, msgspec.structs.replace(read_manifest(folder), files=[]))
