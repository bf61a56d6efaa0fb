"""The rule: from evidence and limits to RELEASE, HOLD or REJECT. Nothing is read here; equal evidence decides alike.

RELEASE  every row holds, and there is a reason: it is better beyond chance, or the served version is old or in alarm
HOLD     nothing is shown to be worse, and there is no reason, or something that must hold cannot be told
REJECT   something is shown to be worse than its limit
"""

from __future__ import annotations

from collections.abc import Iterator

from ensemble.evaluation.gate_config import GateConfig
from models.metrics.bootstrap import Estimate
from operations.gate.compare import calibration_change, logloss_change, ndcg_change, slice_changes
from operations.gate.rows import Decision, Evidence, Quality, Row, Scores

__all__ = ["decide"]


def decide(evidence: Evidence, limits: GateConfig) -> Decision:
    """Apply the rule."""
    change = None if isinstance(evidence.quality, str) else ndcg_change(evidence.quality, limits)
    rows = [
        _newest(*evidence.newest),
        *_targets(evidence),
        _quality(evidence.quality, change, limits),
        *_probabilities(evidence.scores, limits),
        *_slices(evidence.quality, limits),
        *_same(evidence),
        *evidence.exported,
        *evidence.further,
    ]
    broken = [row for row in rows if row.met is False]
    if broken:
        return Decision("REJECT", f"worse than it may be: {_names(broken)}{_where(broken)}", rows)
    unknown = [row for row in rows if row.met is None]
    if unknown:
        return Decision(
            "HOLD", f"nothing is shown to be worse, and this cannot be told: {_names(unknown)}{_where(unknown)}", rows
        )
    reasons = [*_reasons(evidence, change, limits)]
    if reasons:
        return Decision("RELEASE", f"everything holds, and {' and '.join(reasons)}", rows)
    return Decision("HOLD", "everything holds, and nothing would be gained", rows)


def _newest(candidate: int, served: int) -> Row:
    name = "newest event, seconds after the served version's"
    if not candidate or not served:
        which = "the candidate" if not candidate else "the served version"
        return Row(name, None, 0.0, None, f"{which} does not say which event is its newest")
    later = (candidate - served) / 1e9
    return Row(name, later, 0.0, later >= 0, family="" if later >= 0 else "requests")


def _targets(evidence: Evidence) -> Iterator[Row]:
    if evidence.targets is None:
        why = "metrics.json is of a release that checked none; run cascade evaluate --force"
        yield Row("evaluate.targets", None, None, None, why)
    for target in evidence.targets or ():
        missing = target["missing"] and f"{target['missing']} was not measured"
        yield Row(f"target: {target['name']}", target["value"], target["target"], target["met"], missing)


def _quality(quality: Quality | str, change: Estimate | None, limits: GateConfig) -> Row:
    name = f"NDCG@{limits.cutoff}, relative change"
    if change is None:
        return Row(name, None, -limits.max_loss, None, str(quality))
    assert not isinstance(quality, str) and change.low is not None and change.high is not None
    met: bool | None = change.low > -limits.max_loss
    missing = None
    if not met and not (change.high < 0 and change.value < -limits.max_loss):
        met, missing = None, f"{len(quality.served):,} users are too few to tell a loss of that size from chance"
    return Row(name, change.value, -limits.max_loss, met, missing, change.low, change.high)


def _probabilities(scores: Scores | str | None, limits: GateConfig) -> Iterator[Row]:
    """Not larger than the limit, or not beyond chance."""
    if scores is None:
        return
    changes = (
        ("log loss, relative change", logloss_change, limits.max_logloss),
        ("calibration error, change as a share of the positives'", calibration_change, limits.max_calibration),
    )
    for name, of, limit in changes:
        if isinstance(scores, str):
            yield Row(name, None, limit, None, scores)
            continue
        change = of(scores, limits)
        assert change.low is not None
        met = True if change.value <= limit else False if change.low > limit else None
        missing = None if met is not None else f"{len(scores.labels):,} rows are too few to tell it from chance"
        yield Row(name, change.value, limit, met, missing, change.low, change.high)


def _slices(quality: Quality | str, limits: GateConfig) -> Iterator[Row]:
    if isinstance(quality, str):
        return
    for change in slice_changes(quality, limits):
        name = f"NDCG@{limits.cutoff} of {change.name}, relative change"
        yield Row(name, change.value, -limits.max_slice_loss, not change.is_worse)


def _same(evidence: Evidence) -> Iterator[Row]:
    compared, differing = float(evidence.num_compared), evidence.num_differing
    yield Row("users whose slates the export compared", compared, 1.0, compared >= 1)
    name = "own answers that differ a second time"
    if differing is None:
        yield Row(name, None, 0.0, None, "the candidate was not asked")
    else:
        yield Row(name, float(differing), 0.0, differing == 0)


def _reasons(evidence: Evidence, change: Estimate | None, limits: GateConfig) -> Iterator[str]:
    if change is not None and change.low is not None and change.low > 0:
        yield f"NDCG@{limits.cutoff} is better beyond chance ({change.value:+.1%})"
    age = evidence.served_age_days
    if limits.max_age_days and age is not None and age > limits.max_age_days:
        yield f"the served version is {age:.0f} days old"
    if evidence.alarms:
        yield f"the served version is in alarm ({', '.join(evidence.alarms[:3])})"


def _where(rows: list[Row]) -> str:
    """The family that comes first, and what shows more of it."""
    first = next((row for row in rows if row.command), None)
    return f"; the export differs in its {first.family} first, which `{first.command}` shows" if first else ""


def _names(rows: list[Row]) -> str:
    """Those that miss the same are named together."""
    together: dict[str | None, list[str]] = {}
    for row in rows:
        together.setdefault(row.missing, []).append(row.name)
    return "; ".join("; ".join(names) + (f" ({missing})" if missing else "") for missing, names in together.items())
