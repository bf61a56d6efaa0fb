"""The benchmark of the send gate: seeds are kept, and its targets say what they measure."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.send_gate.measure import measure_send_gate
from benchmarks.send_gate.seeds import GATE, Difference, Found, Setting, measured
from models.send_gate.check import Check
from workflows.core.errors import ArtefactError
from workflows.shop.simulate import LOGGING, OPENS, REFERENCE, SCORE, Line

TINY = Setting(log_users=150, log_days=25, users=60, days=4, min_decisions=100)
GAINS = {GATE: 0.8, LOGGING: 0.5, SCORE: 0.6, OPENS: 0.7, REFERENCE: 0.9}


@pytest.mark.slow
def test_a_seed_is_measured_once(tmp_path):
    steps = []
    first = measured(tmp_path, TINY, 2, lambda: steps.append(1))
    assert len(steps) == 8 and set(GAINS) < set(first.lines)
    worth = {name: first.lines[name].value for name in GAINS}
    for name, over in first.over.items():
        assert over.mean == pytest.approx(worth[GATE] - worth[name], abs=1e-9)
        assert over.low < over.mean < over.high
    assert measured(tmp_path, TINY, 2, lambda: steps.append(1)) == first and len(steps) == 8
    with pytest.raises(ArtefactError, match="was measured with other sizes"):
        measured(tmp_path, msgspec.structs.replace(TINY, days=5), 2, lambda: None)
    (tmp_path / "seed-2.json").write_text("{")
    with pytest.raises(ArtefactError, match="remove it, and it is measured again"):
        measured(tmp_path, TINY, 2, lambda: None)


def test_targets_are_of_the_worst_seed(tmp_path):
    folder = tmp_path / "send_gate"
    folder.mkdir()
    for seed, less in ((1, 0.0), (2, 0.03)):
        lines = {
            name: Line(name, 20 + gain, gain, gain - 0.02, gain + 0.02, 0.4, 0.3, 0.5 + gain / 10, 0.8 + gain / 10)
            for name, gain in {**GAINS, GATE: GAINS[GATE] - less}.items()
        }
        over = {name: Difference(0.3, 0.1 - 4 * less, 0.5) for name in (LOGGING, SCORE, OPENS)}
        found = Found(TINY, seed, lines, over, Check(0.0, 0.02, 0.01, 0.03, 100, 5_000), True, biased_agrees=seed == 2)
        (folder / f"seed-{seed}.json").write_bytes(msgspec.json.encode(found))
    result = measure_send_gate(tmp_path, TINY, 2)
    values = [target.value for target in result.targets]
    assert values == pytest.approx([0.77, -0.02, -0.02, 0.77 / 0.9, 0.577 / 0.55, 0.027, 0.5])
    assert [target.met for target in result.targets] == [False, False, False, False, True, True, False]
    gains, _, _, checks = (figure.rows for figure in result.figures)
    assert gains[1] == [2, 0.77, "0.750 to 0.790", 0.5, 0.6, 0.7, 0.9]
    assert [row[-2:] for row in checks] == [["yes", "refused"], ["yes", "yes"]]
