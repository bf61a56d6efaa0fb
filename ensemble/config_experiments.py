"""The [experiments.NAME] and [holdout] sections."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from cascade_client.assignment import HOLDOUT, LAYER, LONGEST_SALT, NAME, VARIANT
from runtime.drafts.spec import BOTH
from workflows.core.section import Count, Fraction, NonNegative, NonNegativeFloat, Positive, Section, Share

if TYPE_CHECKING:
    from ensemble.config import Config

__all__ = ["INTERLEAVE", "ExperimentConfig", "HoldoutConfig", "VariantConfig", "experiment_problems"]

INTERLEAVE = "interleave"

GUARDRAILS = ("errors", "p95_ms", "empty_slates")
INTERLEAVED = "an interleaved slate is of both variants"
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
        kind: "split": each user is served one variant; "interleave": each slate is drafted from those of both, and a
            click is a vote for the variant whose place it is. That finds which of two is preferred from far fewer
            sessions, and not what it is worth. Two variants, the second with a run, without weights.
        variants: the control first.
        salt: of the draw of variants; by default the name and "-1". An experiment that is done again needs another one,
            or it finds the users as the last one left them.
        layer: experiments of one layer have different users, those of two layers are independent. Only one layer may
            have variants with a run.
        traffic: the share of all users that the last stage has in it.
        metric: what is compared; see `guardrails`, without p95_ms. Where slates are interleaved: what is a vote, "ctr"
            for a click, or another label.
        guardrails: what must not get worse: "errors" (requests refused or not answered by the variant's version),
            "p95_ms" (answers slower than 95% of the control's), "empty_slates", "ctr" (the label "click" by item
            shown), "opt_out" (that label by slate; more is worse), or another label of the feedback. Where slates are
            interleaved, "errors" alone: requests that a variant could not answer.
        tolerance: how much worse a guardrail may get, relative to the control.
        stages: shares of `traffic`, one after the other.
        min_hours: of each stage.
        min_exposures: slates of each variant in each stage.
        users: of a variant, at the planned end, where the intervals are narrowest.
        alpha: the chance that the interval of the metric is wrong at any look; the guardrails share another such one.
    """

    variants: tuple[VariantConfig, ...]
    kind: Literal["split", "interleave"] = "split"
    salt: str = ""
    layer: str = "serving"
    traffic: Share = 1.0
    metric: str = "ctr"
    guardrails: tuple[str, ...] = GUARDRAILS
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
    if experiment.kind == INTERLEAVE:
        yield from _interleaved(where, experiment)


def _interleaved(where: str, experiment: ExperimentConfig) -> Iterator[str]:
    variants = experiment.variants
    if len(variants) != 2 or not variants[1].run:
        yield f"{where}: {INTERLEAVED}, the control and one with a run, got {len(variants)}" + (
            ", the second without a run" if len(variants) == 2 else ""
        )
    elif variants[0].weight != variants[1].weight:
        yield f"{where}: {INTERLEAVED}, so they have no weights"
    if BOTH in {variant.name for variant in variants}:
        yield f"{where}: '{BOTH}' is what the interleaved slates are called; give the variant another name"
    if experiment.metric in ("errors", "empty_slates", "opt_out"):
        yield f"{where}.metric is what is a vote for a place of a slate, 'ctr' or a label, got '{experiment.metric}'"
    if experiment.guardrails != GUARDRAILS and set(experiment.guardrails) - {"errors"}:
        told = ", ".join(sorted(set(experiment.guardrails) - {"errors"}))
        yield f"{where}.guardrails: {INTERLEAVED}, and of these only 'errors' can be told apart, not {told}"


def _room(experiments: Mapping[str, ExperimentConfig]) -> Iterator[str]:
    """Experiments of one layer have ranges of it beside each other."""
    for layer in sorted({each.layer for each in experiments.values()}):
        taken = {name: each.traffic for name, each in experiments.items() if each.layer == layer}
        if (total := math.fsum(taken.values())) > 1 + 1e-9:
            listed = ", ".join(f"{name} {share:g}" for name, share in taken.items())
            yield f"the experiments of layer '{layer}' have {total:g} of the users ({listed}), and there is 1"
