"""Planted faults: what is asked is what a sender says, a process that logs is the chain, and the targets count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.faults.honest import Retrained
from benchmarks.faults.kinds import ALTERED, FAULTS, RELEASED, Fault
from benchmarks.faults.measure import TWIN, Outcome, Settings, outcomes
from benchmarks.faults.result import measure_faults, result_of
from benchmarks.faults.serving import asked_of, rows_of
from ensemble.evaluation.stage import evaluate
from ensemble.export.stage import export
from operations.gate.rows import Row
from operations.signals.kinds import FAMILIES
from runtime.ids import NO_ITEM, UNKNOWN
from runtime.request import Parsed
from runtime.spec import ChainSpec
from tests.ensemble.test_evaluation import make_evaluated_run
from tests.operations.made_runs import ranker_scores
from tests.operations.repository import publish_golden
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

NUM = 40


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faults")
    publish_golden(root / "published", 1, "fused", "gathered")
    return root / "published"


@pytest.fixture(scope="module")
def requests(repository: Path) -> Parsed:
    random = np.random.default_rng(0)
    context = {name: np.full(NUM, None, object) for name in ("device", "hour")}
    context["device"][::2] = b"phone"
    context["hour"][::3] = 7
    recent = np.full((NUM, 2), NO_ITEM, np.int32)
    recent[::4] = [3, UNKNOWN]
    users = np.where(np.arange(NUM) % 5 == 0, UNKNOWN, random.integers(0, 12, NUM)).astype(np.int32)
    temperature = np.where(np.arange(NUM) % 2, np.nan, 12.5)
    nothing, size = np.empty((NUM, 0), np.int32), np.full(NUM, 5, np.int32)
    return Parsed(users, recent, nothing, size, {**context, "temperature": temperature})


def rows(repository: Path, requests: Parsed, scratch: Path, fault: Fault = TWIN) -> list[dict]:
    chain = repository / "cascade/1/chain"
    asked = asked_of(requests, np.arange(NUM), chain, ChainSpec.load(chain))
    memory = list if fault.memory is None else fault.memory(chain)
    served = ("0" * 64, repository)
    table = rows_of(asked, repository, served, scratch, answer=memory, slow=fault.slow, num_times=fault.num_times)
    found: list[dict] = sorted(
        table.to_pylist(), key=lambda row: (int(row["request_id"].split("-")[1]), row["attempt"])
    )
    return found


def test_the_log_holds_what_was_meant_to_be_asked(repository: Path, requests: Parsed, tmp_path: Path) -> None:
    found = rows(repository, requests, tmp_path / "served")
    assert [row["user_row"] for row in found] == np.maximum(requests.user_row, -1).tolist()
    assert [row["recent"] for row in found] == [[3, UNKNOWN] if n % 4 == 0 else [] for n in range(NUM)]
    assert [row["context_device"] for row in found] == ["phone" if n % 2 == 0 else None for n in range(NUM)]
    assert [row["context_hour"] for row in found] == [7 if n % 3 == 0 else None for n in range(NUM)]
    assert [row["context_temperature"] == 12.5 for row in found] == [n % 2 == 0 for n in range(NUM)]
    assert {row["error"] for row in found} == {None}
    # A user whom the chain does not know is somebody all the same.
    assert len({row["user_key"] for row in found if row["user_row"] < 0}) == NUM // 5


def of(name: str) -> Fault:
    (fault,) = [fault for fault in FAULTS if name in fault.name]
    return fault


def test_a_fault_of_the_process_is_in_its_log(repository: Path, requests: Parsed, tmp_path: Path) -> None:
    whole = rows(repository, requests, tmp_path / "whole")
    swapped = rows(repository, requests, tmp_path / "swapped", of("swaps the ids"))
    assert [len(row["item_rows"]) for row in swapped] == [len(row["item_rows"]) for row in whole]
    assert all(a["item_rows"] != b["item_rows"] for a, b in zip(whole, swapped, strict=True))
    wrong = rows(repository, requests, tmp_path / "wrong", of("to the wrong request"))
    assert [row["item_rows"] for row in wrong[1:16]] == [row["item_rows"] for row in whole[:15]]
    popular = rows(repository, requests, tmp_path / "popular", of("what is popular"))
    assert {tuple(row["item_rows"]) for row in popular} == {tuple(popular[0]["item_rows"])}
    assert {row["path"] for row in popular} == {"popularity"}
    doubled = rows(repository, requests, tmp_path / "doubled", of("doubles the scores"))
    assert [row["scores"] for row in doubled] == [[min(2 * s, 1.0) for s in row["scores"]] for row in whole]
    twice = rows(repository, requests, tmp_path / "twice", of("each request twice"))
    assert [row["attempt"] for row in twice] == [1, 2] * NUM
    slow = rows(repository, requests, tmp_path / "slow", of("ten times as slow"))
    assert sum(row["service_us"] > 20_000 for row in slow) == NUM // 4


def test_every_kind_of_place_has_faults_and_its_family() -> None:
    faults = (*FAULTS, *RELEASED)
    assert len(faults) == len({fault.name for fault in faults}) >= 12
    assert {fault.family for fault in faults} == set(FAMILIES) - {"feedback"}
    assert all(fault.why for fault in faults)
    for place in ("requests", "copy", "memory"):
        assert any(getattr(fault, place) is not None for fault in FAULTS)
    for fault in faults:
        assert (fault.family == "operation") == (fault.copy is not None or fault.memory is not None) == fault.pages
        is_export = fault.version is not None or fault.run is not None
        assert is_export == fault.is_released
        if not is_export:
            assert (fault.family == "requests") == (fault.requests is not None or fault.num_times > 1)
            assert fault.family not in ("features", "predictions", "exposure")
    assert [fault.name for fault in ALTERED] == [fault.name for fault in RELEASED[: len(ALTERED)]]
    assert all(fault.is_released for fault in RELEASED) and not any(fault.is_released for fault in (*FAULTS, *ALTERED))


def test_targets_count_what_was_found_and_what_was_right() -> None:
    right = Outcome(FAULTS[0], ["null_share:device", "coverage"], 2, False, "0 of 9 differ", None)
    wrong, missed = right._replace(names=["coverage"], days=3), right._replace(names=[], days=0)
    paged = Outcome(of("doubles the scores"), [], 1, True, "9 of 9 differ", None)
    late = paged._replace(days=2)
    bad = Outcome(RELEASED[0], [], 0, False, "0 of 9 differ", ["feature:history_length", "distinct"], "features")
    worse, altered = bad._replace(gate=[]), bad._replace(fault=ALTERED[0], names=["feature_psi:age"], days=2, gate=None)
    twin = Outcome(TWIN, [], 0, False, "0 of 9 differ", [])
    twins = [twin, twin._replace(names=["gini"], days=4, gate=["distinct items shown"])]
    alike, near = Row("seen", 0.0, 0.0, True, family="exposure"), Row("answers", 0.2, 0.8, True, family="exposure")
    honest = [Retrained(1.0, [alike, near]), Retrained(0.0, [msgspec.structs.replace(near, value=0.9, met=None)])]
    found = [right, wrong, missed, paged, late, bad, worse, altered]
    result = result_of(twins, found, replace(Settings(), twins=2), honest)
    values = [target.value for target in result.targets]
    assert values == pytest.approx([5 / 7, 4 / 5, 4 / 7, 4 / 7, 1 / 2, 1 / 2, 0, 1, 1, 1 / 2, 1, 1])
    assert [row[1:] for row in result.figures[0].rows] == [
        *([5, 4, 3, 3, 2, "not asked"], [2, 1, 1, 1, 0, "1 of 2"], [7, 5, 4, 4, 2, "1 of 2"]),
        *([1, 1, 1, 1, 0, "not asked"], [6, 5, 4, 4, 2, "not asked"]),
    ]
    assert [row[1:] for row in result.figures[-1].rows] == [
        [2, "nothing", "nothing", "answers", 0.25],
        [1, "nothing", "answers", "answers", 1.125],
    ]
    assert bad.command == "cascade gate RUN --against REPOSITORY --show features"
    assert right.command == "cascade monitor MON show null_share:device"
    assert paged.command == "cascade replay MON --last 200" and missed.command == ""
    msgspec.json.encode(result)


@pytest.mark.long
def test_what_a_release_breaks_is_told_from_what_a_server_does(tmp_path: Path) -> None:
    run, config = make_evaluated_run(tmp_path / "run")
    with ranker_scores():
        evaluate(run, config)
    export(run, config)
    (few,) = [fault for fault in RELEASED if "ten items" in fault.name]
    faults = (of("doubles the scores"), few, replace(few, is_released=False))
    settings = Settings(pool=800, each=400, day=400, twins=1, replays=40)
    twin, healthy, doubled, released, altered = outcomes(run, settings, faults)
    assert (twin.replayed, twin.pages, twin.gate) == ("0 of 40 differ", False, [])
    assert (healthy.replayed, healthy.names, healthy.gate) == ("0 of 40 differ", [], [])
    assert (doubled.replayed, doubled.pages, doubled.days, doubled.family) == ("40 of 40 differ", True, 1, "operation")
    # The gate sees what the whole version had answered, and its signals do not.
    assert any(name.startswith("eligible:items") for name in released.gate or [])
    assert released.replayed == "0 of 40 differ" and altered.replayed == "refused: eligible.npy is altered"
    assert altered.names and not altered.pages
    # The profile of a wrong export is as wrong, and levels have no limits yet.
    assert (released.names, released.days) == ([], 0)
    # On so few items the list of what may be shown is the farther off, on the shop the scores of what is.
    assert released.family in ("exposure", "predictions")
    assert altered.gate is None and doubled.gate is None


def test_a_retraining_that_lacks_a_stage_is_refused_before_anything_is_planted(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"unfinished.*cascade evaluate"):
        measure_faults(Run(tmp_path / "run"), Settings(), [Run(tmp_path / "unfinished")])
