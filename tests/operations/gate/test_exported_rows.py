"""An export that went wrong beside the served version is rejected where it should be sought; the same one is not."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.faults.exports import coarse_index, half_index, no_new_items, off_by_one, other_items, other_scale
from benchmarks.signals.defects import rewrite
from ensemble.profile.make import write_profile
from operations.gate.candidate import Candidate, open_candidate
from operations.gate.exported_rows import compare_exports, exported_rows
from operations.gate.gate import look
from operations.gate.rows import Row
from operations.gate.served import ServedVersion, open_served
from operations.gate.side_by_side import FAMILIES
from operations.replay.versions import find_given
from runtime.encoders import OOV
from runtime.ids import NO_ITEM
from runtime.spec import CHAIN_FILE
from workflows.core.artefacts import read_manifest, write_manifest
from workflows.core.errors import ConfigError

pytestmark = pytest.mark.slow

CHAIN = "fused/cascade/1/chain"
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def sides(world) -> tuple[Candidate, ServedVersion]:
    """An export beside the version that was published of it."""
    candidate = open_candidate(world.first[0])
    return candidate, open_served(world.root / "published", candidate)


def rows(sides: tuple[Candidate, ServedVersion], folder: Path, change: Change, *expected: str) -> list[Row]:
    """Of a candidate whose chain is changed in one thing and exported so, with a profile of its own."""
    candidate, served = sides
    shutil.copytree(candidate.run.folder("repo"), folder)
    change(folder / CHAIN)
    write_profile(candidate.run, folder / CHAIN)
    write_manifest(folder, read_manifest(folder))
    changed = dataclasses.replace(candidate, version=find_given(folder / "fused", "fused", "", None))
    return list(exported_rows(compare_exports(changed, served), "show", expected))


def broken(found: list[Row]) -> list[str]:
    return [row.name.partition(": ")[0] for row in found if row.met is False]


def lost_history(chain: Path) -> None:
    rewrite(chain / "state/history.npy", lambda history: np.full_like(history, NO_ITEM))


def other_spelling(chain: Path) -> None:
    rewrite(chain / "users/age_group.npy", lambda codes: np.full_like(codes, OOV))


def lost_stock(chain: Path) -> None:
    rewrite(chain / "eligible.npy", lambda bits: np.where(np.arange(len(bits)) % 2, bits, 0).astype(bits.dtype))


def unfiltered(chain: Path) -> None:
    path = chain / CHAIN_FILE
    path.write_text(path.read_text().replace('"filter_seen": true', '"filter_seen": false'))


def same(chain: Path) -> None:
    pass


def test_the_same_files_differ_in_nothing(sides: tuple[Candidate, ServedVersion], tmp_path: Path) -> None:
    found = rows(sides, tmp_path / "repo", same)
    assert len(found) > 15 and {row.family for row in found} == set(FAMILIES)
    assert broken(found) == []
    # So few events are known before the test split that those since change most slates.
    assert {row.name.partition(":")[0] for row in found if row.value} <= {"reported", "index"}


@pytest.mark.parametrize(
    ("change", "family", "name"),
    [
        (lost_history, "features", "feature:history_length"),
        (other_spelling, "features", "feature:age_group"),
        (half_index, "predictions", "vectors"),
        (coarse_index, "predictions", "vectors"),
        (other_items, "predictions", "vectors"),
        (off_by_one, "predictions", "vectors"),
        (lost_stock, "exposure", "eligible:items"),
        (no_new_items, "exposure", "eligible:items without an event"),
        (unfiltered, "exposure", "seen"),
    ],
)
def test_a_wrong_export_is_rejected_where_it_is_to_be_sought(
    sides: tuple[Candidate, ServedVersion], tmp_path: Path, change: Change, family: str, name: str
) -> None:
    found = rows(sides, tmp_path / "repo", change)
    assert name in broken(found)
    first = next(row for row in found if row.met is False)
    assert (first.family, first.command) == (family, f"show {family}")


def test_what_only_differs_is_held_and_says_how_to_let_it_pass(
    sides: tuple[Candidate, ServedVersion], tmp_path: Path
) -> None:
    found = rows(sides, tmp_path / "repo", other_scale)
    (scores,) = (row for row in found if row.name.startswith("scores: "))
    assert broken(found) == [] and scores.met is None
    assert scores.missing == "more than retrainings differ by; where it is meant, name 'scores' in gate.expected"


def test_what_is_meant_is_named_and_passes(sides: tuple[Candidate, ServedVersion], tmp_path: Path) -> None:
    assert broken(rows(sides, tmp_path / "repo", unfiltered, "seen")) == []


def test_both_are_shown_side_by_side(sides: tuple[Candidate, ServedVersion]) -> None:
    candidate, served = sides
    shown = look(candidate.run, served.repository, "features")
    assert any("feature:age_group" in line for line in shown) and any(line.endswith("candidate") for line in shown)
    with pytest.raises(ConfigError, match="--show nothing: the families are requests, features"):
        look(candidate.run, served.repository, "nothing")
