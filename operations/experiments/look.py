"""One look at an experiment: what differs, whether anything got worse, and whether users were lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from operations.experiments.arms import Arm, difference, ratio_of
from operations.experiments.observed import Observed, label_of, observed
from operations.experiments.record import Running, now_text
from operations.experiments.sample_ratio import sample_ratio
from operations.experiments.sequence import Sequence, tuned
from operations.experiments.votes import voted
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError

__all__ = ["LEAST_USERS", "Compared", "History", "Look", "Ratio", "history_of", "look", "metric_words", "save", "take"]

# Nothing is said of a variant with fewer users: its mean may be far from normal.
LEAST_USERS = 100
# Shares of requests: where all are alike, their variance is that of one more that is not.
SHARES = ("errors", "p95_ms", "empty_slates", "opt_out")
# What is worse when there is more of it.
MORE_IS_WORSE = (*SHARES,)


class Ratio(msgspec.Struct):
    """The sample ratio, see `operations.experiments.sample_ratio`.

    Attributes:
        p_value: of this look alone.
        daily_p: of all looks together.
        alarm: whether users were lost.
    """

    p_value: float
    daily_p: float
    alarm: bool


class Compared(msgspec.Struct):
    """A variant and the control in one metric.

    Attributes:
        variant: its name.
        metric: of which.
        control: the control's ratio.
        value: the variant's.
        difference: of the two.
        low, high: ends of the interval of that, which holds at every look; null where too little is known. Of a
            guardrail the end that matters alone.
        p_value: of the metric; null of a guardrail.
        breach: whether a guardrail is worse than it may be.
    """

    variant: str
    metric: str
    control: float | None
    value: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None = None
    breach: bool = False


class Look(msgspec.Struct):
    """What was seen.

    Attributes:
        at: when.
        variants: their names, the control first.
        users, slates, since_stage, elsewhere, p95_ms: of each variant, see `operations.experiments.observed.Observed`.
        ratio: of the users.
        metric: of each variant but the control.
        guardrails: of each of these, and each guardrail.
        stage: of then.
    """

    at: str
    variants: list[str]
    users: list[int]
    slates: list[int]
    since_stage: list[int]
    elsewhere: list[float]
    p95_ms: list[float]
    ratio: Ratio
    metric: list[Compared]
    guardrails: list[Compared]
    stage: int

    @property
    def breaches(self) -> list[Compared]:
        """Guardrails that are worse than they may be."""
        return [each for each in self.guardrails if each.breach]


class History(msgspec.Struct):
    """MON/experiments/NAME.json.

    Attributes:
        started_at: of the experiment that this is of.
        information: of the confidence sequence of each metric and guardrail, fixed at the first look that knew enough.
        looks: all of them.
        acknowledged: why a sample ratio in alarm is taken as it is; "": it is not.
    """

    started_at: str
    information: dict[str, float] = {}
    looks: list[Look] = []
    acknowledged: str = ""


def look(folder: Path, running: Running, history: History) -> Look:
    """Look once; the history has it afterwards.

    Args:
        folder: MON.
        running: the experiment.
        history: of it.

    Raises:
        ArtefactError: a file cannot be read.
    """
    seen = voted(folder, running) if running.interleaves else observed(folder, running)
    return take(seen, running, history, now_text())


def take(seen: Observed, running: Running, history: History, at: str) -> Look:
    """What was observed as a look of then; the history has it afterwards.

    Args:
        seen: all that there is of the experiment since its start.
        running: the experiment.
        history: of it.
        at: when.
    """
    sides = [place for place, side in enumerate(running.variants) if place and not side.withdrawn]
    if running.interleaves:  # each user is in both
        sides, found = sides[:1], None
    else:
        counts = [seen.users[0], *(seen.users[place] for place in sides)]
        weights = [running.variants[0].weight, *(running.variants[place].weight for place in sides)]
        found = sample_ratio(counts, weights) if sides else None
    taken = Look(
        at=at,
        variants=[side.name for side in running.variants],
        users=seen.users,
        slates=seen.slates,
        since_stage=seen.since_stage,
        elsewhere=seen.elsewhere,
        p95_ms=[_number(value) or 0.0 for value in seen.p95_ms],
        ratio=Ratio(*found) if found else Ratio(1.0, 1.0, False),
        metric=[_metric(seen, running, place, history) for place in sides],
        guardrails=[each for place in sides for each in _guardrails(seen, running, place, history)],
        stage=running.stage,
    )
    history.looks.append(taken)
    return taken


def metric_words(running: Running) -> str:
    """What is compared."""
    return f"votes by {label_of(running.metric)}" if running.interleaves else running.metric


def history_of(folder: Path, running: Running) -> History:
    """What was seen of an experiment before; nothing of an earlier one with its name.

    Raises:
        ArtefactError: the file cannot be read.
    """
    path = _path(folder, running.name)
    try:
        history = msgspec.json.decode(path.read_bytes(), type=History)
    except FileNotFoundError:
        return History(running.started_at)
    except (OSError, msgspec.DecodeError) as error:
        raise ArtefactError(
            f"{path} cannot be read ({error}); remove it, and the looks so far are forgotten"
        ) from error
    return history if history.started_at == running.started_at else History(running.started_at)


def save(folder: Path, running: Running, history: History) -> None:
    """Write the history, as a whole or not at all."""
    path = _path(folder, running.name)
    with writing("experiment", path.parent):
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(history), indent=1))
        fresh.replace(path)


def _path(folder: Path, name: str) -> Path:
    return folder / "experiments" / f"{name}.json"


def _metric(seen: Observed, running: Running, place: int, history: History) -> Compared:
    arms = seen.arms.get(running.metric)
    name = running.variants[place].name
    if arms is None:
        return Compared(name, metric_words(running), None, None, None, None, None)
    if running.interleaves:
        # Votes for one are votes against the other, which has no draw of its own.
        value, variance = (_of(each) for each in ratio_of(arms[place]))
        ours, theirs = _number((1 + value) / 2), _number((1 - value) / 2)
    else:
        value, variance = _difference(arms[place], arms[0], running.metric)
        ours, theirs = _ratio(arms[place]), _ratio(arms[0])
    # At the planned end there are `users` of them, and the interval is narrowest there.
    least = int(min(_of(arms[place].users), _of(arms[0].users)))
    guess = variance * min(1.0, least / running.users)
    sequence = _sequence(history, f"{running.metric}/{name}", running.alpha, guess, least)
    made = Compared(name, metric_words(running), theirs, ours, _number(value), None, None)
    if sequence is not None and np.isfinite(variance):
        low, high = sequence.interval(value, variance)
        made.low, made.high = float(low), float(high)
        made.p_value = float(sequence.p_value(value, variance))
    return made


def _guardrails(seen: Observed, running: Running, place: int, history: History) -> Iterator[Compared]:
    name, alpha = running.variants[place].name, running.alpha / max(len(running.guardrails), 1)
    for metric in running.guardrails:
        arms = seen.arms.get(metric)
        if arms is None:
            yield Compared(name, metric, None, None, None, None, None)
            continue
        value, variance = _difference(arms[place], arms[0], metric)
        least = int(min(_of(arms[place].users), _of(arms[0].users)))
        sequence = _sequence(history, f"guard/{metric}/{name}", alpha, variance, least)
        made = Compared(name, metric, _ratio(arms[0]), _ratio(arms[place]), _number(value), None, None)
        if sequence is not None and np.isfinite(variance):
            width = float(sequence.one_sided(variance))
            allowed = running.tolerance * abs(_ratio(arms[0]) or 0.0)
            if metric in MORE_IS_WORSE:
                made.low = value - width
                made.breach = made.low > allowed
            else:
                made.high = value + width
                made.breach = made.high < -allowed
        yield made


def _sequence(history: History, key: str, alpha: float, guess: float, least: int) -> Sequence | None:
    """The sequence of a metric; None before the first look that knows enough."""
    if key not in history.information:
        if least < LEAST_USERS or not np.isfinite(guess) or guess <= 0:
            return None
        history.information[key] = tuned(alpha, guess).information
    return Sequence(alpha, history.information[key])


def _difference(variant: Arm, control: Arm, metric: str) -> tuple[float, float]:
    found = difference(variant, control)
    variance = _of(found.variance)
    if metric in SHARES:
        variance = float(np.fmax(variance, _alike(variant) + _alike(control)))
    return _of(found.value), variance


def _alike(arm: Arm) -> float:
    """The variance of a share with one more on each side, for where all are alike."""
    x = _of(arm.x) + 2
    share = (_of(arm.y) + 1) / x
    return share * (1 - share) / x


def _ratio(arm: Arm) -> float | None:
    return _of(arm.y) / _of(arm.x) if _of(arm.x) else None


def _of(value: ArrayLike) -> float:
    return float(np.asarray(value, np.float64))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
