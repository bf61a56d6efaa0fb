"""The long load: it ends with nothing lost and nothing missed, and what it would have found is a missed target."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import msgspec
import pytest

from benchmarks.serving.usage import private_bytes
from benchmarks.stream import soak
from ensemble.export.stage import export
from ensemble.stream.replay import replay
from tests.ensemble.synthetic import make_run
from workflows.core.errors import ArtefactError
from workflows.stream.config import StreamConfig


@pytest.mark.triton
@pytest.mark.slow
def test_a_server_under_events_and_requests_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "CAPACITY_S", 1.0)
    monkeypatch.setattr(soak, "SAMPLE_S", 0.2)
    run, config = make_run(tmp_path / "run", num_users=60, num_items=200)
    export(run, msgspec.structs.replace(config, stream=StreamConfig()))
    checked = []
    monkeypatch.setattr(soak, "replay", lambda events, check: checked.append(replay(events, check=check)))
    result = soak.measure_soak(run, 0.1, 0.7)
    found = {target.name: target for target in result.targets}
    assert len(checked) == 1
    for name in ("errors", "clicks that the next slate missed", "events acknowledged and not in the log"):
        assert found[name].value == 0.0 and found[name].met
    load, times, memory, by_process = (table.rows for table in result.figures)
    events_per_s, _, events, slates = load[0][:4]
    # Every sender is at most one batch early, and every slate asked for sends at most one click.
    assert 0 < events <= 6 * events_per_s + soak.SENDERS * soak.BATCH + slates and slates > 0
    assert all(row[1] > 0 for row in times) and [row[0] for row in memory] == [1, 2, 3, 4]
    assert all(row[1] > 10 and row[2] > 10 for row in memory)
    assert [row[0] for row in by_process] == ["cascade", "cascade_events", "supervisor", "tritonserver"]
    assert all(value > 1 for row in by_process for value in row[1:])
    msgspec.json.encode(result)


def test_a_state_that_differs_is_a_missed_target(tmp_path, monkeypatch):
    def differs(events: object, check: bool) -> None:
        raise ArtefactError("the live state is not what the log makes")

    monkeypatch.setattr(soak, "replay", differs)
    assert not soak.equals_its_log(tmp_path)


def test_errors_and_growth_are_missed_targets():
    samples = [sampled(n, {"a": 2**20 * (60 + 2 * n), "b": 2**20 * 40}, 50 + n // 6) for n in range(1, 13)]
    targets = soak.targets_of(Counter({"no answer": 3}), 1, samples, (2, False))
    assert [target.met for target in targets] == [False] * 6
    assert targets[0].value == 3.0 and targets[0].note == "no answer"
    assert targets[4].value == pytest.approx(100 * (122 / 110 - 1))
    still = [sampled(n, {"a": 2**20 * 100}, 50) for n in range(1, 13)]
    assert all(target.met for target in soak.targets_of(Counter(), 0, still, (0, True)))


def test_what_is_mapped_from_a_file_is_no_private_memory(tmp_path):
    code = """
import mmap, os, sys
if sys.argv[2:]:
    kept = b"x" * (48 << 20)
else:
    with open(sys.argv[1], "wb") as file:
        file.write(b"x" * (64 << 20))
    with open(sys.argv[1], "rb") as file:
        kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    sum(kept[::4096])
print("ready", flush=True)
sys.stdin.read()
"""
    script = tmp_path / "models" / "cascade" / "1" / "model.py"
    script.parent.mkdir(parents=True)
    script.write_text(code)
    found = []
    for more in ([], ["heap"]):
        command = [sys.executable, str(script), str(tmp_path / "mapped"), *more]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            found.append(private_bytes(process.pid))
            process.stdin.close()
    assert [list(each) for each in found] == [["cascade"]] * 2
    assert found[0]["cascade"] < 32 << 20 < 48 << 20 < found[1]["cascade"]


def sampled(number, by_process, files):
    return soak.Sample(30.0 * number, by_process, files, 0.5 * number)
