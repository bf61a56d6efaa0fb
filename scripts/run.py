"""`cascade run`: every stage, one after the other."""

from __future__ import annotations

import shlex
from pathlib import Path

from ensemble.config import ChainConfig, Config
from scripts.build_index import build_index_stage
from scripts.common import ConfigOption, ForceOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.evaluate import evaluate_stage
from scripts.export import PublishOption, export_stage
from scripts.fit_neighbours import fit_neighbours_stage
from scripts.fit_sources import fit_sources_stage
from scripts.output import run_alone
from scripts.prepare import prepare_stage
from scripts.train_ranking import train_ranking_stage
from scripts.train_retrieval import train_retrieval_stage
from workflows.core import console
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.lock import hold
from workflows.core.run import STAGES, Run

__all__ = ["all_stages", "model_stages", "run"]

# What the sections that say a device compute with.
GPU_LIBRARIES = {"features": "cudf", "retrieval": "tensorflow", "index": "faiss", "ranking": "tensorflow"}


def model_stages(run: Run, config: Config, force: bool) -> None:
    """From the tables to trained models, with a config that is already checked."""
    sources = (train_retrieval_stage, fit_neighbours_stage, fit_sources_stage)
    for stage in (prepare_stage, *sources, build_index_stage, train_ranking_stage):
        stage(run, config, force)


def all_stages(run: Run, config: Config, publish: Path | None, force: bool, *, measures: bool = True) -> None:
    """All stages in order, with a config that is already checked; nobody else writes a stage meanwhile.

    Args:
        run: the run directory.
        config: already checked.
        publish: a model repository that gets the export; None: none does.
        force: run again even what is up to date.
        measures: False leaves the evaluation to a later call, which no other stage waits for.
    """
    _check_place(run, config, publish, force)
    _check_own(config)
    with hold(run.root, writes=STAGES):
        model_stages(run, config, force)
        if measures:
            evaluate_stage(run, config, force)
        export_stage(run, config, publish, force)


def _check_place(run: Run, config: Config, publish: Path | None, force: bool) -> None:
    """What this machine lacks for the last stages is said before the first one; finished ones may be of another."""
    from ensemble.merlin.needs import MERLIN, require_packages
    from workflows.core.device import refuse_missing_gpu
    from workflows.core.disk import check_folder

    for section, library in GPU_LIBRARIES.items():
        if force or not _has_finished(run, section, getattr(config, section).device):
            refuse_missing_gpu(getattr(config, section).device, library, f"{section}.device")
    if MERLIN in config.chain.layouts:
        require_packages("export: the layout 'merlin' in chain.layouts")
    if publish is not None:
        check_folder("publish", publish)


def _has_finished(run: Run, stage: str, device: str) -> bool:
    """Whether a stage is there that was asked for this device: it need not run again, and says so if it must."""
    try:
        return bool(read_manifest(run.folder(stage)).config[stage]["device"] == device)
    except (ArtefactError, KeyError):
        return False


def _check_own(config: Config) -> None:
    """Code of the user's own that cannot be used is refused before anything is trained."""
    if config.sources.own:
        from ensemble.export.own_modules import check_own_modules
        from models.sources.stage import own_fits

        check_own_modules({fit.step.partition(":")[0]: fit.name for fit in own_fits(config.sources)})
    if config.chain.graph != ChainConfig().graph:
        from ensemble.export.graph import find_graph

        find_graph(config.chain.graph)


@one_sentence_errors
def run(
    config: ConfigOption,
    out: OutOption,
    overrides: SetOption = [],
    publish: PublishOption = None,
    force: ForceOption = False,
) -> None:
    """Run all stages.

    They are prepare, train-retrieval, fit-neighbours, fit-sources, build-index, train-ranking, evaluate and export.
    """
    with console.timed("run"):
        all_stages(*resolve(config, out, overrides), publish, force)
    console.say(f"report: {out / 'report' / 'index.html'}")
    name = shlex.quote(str(out))
    console.say(f"look at its slates: cascade console {name}")
    console.say(f"serve it: cascade serve {name}")
    if publish is None:
        stage = f"--config {shlex.quote(str(config))} --out {name}"
        console.say(f"release it: cascade export {stage} --publish triton_repo")


if __name__ == "__main__":
    run_alone(run)
