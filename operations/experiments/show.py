"""What people read of a look."""

from __future__ import annotations

from collections.abc import Iterator

from operations.experiments.look import SHARES, Compared, History, Look, metric_words
from operations.experiments.record import Running
from runtime.drafts.spec import BOTH

__all__ = ["YET_TO_COME", "breach_words", "is_hidden", "lines", "verdict"]

# Of an instant that another machine wrote, or this one before its clock was put right.
YET_TO_COME = "is yet to come by the clock of this machine: one of the two is wrong"


def lines(running: Running, taken: Look, history: History) -> Iterator[str]:
    """A table of the variants, then what can be told."""
    yield f"experiment {running.name}, stage {running.stage + 1} of {len(running.stages)} since {running.stage_since}"
    if taken.at < running.started_at:
        yield f"  it began at {running.started_at}, which {YET_TO_COME}; what is logged before then does not count"
    rows = zip(running.variants, taken.users, taken.slates, taken.elsewhere, taken.p95_ms, strict=True)
    for side, users, slates, elsewhere, p95_ms in rows:
        if running.interleaves and side.name != BOTH:
            yield f"  {side.name}: version {side.version}" + (
                f"; withdrawn: {side.withdrawn}" if side.withdrawn else ""
            )
            continue
        version = "slates of both" if running.interleaves else f"version {side.version}"
        words = f"  {side.name}: {version}, {users:,} users, {slates:,} slates"
        words += f", p95 {p95_ms:.3g} ms" if p95_ms else ""
        if elsewhere:
            words += f", {elsewhere:.1%} of the slates by {'one version' if running.interleaves else 'another version'}"
        yield words + (f"; withdrawn: {side.withdrawn}" if side.withdrawn else "")
    ratio = taken.ratio
    if not running.interleaves:
        yield f"  sample ratio: p = {ratio.p_value:.3g}, over all looks {ratio.daily_p:.3g}"
    if ratio.alarm:
        yield "  ALARM: the variants do not have the users that they should have: some were lost, or not logged alike"
    if is_hidden(taken, history):
        yield "  what differs is not shown: find out why, then status --acknowledge REASON"
        return
    for each in (*taken.metric, *taken.guardrails):
        yield f"  {_compared(each)}"
    yield f"  {verdict(running, taken, history)}"


def is_hidden(taken: Look, history: History) -> bool:
    """Whether nothing may be said of a difference."""
    return taken.ratio.alarm and not history.acknowledged


def verdict(running: Running, taken: Look, history: History) -> str:
    """What has come of it so far, in a sentence."""
    if is_hidden(taken, history):
        return "Nothing can be told: users were lost."
    if taken.breaches:
        return f"Withdraw it: {breach_words(taken.breaches[0])}."
    told = [each for each in taken.metric if each.low is not None and each.high is not None]
    better = [each.variant for each in told if (each.low or 0.0) > 0]
    worse = [each.variant for each in told if (each.high or 0.0) < 0]
    if running.interleaves and (better or worse):
        first, second = running.control.name, running.variants[1].name
        liked, other = (second, first) if better else (first, second)
        return f"Readers prefer {liked} to {other}, in {metric_words(running)}."
    if better:
        return f"{' and '.join(better)} has more {running.metric} than {running.control.name}."
    if worse:
        return f"{' and '.join(worse)} has less {running.metric} than {running.control.name}."
    return "Not decided yet." if told else "Too little is known yet."


def breach_words(each: Compared) -> str:
    """A guardrail that is worse than it may be."""
    what = "more" if each.metric in SHARES else "less"
    name = "answers slower than the control's p95" if each.metric == "p95_ms" else each.metric
    return f"{each.variant} has {what} {name}: {_percent(each.value)} against {_percent(each.control)}"


def _compared(each: Compared) -> str:
    words = f"{each.variant}, {each.metric}: {_percent(each.value)} against {_percent(each.control)}"
    if each.low is None and each.high is None:
        return f"{words}; too little is known"
    ends = ", ".join("any" if end is None else f"{100 * end:+.3g}" for end in (each.low, each.high))
    return f"{words}, difference between [{ends}] points{'; WORSE' if each.breach else ''}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g}%"
