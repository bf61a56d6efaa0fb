"""`cascade experiment watch` and `advance`: the next stage when it is due, and back when something got worse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from operations.experiments.look import Compared, History, Look, history_of, look, save
from operations.experiments.page import write_page
from operations.experiments.record import Running, read_record
from operations.experiments.release import Servers, to_stage, withdraw_variant
from operations.experiments.show import YET_TO_COME, breach_words
from workflows.core import console
from workflows.core.errors import CascadeError

__all__ = ["LOST", "OK", "WORSE", "advance", "look_at", "watch", "why_not_yet"]

# Exit statuses: nothing wrong; users were lost, so that nothing can be told; a variant was withdrawn.
OK, LOST, WORSE = 0, 3, 4


def look_at(folder: Path, repository: Path, name: str, acknowledged: str = "") -> tuple[Running, History, Look]:
    """Look once, and keep what was seen.

    Args:
        folder: MON.
        repository: published.
        name: of the experiment.
        acknowledged: why a sample ratio in alarm is taken as it is.

    Raises:
        CascadeError: no such experiment runs, or a file cannot be read or written.
    """
    running = read_record(repository).find(name)
    if running.stage < 0:
        raise CascadeError(f"the start of experiment '{name}' was ended before it was done; stop it, then start again")
    history = history_of(folder, running)
    history.acknowledged = acknowledged or history.acknowledged
    taken = look(folder, running, history)
    save(folder, running, history)
    write_page(folder, running, history)
    return running, history, taken


def why_not_yet(running: Running, taken: Look, history: History) -> str:
    """Why the next stage must wait; "" when it is due."""
    if running.stage + 1 >= len(running.stages):
        return f"stage {running.stage + 1} is the last one; cascade experiment stop {running.name} ends it"
    if taken.ratio.alarm and not history.acknowledged:
        return "the variants do not have the users that they should have; see the sample ratio of status"
    if taken.breaches:
        return breach_words(taken.breaches[0])
    since = datetime.fromisoformat(running.stage_since)
    hours = (datetime.now(timezone.utc) - since).total_seconds() / 3600
    if hours < 0:
        return f"stage {running.stage + 1} began at {running.stage_since}, which {YET_TO_COME}"
    if hours < running.min_hours:
        return f"stage {running.stage + 1} has run {hours:.1f} of {running.min_hours:g} hours"
    active = [place for place, side in enumerate(running.variants) if side in running.with_users and not side.withdrawn]
    for place in active:
        if taken.since_stage[place] < running.min_exposures:
            some, wanted = taken.since_stage[place], running.min_exposures
            return f"{running.variants[place].name} has {some:,} of {wanted:,} slates of this stage"
    return ""


def advance(folder: Path, repository: Path, name: str, reason: str = "") -> Running:
    """Go to the next stage.

    Args:
        folder: MON.
        repository: published.
        name: of the experiment.
        reason: why it is done though it is not due; "": only when it is.

    Raises:
        CascadeError: it is not due.
    """
    running, history, taken = look_at(folder, repository, name)
    if (why := why_not_yet(running, taken, history)) and (not reason or running.stage + 1 >= len(running.stages)):
        raise CascadeError(f"experiment '{name}' stays at stage {running.stage + 1}: {why}")
    return to_stage(repository, name, running.stage + 1)


def watch(
    folder: Path,
    repository: Path,
    name: str,
    servers: Servers,
    *,
    looks: int,
    advances: bool,
    wait: Callable[[], bool],
) -> int:
    """Look again and again; withdraw a variant as soon as a guardrail of it is worse than it may be.

    Args:
        folder: MON, which `cascade log collect --follow` fills.
        repository: published.
        name: of the experiment.
        servers: that run on it.
        looks: how many; 0: until `wait` says to stop.
        advances: whether to go to the next stage when it is due.
        wait: waits for the next look; whether to take it.

    Returns:
        OK, LOST or WORSE.

    Raises:
        CascadeError: the experiment ended meanwhile, or a file cannot be read or written.
    """
    number = 0
    while True:
        running, history, taken = look_at(folder, repository, name)
        number += 1
        pairs = zip(running.variants, taken.users, strict=True)
        counts = ", ".join(f"{side.name} {users:,}" for side, users in pairs if side in running.with_users)
        console.say(f"experiment: {name}, stage {running.stage + 1}: users {counts}")
        breaches: dict[str, Compared] = {}
        for each in taken.breaches:
            breaches.setdefault(each.variant, each)
        for variant, breach in breaches.items():
            withdraw_variant(repository, name, variant, breach_words(breach), servers)
        if read_record(repository).find(name).is_over:
            return WORSE
        is_lost = taken.ratio.alarm and not history.acknowledged
        if is_lost:
            console.say(f"experiment: {name}: the variants do not have the users that they should have; see status")
        elif advances and not why_not_yet(running, taken, history):
            stage = to_stage(repository, name, running.stage + 1).stage
            console.say(f"experiment: {name} goes to stage {stage + 1}")
        if number == looks or not wait():
            return LOST if is_lost else OK
