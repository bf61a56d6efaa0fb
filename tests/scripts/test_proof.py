"""docs/REALTIME_PROOF.md names tests that there are, at least one for each case."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| (\S+\.py) \| `(test_\w+)` \|$", re.M)
NUM_CASES = 21


def test_every_case_has_a_test_and_every_named_test_is_there() -> None:
    page = (ROOT / "docs/REALTIME_PROOF.md").read_text()
    rows = ROW.findall(page)
    assert len(rows) == page.count("\n| ") - 1
    assert {int(number) for number, _, _ in rows} == set(range(1, NUM_CASES + 1))
    for _, file, name in rows:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), f"{file} has no {name}"
