"""From [experiments.NAME] to an experiment with its ranges, and what people see of it before it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ensemble.config import Config
from ensemble.config_experiments import INTERLEAVE, ExperimentConfig
from operations.experiments.record import Record, Running, Side
from runtime.drafts.spec import BOTH
from workflows.core.errors import CascadeError, ConfigError

__all__ = ["Stages", "lines", "planned", "seen_before", "stages_of"]


def planned(config: Config, name: str, record: Record) -> Running:
    """An experiment that has nobody yet.

    Args:
        config: that has it.
        name: of it.
        record: the experiments that run.

    Raises:
        ConfigError: the config has no such experiment.
        CascadeError: it runs already, another layer chooses what is served, or its layer has no room left.
    """
    wanted = config.experiments.get(name)
    if wanted is None:
        known = ", ".join(config.experiments) or "none"
        raise ConfigError(f"the config has no [experiments.{name}]; it has {known}")
    if any(running.name == name for running in record.experiments):
        raise CascadeError(f"experiment '{name}' runs already; stop it before it starts anew")
    has_run = any(variant.run for variant in wanted.variants)
    others = [each for each in record.experiments if any(side.model for side in each.variants)]
    if clash := next((each for each in others if has_run and each.layer != wanted.layer), None):
        raise CascadeError(
            f"experiment '{clash.name}' of layer '{clash.layer}' chooses the version that users are served, and a user "
            f"can be served one alone: put '{name}' into that layer, or stop '{clash.name}'"
        )
    if used := next((each for each in record.experiments if each.salt == (wanted.salt or f"{name}-1")), None):
        raise CascadeError(f"experiment '{used.name}' has the same salt '{used.salt}'; give '{name}' another one")
    start = _room([(e.start, e.end) for e in record.experiments if e.layer == wanted.layer], wanted, name)
    return Running(
        name=name,
        salt=wanted.salt or f"{name}-1",
        layer=wanted.layer,
        start=start,
        end=min(start + wanted.traffic, 1.0),
        variants=[*_sides(wanted)],
        metric=wanted.metric,
        guardrails=["errors"] if wanted.kind == INTERLEAVE and wanted.guardrails else list(wanted.guardrails),
        tolerance=wanted.tolerance,
        stages=list(wanted.stages),
        min_hours=wanted.min_hours,
        min_exposures=wanted.min_exposures,
        users=wanted.users,
        alpha=wanted.alpha,
        kind=wanted.kind,
    )


class Stages(msgspec.Struct, frozen=True):
    """What an experiment has of the users: `cascade experiment check --json` prints a list of these.

    Attributes:
        name: of the experiment.
        layer: that it is in.
        traffic: share of the users at the last stage.
        stage: the present one, from 1.
        stages: of each, variant -> share of all users.
        problem: what is wrong with its salt; empty where nothing is.
    """

    name: str
    layer: str
    traffic: float
    stage: int
    stages: list[dict[str, float]]
    problem: str = ""


def stages_of(running: Running, held_out: float) -> Stages:
    """What each stage has of the users."""
    traffic = (running.end - running.start) * (1 - held_out)
    return Stages(
        name=running.name,
        layer=running.layer,
        traffic=traffic,
        stage=running.stage + 1,
        stages=[{side.name: traffic * share * side.weight for side in running.with_users} for share in running.stages],
    )


def lines(running: Running, held_out: float) -> Iterator[str]:
    """The same in words."""
    found = stages_of(running, held_out)
    yield f"experiment {running.name}: layer {running.layer}, {100 * found.traffic:.3g}% of the users at the last stage"
    for place, shares in enumerate(found.stages, 1):
        parts = ", ".join(f"{name} {100 * share:.3g}%" for name, share in shares.items())
        mark = " <- now" if place == found.stage else ""
        yield f"  stage {place}: {parts}{mark}"


def seen_before(running: Running, record: Record) -> str:
    """What is wrong with a salt that an experiment had before; "" where none had."""
    if running.salt not in record.used:
        return ""
    return (
        f"the salt '{running.salt}' was that of an experiment that has ended: the users who saw its variants see those "
        "of this one; to draw them anew, give it another salt"
    )


def _sides(wanted: ExperimentConfig) -> Iterator[Side]:
    if wanted.kind == INTERLEAVE:
        for variant in wanted.variants:
            yield Side(variant.name, 0.0, 0.0, 0.0, "", 0)
        yield Side(BOTH, 0.0, 0.0, 1.0, "", 0)
        return
    total, start = sum(variant.weight for variant in wanted.variants), 0.0
    for place, variant in enumerate(wanted.variants):
        end = 1.0 if place == len(wanted.variants) - 1 else start + variant.weight / total
        yield Side(variant.name, start, start, end, "", 0)
        start = end


def _room(taken: Sequence[tuple[float, float]], wanted: ExperimentConfig, name: str) -> float:
    """Where the first free range of a layer begins that is wide enough."""
    place = 0.0
    for start, end in sorted(taken):
        if start - place >= wanted.traffic - 1e-12:
            return place
        place = max(place, end)
    if place + wanted.traffic > 1 + 1e-9:
        free = 1 - sum(end - start for start, end in taken)
        raise CascadeError(
            f"experiment '{name}' wants {wanted.traffic:g} of layer '{wanted.layer}', of which {free:g} is free; stop "
            "another experiment, take less traffic, or another layer"
        )
    return place
