"""The search: Optuna proposes, trials are trained and pruned, everything that happened is in one SQLite file.

References: Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011 (the sampler, TPE); Akiba et
al., "Optuna: a next-generation hyperparameter optimization framework", KDD 2019. A trial is pruned when its best value
so far is worse than the median of the others' at that epoch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ensemble.config import Config
from ensemble.search.config import SearchConfig
from ensemble.search.objective import ERROR, Command, Objective, TrialFailed, wants_small
from ensemble.search.space import Distribution, parse_space
from ensemble.search.table import write_table
from ensemble.unused_by_data import refuse_after_features
from workflows.core import console
from workflows.core.artefacts import fingerprint_of
from workflows.core.errors import CascadeError, ConfigError
from workflows.core.extras import why_missing
from workflows.core.lock import hold
from workflows.core.origins import check_origins, origins
from workflows.core.run import STAGES, Run

if TYPE_CHECKING:
    from optuna.study import Study

__all__ = ["search", "searched_metric", "trials_left"]


def search(run: Run, config: Config, check: Callable[[Sequence[str]], Config], command: Command) -> dict[str, Any]:
    """Start or resume the search of config.search until it has its trials; tables go to RUN/search/STAGE/.

    Args:
        run: its stages before the searched one have finished; the trials read them.
        config: of the run, with its [search] section.
        check: resolves the config with further overrides, and refuses what cannot be.
        command: of a trial.

    Returns:
        The content of search.json.

    Raises:
        ArtefactError: an earlier stage has not finished, or what it was made from has changed; or another process
            goes on with this search, or writes an earlier stage.
        ConfigError: a key or distribution cannot be, or Optuna is not installed.
        CascadeError: every trial failed.
    """
    settings = config.search
    space = parse_space(settings.params)
    run.require("features", check=False)
    _check_keys(run, settings, space, check)
    check_origins(run.root, _before(run, settings.stage))
    folder = run.root / "search" / settings.stage
    folder.mkdir(parents=True, exist_ok=True)
    with hold(run.root, writes=[f"search/{settings.stage}"], reads=_before(run, settings.stage)):
        return _go_on(run, config, check, command)


def _go_on(run: Run, config: Config, check: Callable[[Sequence[str]], Config], command: Command) -> dict[str, Any]:
    """Trials until there are enough, while nobody else goes on with this search or writes what its trials read."""
    settings, metric = config.search, searched_metric(config)
    space, folder = parse_space(settings.params), run.root / "search" / settings.stage
    study = _open_study(folder, settings, _fingerprint(run, config), metric)
    _start_with_the_config(study, config, space)
    objective = Objective(run, config.search.stage, space, metric, folder / "trials", check, command)
    while (left := trials_left(study, settings)) > 0:
        console.say(f"search: {left} trials to go")
        study.optimize(objective, n_trials=1, catch=(TrialFailed,))
        _drop_all_but_the_best(folder, study)
        write_table(folder, study, metric, settings.params)
        _give_up_on_failures(study, settings)
    return write_table(folder, study, metric, settings.params)


def searched_metric(config: Config) -> str:
    """The metric's name in history.json."""
    default = f"recall_at_{config.retrieval.validation_cutoff}" if config.search.stage == "retrieval" else "valid_loss"
    return config.search.metric or default


def _check_keys(
    run: Run, settings: SearchConfig, space: dict[str, Distribution], check: Callable[[Sequence[str]], Config]
) -> None:
    """Try each key with a value of its own: an unknown one, or one without effect, is refused before training."""
    for key, distribution in space.items():
        if not key.startswith(f"{settings.stage}."):
            raise ConfigError(
                f"search: {key} is not a key of [{settings.stage}], the stage that is searched: its trials read the "
                "other stages of the run; drop it or set search.stage"
            )
        if key.endswith(".refit_share"):
            raise ConfigError(
                f"search: {key} has no effect on the epochs that a trial is judged by, and trials leave the refit out; "
                "drop it"
            )
        config = check([f"{key}={msgspec.json.encode(distribution.values[0]).decode()}"])
        refuse_after_features(run, config, [settings.stage])


def _open_study(folder: Path, settings: SearchConfig, fingerprint: str, metric: str) -> Study:
    if missing := why_missing("optuna", "optuna", "search"):
        raise ConfigError(f"search: it {missing}")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name=f"{settings.stage}-{fingerprint[:12]}",
        storage=f"sqlite:///{(folder / 'study.sqlite').resolve()}",
        direction="minimize" if wants_small(metric) else "maximize",
        pruner=optuna.pruners.MedianPruner(settings.num_warm_up_trials, settings.num_warm_up_epochs),
        load_if_exists=True,
    )
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # of a search that was killed
    # A resumed search must not repeat the draws of its first part.
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=settings.num_warm_up_trials, seed=settings.seed + len(study.trials)
    )
    return study


def _start_with_the_config(study: Study, config: Config, space: dict[str, Distribution]) -> None:
    """Make the config as it is the first trial, where the space holds it: the search has to beat it."""
    tree = msgspec.to_builtins(config)
    values = {key: space[key].stored(_at(tree, key)) for key in space}
    if not study.trials and all(value is not None for value in values.values()):
        study.enqueue_trial(values)


def _give_up_on_failures(study: Study, settings: SearchConfig) -> None:
    """Stop when none has succeeded and as many trials have failed as the warm-up counts."""
    errors = [trial.user_attrs[ERROR] for trial in study.trials if ERROR in trial.user_attrs]
    if len(errors) >= settings.num_warm_up_trials and len(errors) == _num_done(study):
        raise CascadeError(f"search: none of {len(errors)} trials could be trained; the last one: {errors[-1]}")


def trials_left(study: Study, settings: SearchConfig) -> int:
    """Trials that the search still needs; 0 or less where it has them."""
    return settings.num_trials - _num_done(study)


def _num_done(study: Study) -> int:
    """Finished, pruned and failed trials; one that a killed search left is none of them."""
    return sum(trial.state.name in ("COMPLETE", "PRUNED") or ERROR in trial.user_attrs for trial in study.trials)


def _drop_all_but_the_best(folder: Path, study: Study) -> None:
    """Keep one trained trial: fifty sets of weights would fill a disk."""
    finished = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    kept = f"{study.best_trial.number:04}" if finished else ""
    for root in (folder / "trials").glob("*"):
        if root.name != kept:
            shutil.rmtree(root)


def _fingerprint(run: Run, config: Config) -> str:
    """What a study may not mix: the space, the fixed keys of the stage, and the stages that its trials read."""
    stage = config.search.stage
    settings = msgspec.structs.replace(config.search, num_trials=1, num_warm_up_trials=1, num_warm_up_epochs=0, seed=0)
    return fingerprint_of(
        {
            "search": msgspec.to_builtins(settings),
            "stage": msgspec.to_builtins(getattr(config, stage)),
            "after": origins(run.root, _before(run, stage)),
        }
    )


def _before(run: Run, stage: str) -> list[str]:
    """The finished stages that trials of a stage may read."""
    return [name for name in STAGES[: STAGES.index(stage)] if run.folder(name).is_dir()]


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree
