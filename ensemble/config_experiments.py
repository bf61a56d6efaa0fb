"""The [experiments.NAME] and [holdout] sections."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cascade_client.assignment import HOLDOUT, LAYER, LONGEST_SALT, NAME, VARIANT
from workflows.core.section import Count, Fraction, NonNegative, NonNegativeFloat, Positive, Section, Share

if TYPE_CHECKING:
    from ensemble.config import Config

__all__ = ["ExperimentConfig", "HoldoutConfig", "VariantConfig", "experiment_problems"]

NOBODYS = "a name is 1 to 40 letters, digits and . _ -"


class VariantConfig(Section, frozen=True):
    """One side of an experiment.

    Attributes:
        name: of it.
        weight: its share of the experiment's users, beside the weights of the others.
        run: run directory with the export that its users are served; empty: the served version. The first variant, the
            control, has none.
    """

    name: str
    weight: Positive = 1.0
    run: str = ""


class ExperimentConfig(Section, frozen=True):
    """An experiment.

    Attributes:
        variants: the control first.
        salt: of the draw of variants; by default the name and "-1". An experiment that is done again needs another one,
            or it finds the users as the last one left them.
        layer: experiments of one layer have different users, those of two layers are independent. Only one layer may
            have variants with a run.
        traffic: the share of all users that the last stage has in it.
        metric: what is compared; see `guardrails`, without p95_ms.
        guardrails: what must not get worse: "errors" (requests refused or not answered by the variant's version),
            "p95_ms" (answers slower than 95% of the control's), "empty_slates", "ctr" (the label "click" by item
            shown), "opt_out" (that label by slate; more is worse), or another label of the feedback.
        tolerance: how much worse a guardrail may get, relative to the control.
        stages: shares of `traffic`, one after the other.
        min_hours: of each stage.
        min_exposures: slates of each variant in each stage.
        users: of a variant, at the planned end, where the intervals are narrowest.
        alpha: the chance that the interval of the metric is wrong at any look; the guardrails share another such one.
    """

    variants: tuple[VariantConfig, ...]
    salt: str = ""
    layer: str = "serving"
    traffic: Share = 1.0
    metric: str = "ctr"
    guardrails: tuple[str, ...] = ("errors", "p95_ms", "empty_slates")
    tolerance: NonNegativeFloat = 0.05
    stages: tuple[Share, ...] = (0.01, 0.05, 0.2, 0.5, 1.0)
    min_hours: NonNegativeFloat = 24.0
    min_exposures: NonNegative = 1_000
    users: Count = 20_000
    alpha: Fraction = 0.05


class HoldoutConfig(Section, frozen=True):
    """Users who are in no experiment at all.

    Attributes:
        share: of all users.
        salt: of their draw.
    """

    share: Share = 0.0
    salt: str = "holdout-1"


def experiment_problems(config: Config) -> Iterator[str]:
    """Yield one sentence for each problem of [experiments] and [holdout]."""
    if len((config.holdout.salt + HOLDOUT).encode()) > LONGEST_SALT:
        yield f"holdout.salt must be at most {LONGEST_SALT - len(HOLDOUT)} bytes"
    layers = {}
    for name, experiment in config.experiments.items():
        yield from _of_one(f"experiments.{name}", name, experiment)
        if any(variant.run for variant in experiment.variants):
            layers[experiment.layer] = name
    if len(layers) > 1:
        first, second = [f"experiments.{name} (layer '{layer}')" for layer, name in layers.items()][:2]
        yield f"{first} and {second} have variants with a run, and a user is served one version alone: use one layer"
    yield from _room(config.experiments)


def _of_one(where: str, name: str, experiment: ExperimentConfig) -> Iterator[str]:
    names = [variant.name for variant in experiment.variants]
    for what, given in (("the name", name), ("layer", experiment.layer), *(("variants", each) for each in names)):
        if not NAME.fullmatch(given):
            yield f"{where}: {what} is {given!r}; {NOBODYS}"
    if len(names) < 2 or len(set(names)) < len(names):
        yield f"{where}.variants must be two or more with different names, got {names}"
    elif experiment.variants[0].run:
        yield f"{where}: the first variant, {names[0]!r}, is the control, which is what is served: it has no run"
    if len(((experiment.salt or f"{name}-1") + VARIANT).encode()) > LONGEST_SALT or len(experiment.layer + LAYER) > 64:
        yield f"{where}.salt must be at most {LONGEST_SALT - len(VARIANT)} bytes"
    if not experiment.stages or any(b <= a for a, b in zip((0.0, *experiment.stages), experiment.stages, strict=False)):
        yield f"{where}.stages must be above 0 and grow, got {list(experiment.stages)}"
    if experiment.traffic == 0 or experiment.alpha == 0:
        yield f"{where}: traffic and alpha must be above 0"
    if experiment.metric == "p95_ms":
        yield f"{where}.metric cannot be p95_ms, which is a guardrail alone"


def _room(experiments: Mapping[str, ExperimentConfig]) -> Iterator[str]:
    """Experiments of one layer have ranges of it beside each other."""
    for layer in sorted({each.layer for each in experiments.values()}):
        taken = {name: each.traffic for name, each in experiments.items() if each.layer == layer}
        if (total := math.fsum(taken.values())) > 1 + 1e-9:
            listed = ", ".join(f"{name} {share:g}" for name, share in taken.items())
            yield f"the experiments of layer '{layer}' have {total:g} of the users ({listed}), and there is 1"
