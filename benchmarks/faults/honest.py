"""Honest retrainings: runs of the same product, compared as an export that went wrong is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ensemble.profile.make import newest_event
from operations.gate.candidate import open_candidate
from operations.gate.exported import plan_folder
from operations.gate.exported_rows import compare_exports, exported_rows
from operations.gate.rows import Row
from operations.gate.served import ServedVersion
from operations.replay.versions import find_given
from runtime.spec import ChainSpec
from workflows.core import console
from workflows.core.artefacts import read_manifest
from workflows.core.run import Run

__all__ = ["Retrained", "retrainings"]

DAY_NS = 86_400 * 10**9


class Retrained(NamedTuple):
    """A candidate that nothing is wrong with.

    Attributes:
        days: of events that the served version did not know.
        rows: of the candidate's export beside the served version.
    """

    days: float
    rows: list[Row]

    @property
    def nearest(self) -> Row:
        """What comes nearest to the limit from which on it would be held."""
        return max(
            self.rows, key=lambda row: (row.value or 0.0) / row.limit if row.limit else float(row.met is not True)
        )


def retrainings(run: Run, others: Sequence[Run]) -> Iterator[Retrained]:
    """Compare each with the run; of two the one that knows more is the candidate.

    Args:
        run: exported, with a report.
        others: likewise, of the same product.
    """
    for other in others:
        console.say(f"faults: {other.root.name}, an honest retraining")
        candidate, served = (other, run) if newest_event(other) >= newest_event(run) else (run, other)
        version = find_given(served.root, "fused", "", None)
        newest = newest_event(served)
        spec = ChainSpec.load(plan_folder(version))
        manifest = read_manifest(served.require("repo"))
        compared = compare_exports(
            open_candidate(candidate), ServedVersion(version.folder.parents[1], version, manifest, newest, spec)
        )
        rows = list(exported_rows(compared, "", ()))
        yield Retrained((newest_event(candidate) - newest) / DAY_NS, rows)
