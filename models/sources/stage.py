"""The fit-sources stage: further retrieval sources as of every snapshot, and whether each earns a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Snapshot
from models.sources.base import AsOf, Fitted, SourceFit, descending, known_at
from models.sources.choose import Candidates, Place, earns_a_place
from models.sources.config import PlaceConfig, SourcesConfig
from models.sources.content import ContentFit
from models.sources.item_scores import LatestFit, PopularityFit, TrendingFit
from models.sources.meta import PlaceTried, SourceRecord, SourcesMeta
from models.sources.own import OwnFit, own_fit
from workflows.core import console
from workflows.core.artefacts import Manifest
from workflows.core.device import Device, announce
from workflows.core.errors import ConfigError
from workflows.core.own import own_code
from workflows.core.run import Run, run_stage

__all__ = ["fit_sources", "own_fits"]

STAGE = "sources"
UP_TO = {"eval": "test split", "serve": "last one"}
BUILT_IN = ("towers", "neighbours", "popularity", "trending", "latest", "content")
SNAPSHOTS: tuple[Snapshot, ...] = ("eval", "serve")


def fit_sources(run: Run, config: SourcesConfig, num_candidates: int, force: bool = False) -> Manifest:
    """Fit the sources beside towers and lists, and choose their places on the valid split.

    Args:
        run: whose retrieval and neighbours stages have finished.
        config: the [sources] section.
        num_candidates: C, chain.num_candidates.
        force: run even when up to date.

    Raises:
        ArtefactError: an earlier stage has not finished.
        ConfigError: a source of the user's own cannot be used, or the fallback cannot be fitted.
    """
    return run_stage(
        run,
        STAGE,
        config={STAGE: config, "num_candidates": num_candidates},
        after=("data", "features", "retrieval", "neighbours"),
        inputs={"code": own_code(path.partition(":")[0] for path in config.own)},
        body=lambda folder: _fit(run, config, num_candidates, folder),
        force=force,
    )


def _fit(run: Run, config: SourcesConfig, num_candidates: int, folder: Path) -> Mapping[str, Any]:
    announce("fit-sources", Device("cpu", "counts and one regression, which need no GPU"))
    fits = list(_fits(config))
    records, settings = _choose(run, config, fits, num_candidates)
    refitted = {snapshot: _refit(run, snapshot, fits, records, settings) for snapshot in SNAPSHOTS}
    for snapshot in SNAPSHOTS:
        for name, fitted in refitted[snapshot].items():
            if records[name].skipped is None:
                _write(fitted, folder / snapshot)
    SourcesMeta(fallback=config.fallback, sources=records).save(folder)
    for name, record in records.items():
        console.say(f"sources: {name}: {_sentence(record)}")
    return {name: {"weight": record.weight, "quota": record.quota} for name, record in records.items()}


def _fits(config: SourcesConfig) -> Iterator[tuple[SourceFit, PlaceConfig]]:
    """Every source with its place as the config gives it, in the order in which they are tried."""
    yield ContentFit(config.content, config.seed), config.content
    yield TrendingFit(config.trending), config.trending
    yield LatestFit(config.latest), config.latest
    yield PopularityFit(), config.popularity
    yield from zip(own_fits(config), config.own.values(), strict=True)


def own_fits(config: SourcesConfig) -> list[OwnFit]:
    """The sources of the user's own.

    Raises:
        ConfigError: one cannot be used.
    """
    fits: list[OwnFit] = []
    for path in config.own:
        fits.append(own_fit(path, {*BUILT_IN, *(fit.name for fit in fits)}))
    return fits


def _choose(
    run: Run, config: SourcesConfig, fits: list[tuple[SourceFit, PlaceConfig]], num_candidates: int
) -> tuple[dict[str, SourceRecord], dict[str, int]]:
    """The record of every source by name, and which of its settings was chosen."""
    as_of = known_at(run, "train")
    users = _validation(run, config, as_of, num_candidates)
    placed: list[tuple[Fitted, Place]] = []
    before, spread = users.recall(placed), users.spread()
    records, settings = dict[str, SourceRecord](), dict[str, int]()
    for fit, place in fits:
        found = fit.candidates(as_of)
        if isinstance(found, str):
            if fit.name == config.fallback:
                raise ConfigError(f"sources.fallback = '{fit.name}' cannot be fitted: {found}")
            records[fit.name] = SourceRecord(step=fit.step, weight=0.0, quota=0.0, skipped=found)
            continue
        with console.step(f"sources: try {fit.name}", None, len(users.users), "users"):
            recalls = [float(users.alone(one).mean()) if len(users.users) else 0.0 for one in found]
            settings[fit.name] = int(np.argmax(recalls))
            fitted = found[settings[fit.name]]
            chosen, measured = _place(config, place, users, placed, fitted, before, spread)
        if not chosen.is_empty:
            placed.append((fitted, chosen))
            before = users.recall(placed)
        records[fit.name] = SourceRecord(
            step=fit.step,
            weight=chosen.weight,
            quota=chosen.quota,
            setting=getattr(fitted, "setting", None),
            recall_alone=round(max(recalls), 5),
            measured=tuple(measured),
        )
    return records, settings


def _place(
    config: SourcesConfig,
    place: PlaceConfig,
    users: Candidates,
    placed: list[tuple[Fitted, Place]],
    fitted: Fitted,
    before: NDArray[np.float64],
    spread: float,
) -> tuple[Place, list[PlaceTried]]:
    """The place of one source beside those that are placed already, and what was measured.

    Args:
        config: the values to choose from.
        place: the config's of this source.
        users: of the valid split.
        placed: the sources that have a place.
        fitted: this source.
        before: recall by user with the placed sources, float64 [V].
        spread: mean distance of the first and the last candidate's merged score, the unit of weights.
    """
    given = Place(*(0.0 if value == "auto" else float(value) for value in (place.weight, place.quota)))
    if "auto" not in (place.weight, place.quota) or not len(users.users):
        return given, []
    weights = [round(w * spread, 4) for w in config.weights] if place.weight == "auto" else []
    quotas = list(config.quotas) if place.quota == "auto" else []
    tried = [*(Place(w, given.quota) for w in weights), *(Place(given.weight, q) for q in quotas if q)]
    measured, best, best_gain = [], given, 0.0
    for option in tried:
        tried_here = earns_a_place(option, before, users.recall([*placed, (fitted, option)]), config.seed)
        measured.append(tried_here)
        if tried_here.earned and tried_here.gain > best_gain:
            best, best_gain = option, tried_here.gain
    return best, measured


def _validation(run: Run, config: SourcesConfig, as_of: AsOf, num_candidates: int) -> Candidates:
    from models.dataset.features import load_events, positive_label
    from models.neighbours.merged import MergedRetriever
    from models.retrieval.validation import validation_set

    label = positive_label(as_of.features.schema, "")
    valid = load_events(run, "valid").select(positives_of=label, known_items_only=True)
    users = validation_set(as_of.features, valid, as_of.state, config.validation_users, config.seed)
    retriever = MergedRetriever(run, "train", as_of.state)
    dim = retriever.tower.item_embeddings.shape[1]
    embedded = retriever.tower.embed(users.inputs) if len(users) else np.zeros((0, dim), np.float32)
    return Candidates(users, retriever, embedded, num_candidates)


def _refit(
    run: Run,
    snapshot: Snapshot,
    fits: list[tuple[SourceFit, PlaceConfig]],
    records: dict[str, SourceRecord],
    settings: dict[str, int],
) -> dict[str, Fitted]:
    """The sources of a later snapshot under the chosen settings; one that has none there loses its place."""
    as_of = known_at(run, snapshot)
    refitted = {}
    for fit, _ in fits:
        if records[fit.name].skipped is not None:
            continue
        found = fit.candidates(as_of)
        if isinstance(found, str):
            why = f"{found}, with the events up to the {UP_TO[snapshot]}"
            records[fit.name] = SourceRecord(step=fit.step, weight=0.0, quota=0.0, skipped=why)
        else:
            refitted[fit.name] = found[min(settings[fit.name], len(found) - 1)]
    return refitted


def _write(fitted: Fitted, folder: Path) -> None:
    for name, values in fitted.files.items():
        path = folder / Path(name).relative_to("sources")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)
        if path.name == "scores.npy":
            np.save(path.with_name("order.npy"), descending(fitted.scores(np.zeros((1, 1), np.float32))[0]))


def _sentence(record: SourceRecord) -> str:
    if record.skipped is not None:
        return f"not fitted: {record.skipped}"
    if not record.is_served:
        return f"recall alone {record.recall_alone:.4f}, not served: it adds nothing beyond chance on valid"
    return f"recall alone {record.recall_alone:.4f}, weight {record.weight:g}, {record.quota:.0%} of the candidates"
