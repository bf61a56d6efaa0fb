"""Operations for a long time: what grows, is lost or fails is a missed target."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.operating import chores, soak
from benchmarks.operating.chores import Chores
from benchmarks.operating.clients import Clients
from benchmarks.operating.result import Found, result_of
from benchmarks.operating.samples import Sample
from tests.benchmarks.made_shop import exported_shop

CONFIG = Path(__file__).parents[2] / "configs/shop.toml"


def sample(number: int, grown: float = 0.0, series: int = 200) -> Sample:
    files, threads = {"serve": 100 + int(grown)}, {"serve": 50 + int(grown)}
    memory = {"serve: cascade": int(2**20 * (100 + grown)), **({"serve: reload": 2**20} if number == 5 else {})}
    return Sample(15.0 * number, memory, files, threads, 0.3 * number, 10, 5 + int(grown), 10, 5, series, 20.0)


def found(samples: list[Sample], **changed: object) -> Found:
    clients = Clients(["localhost:1"], [], [], [], [], 20.0)
    clients.answered, clients.latencies_ms = ["soak-0", "soak-1"], [3.0, 5.0]
    did = Chores(None, clients, 60.0)
    did.took_s["block"].append(1.5)
    whole = Found((60.0, 20.0), clients, did, samples, 0, 0, {"rows": 2}, [], "")
    return whole._replace(**changed)


def test_a_quiet_hour_meets_every_target() -> None:
    result = result_of(found([sample(number) for number in range(1, 13)]))
    assert all(target.met for target in result.targets)
    load, held, memory, commands = (table.rows for table in result.figures)
    assert load[0][:3] == [2, 4.0, pytest.approx(4.98)] and load[0][-1] == pytest.approx(0.02)
    assert ["open files", 100.0, 100.0, 100.0, 100.0] in held
    # What is there for a short time alone is part of a reload.
    assert memory == [["serve: cascade", 100.0, 100.0, 100.0, 100.0]]
    assert commands == [["block", 1, 1.5, 1.5]]
    msgspec.json.encode(result)


def test_growth_errors_and_losses_miss_their_targets() -> None:
    growing = found(
        [sample(number, grown=number, series=1000 * number) for number in range(12)],
        num_lost=1, num_unjoined=2, counts={"dropped_disk": 3, "damaged": 1}, ended=["monitor (1)"], verified="damaged",
    )  # fmt: skip
    growing.clients.errors["no answer"] = 4
    growing.clients.wrong.append("soak-7 (blocked: True)")
    growing.chores.failed.append("cascade reload: no")
    result = result_of(growing)
    assert not any(target.met for target in result.targets)
    by_name = {target.name: target for target in result.targets}
    assert by_name["errors"].note == "no answer"
    assert by_name["records that were dropped or damaged"].value == 4
    assert by_name["open files, growth from the second to the last quarter"].value == 6


def test_turns_of_an_hour_and_of_less() -> None:
    hour = list(chores._turns(3600.0))
    assert [at for at, _ in hour] == sorted(at for at, _ in hour)
    assert max(at for at, name in hour if name in ("reload", "publish")) < 1800 < max(at for at, _ in hour)
    assert sum(name == "block" for _, name in hour) == 29
    assert [name for _, name in chores._turns(36.0)] == [name for _, name in hour]


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.long
def test_a_short_time_with_all_programs_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "SAMPLE_S", 2.0)
    monkeypatch.setattr(chores, "BLOCKED_S", 2.0)
    run, config = exported_shop(tmp_path / "run", takes_events=True)
    result = soak.measure_operations(run, config, CONFIG, 0.7, 10.0)
    # In so short a time everything grows.
    missed = {target.name for target in result.targets if not target.met}
    assert all("growth" in name for name in missed), missed
    ran = {str(row[0]) for row in result.figures[3].rows}
    # The turns of others may not come before the end, where the machine is slow.
    assert {"block", "unblock", "feedback"} <= ran
    assert int(str(result.figures[0].rows[0][0])) > 100
