"""The pages of what `cascade monitor` and `cascade experiment` keep: Signals and Experiments."""

from __future__ import annotations

import time
from typing import Any

from console.page import MissingPage, Page, monitored
from console.site import Site
from operations.experiments.look import history_of
from operations.experiments.page import values_of as values_of_experiment
from operations.experiments.record import Running, read_record
from operations.signals.monitor import found_before
from operations.signals.page import values_of as values_of_signals

__all__ = ["experiment_page", "experiments_page", "signals_page"]


def signals_page(site: Site) -> Page:
    """What the latest look at MON gave.

    Raises:
        MissingPage: there is no MON.
        ArtefactError: a file of it cannot be read.
    """
    folder = monitored(site)
    return Page("signals.html.j2", values_of_signals(folder, found_before(folder, time.time())))


def experiments_page(site: Site) -> Page:
    """The experiments that run on what is served."""
    return Page("experiments.html.j2", {"experiments": _running(site)})


def experiment_page(site: Site, name: str) -> Page:
    """One experiment as it was looked at last.

    Raises:
        MissingPage: none of that name runs.
        ArtefactError: its looks cannot be read.
    """
    running = next((each for each in _running(site) if each.name == name), None)
    if running is None:
        raise MissingPage(f"no experiment {name!r} runs on what is served")
    values: dict[str, Any] = {"running": running, "is_seen": False, "place": site.target}
    if site.monitor is not None and (history := history_of(site.monitor, running)).looks:
        values |= {**values_of_experiment(running, history), "is_seen": True}
    return Page("experiment.html.j2", values)


def _running(site: Site) -> list[Running]:
    with site.chain() as chain:
        return read_record(chain.explainer.served.repository).experiments
