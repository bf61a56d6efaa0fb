"""What Optuna optimises: a trial's settings are trained, its epochs reported, its best value returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ensemble.config import Config
from ensemble.search.config import SearchedStage
from ensemble.search.space import Distribution
from ensemble.search.trial import link_run, run_trial
from workflows.core import console
from workflows.core.errors import CascadeError, ConfigError
from workflows.core.run import Run

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["ERROR", "Command", "Objective", "TrialFailed", "wants_small"]

ERROR = "error"  # the attribute of a failed trial that says why

# What comes after the epochs that a trial is judged by.
LEFT_OUT = ["retrieval.refit_share=0", "ranking.refit_share=0"]
# The command that trains a trial, from its run directory and its "KEY=VALUE" overrides.
Command = Callable[[Path, Sequence[str]], Sequence[str]]


class TrialFailed(Exception):
    """A trial that could not be trained; the search goes on with the others."""


def wants_small(metric: str) -> bool:
    """Whether less of a metric is better."""
    return metric.endswith("loss")


class Objective(msgspec.Struct, frozen=True):
    """Trains one trial a call.

    Attributes:
        run: its stages before `stage` have finished.
        stage: what is trained.
        space: config key -> distribution.
        metric: of an epoch's record.
        folder: where the trials' run directories go.
        check: resolves the config with further overrides, and refuses what cannot be.
        command: of a trial.
    """

    run: Run
    stage: SearchedStage
    space: Mapping[str, Distribution]
    metric: str
    folder: Path
    check: Callable[[Sequence[str]], Config]
    command: Command

    def __call__(self, trial: Trial) -> float:
        """The metric of the trial's best epoch.

        Raises:
            ConfigError: no epoch has the metric.
            TrialFailed: the settings cannot be, or their training failed.
            optuna.TrialPruned: an epoch was hopeless.
        """
        import optuna

        overrides = [f"{key}={distribution.suggest(trial, key)}" for key, distribution in self.space.items()]
        settings, values = ", ".join(overrides), list[float]()
        finished = self._train(trial, overrides, values)
        best = min(values) if wants_small(self.metric) else max(values)
        if not finished:
            console.say(f"search: trial {trial.number} pruned after {len(values)} epochs at {best:.5f} ({settings})")
            raise optuna.TrialPruned
        console.say(f"search: trial {trial.number}: {self.metric} {best:.5f} in {len(values)} epochs ({settings})")
        return best

    def _train(self, trial: Trial, overrides: Sequence[str], values: list[float]) -> bool:
        """Train to the end, or until pruned: false. The epochs' values go into `values`."""

        def after_epoch(number: int, record: dict[str, Any]) -> bool:
            if self.metric not in record:
                known = ", ".join(record)
                raise ConfigError(f"search.metric = {self.metric!r} is not among {known}; choose one of them")
            values.append(float(record[self.metric]))
            trial.report(min(values) if wants_small(self.metric) else max(values), number)
            return not trial.should_prune()

        try:
            self.check(overrides)
        except ConfigError as error:
            raise _failed(trial, error) from None
        try:
            root = link_run(self.run, self.stage, self.folder / f"{trial.number:04}")
            return run_trial(root, self.stage, self.command(root.root, [*LEFT_OUT, *overrides]), after_epoch)
        except ConfigError:
            raise
        except CascadeError as error:
            raise _failed(trial, error) from None


def _failed(trial: Trial, error: CascadeError) -> TrialFailed:
    trial.set_user_attr(ERROR, str(error))
    console.say(f"search: trial {trial.number} failed: {error}")
    return TrialFailed()
