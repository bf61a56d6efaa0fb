"""An evaluation as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator

from models.metrics.bootstrap import Estimate
from models.ope.diagnostics import Diagnostics
from models.ope.evaluate import CAP
from operations.decisions.evaluate import PolicyEvaluation

__all__ = ["lines"]

SHOWN = 5


def lines(evaluation: PolicyEvaluation) -> Iterator[str]:
    """What was earned, what would have been, and how far the log can be trusted with it."""
    found, told = evaluation.found, evaluation.found.diagnostics
    warm = evaluation.temperature
    at = "" if warm is None else ", without chance" if warm == 0 else f" at temperature {warm:g}"
    yield f"{evaluation.policy}{at}, by {told.num_slates:,} slates of {told.num_users:,} users in {evaluation.log}"
    if evaluation.num_fixed:
        yield f"{evaluation.num_fixed:,} slates were not drawn by chance and are left out"
    for row in evaluation.refused[:SHOWN]:
        yield f"left out: {row.request_id}: {row.why}"
    if len(evaluation.refused) > SHOWN:
        yield f"left out: {len(evaluation.refused) - SHOWN:,} more"
    yield ""
    yield _row("logged", found.logged, "a slate, as it was served")
    for name, got in found.estimates.items():
        yield _row(name, got, _remark(name, evaluation))
    if found.gain is not None:
        share = f"{found.gain.value / found.logged.value:+.1%} of what was logged" if found.logged.value else ""
        yield _row("gain", found.gain, share)
    if found.clipped is not None:
        yield _row("clipped", Estimate(found.clipped), f"if no weight counted for more than {CAP:g}: biased")
    yield ""
    yield from _diagnostics(told)
    yield ""
    yield (found.refusal and f"no number: {found.refusal}") or _answer(evaluation)


def _row(name: str, got: Estimate, remark: str) -> str:
    between = "" if got.low is None else f"[{_number(got.low)}, {_number(got.high)}]"
    return f"{name:<16}{_number(got.value):>10}  {between:<24}{remark}".rstrip()


def _remark(name: str, evaluation: PolicyEvaluation) -> str:
    found = evaluation.found
    if name == found.estimator:
        return "the answer"
    if name in found.disagreeing:
        return "disagrees with the answer beyond chance"
    return "" if found.estimates[name].low is not None else "biased: no interval"


def _diagnostics(told: Diagnostics) -> Iterator[str]:
    yield f"{'effective':<16}{told.ess:>10,.0f}  of {told.num_slates:,} slates, {told.ess_share:.1%}"
    yield f"{'largest weight':<16}{told.largest_share:>10.2%}  of all weight"
    yield f"{'mean weight':<16}{told.mean_weight:>10.3f}  {told.mean_weight_z:+.1f} standard errors from 1"
    yield f"{'never drawn':<16}{told.never_shown:>10.1%}  of the logged slates, by the policy"
    if told.outside is not None:
        yield f"{'outside':<16}{told.outside:>10.1%}  of the policy's choices, which the log's could not make"


def _answer(evaluation: PolicyEvaluation) -> str:
    found = evaluation.found
    got, gain = found.estimates[found.estimator], found.gain
    assert gain is not None and gain.low is not None and gain.high is not None  # not refused
    verdict = "more" if gain.low > 0 else "less" if gain.high < 0 else "as much as far as this log can tell"
    return (
        f"{evaluation.policy} would have earned {_number(got.value)} a slate, between {_number(got.low)} and "
        f"{_number(got.high)} with 95% confidence, where {_number(found.logged.value)} was earned: {verdict}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4f}"
