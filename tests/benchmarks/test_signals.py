"""The simulated months: days are drawn as they say, and a shift has the size that it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.signals.cost import measure_large_day
from benchmarks.signals.defects import DEFECTS, Outcome
from benchmarks.signals.month import PSI, Served, shifts
from benchmarks.signals.traffic import NUM_GROUPS, Pool, days_of, make_pool
from ensemble.profile.ask import Answers, open_chain
from operations.signals.distance import population_stability
from operations.signals.kinds import FAMILIES
from operations.signals.slates import Sample
from tests.benchmarks.made_shop import exported_shop

NUM = 6_000
SHARES = [0.5, 0.3, 0.2]


@pytest.fixture(scope="module")
def pool() -> Pool:
    random = np.random.default_rng(0)
    scores = pa.ListArray.from_arrays(
        pa.array(np.arange(0, 2 * NUM + 1, 2, dtype=np.int32)), pa.array([0.5, 0.25] * NUM)
    )
    columns: dict[str, Any] = {
        "context_device": random.choice(["phone", "desktop", "tablet"], NUM, p=SHARES).tolist(),
        "scores": scores.cast(pa.list_(pa.float32())),
        "weight": np.ones(NUM, np.float32),
        "user_key": [at.to_bytes(16, "big") for at in range(NUM)],
    }
    nothing = np.empty((NUM, 0))
    answers = Answers({}, nothing.astype(np.int32), nothing.astype(np.float32), np.empty(NUM, object))
    return Pool(pa.table(columns), answers, np.arange(NUM) % NUM_GROUPS)


def served(pool: Pool) -> Served:
    return Served(None, None, pool, NUM)  # type: ignore[arg-type]


def test_a_shift_has_its_psi(pool: Pool) -> None:
    tilt, _ = shifts(served(pool), "device")[f"PSI {PSI} in device"]
    assert tilt is not None
    devices = pool.table["context_device"].to_pylist()
    before = Counter(devices)
    after: Counter[str] = Counter()
    for device, weight in zip(devices, tilt.tolist(), strict=True):
        after[device] += weight
    p, q = (np.array([side[name] for name in sorted(before)], float) for side in (before, after))
    assert population_stability(p / p.sum(), q / q.sum()) == pytest.approx(PSI, rel=0.02)


def test_a_category_is_gone_and_scores_are_smaller(pool: Pool) -> None:
    changes = shifts(served(pool), "device")
    gone, _ = changes["no request of device desktop"]
    at = days_of(pool, 4, NUM, np.random.default_rng(0), gone)
    assert "desktop" not in pool.table["context_device"].take(pa.array(at)).to_pylist()
    _, scaled = changes["scores x 0.8"]
    assert scaled is not None
    assert scaled(Sample(pool.table.slice(5, 2))).table["scores"].to_pylist() == [pytest.approx([0.4, 0.2])] * 2


def test_half_of_the_users_come_more_often_at_weekends(pool: Pool) -> None:
    random = np.random.default_rng(0)
    shares = [np.mean(pool.group[days_of(pool, day, 20_000, random)] < NUM_GROUPS // 2) for day in (2, 3, 4, 5)]
    assert min(shares[:2]) > 0.56 and max(shares[2:]) < 0.54


def test_there_are_twelve_defects_and_the_first_signal_names_the_family() -> None:
    assert len(DEFECTS) == len({defect.name for defect in DEFECTS}) == 12
    # What users do says nothing before their labels come, and nothing here takes its time.
    assert {defect.family for defect in DEFECTS} == set(FAMILIES) - {"feedback", "service"}
    assert Outcome(DEFECTS[0], ["null_share:device", "coverage"]).family == "requests"
    assert Outcome(DEFECTS[0], []).family == ""


def test_a_large_day_is_measured_by_a_process_of_its_own(tmp_path: Path) -> None:
    run, _ = exported_shop(tmp_path / "run")
    repository = run.require("repo") / "fused"
    pool = make_pool(run, open_chain(repository / "cascade/1/chain"), 300)
    found = measure_large_day(repository, pool, 5_000, tmp_path / "scratch")
    # Signals of the rows, of the features of some of them, and the ages of the version.
    assert found.num_rows == found.num_measured == 5_000 and found.num_signals > 40
    assert found.cpu_s > 0 and found.peak_bytes >= found.before_bytes > 2**20
    assert not (tmp_path / "scratch").exists()
