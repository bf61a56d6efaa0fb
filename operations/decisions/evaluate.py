"""`cascade evaluate-policy`: a log, a policy, and what the one says of the other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from models.ope.config import OpeConfig
from models.ope.evaluate import Evaluation, evaluate
from models.ope.target import evidence_of
from operations.decisions.ask import choices_of_run
from operations.decisions.mon import drawn_slates, is_mon, name_of
from operations.decisions.own_policy import check_of_mon, check_own_policy
from workflows.core import console
from workflows.core.errors import CascadeError, DataError
from workflows.decisions.choices import Choices, choices_of, read_choices
from workflows.decisions.log import DecisionLog, Refused, log_of, read_log

__all__ = ["PolicyEvaluation", "Source", "evaluate_policy", "log_at"]


class PolicyEvaluation(msgspec.Struct, frozen=True):
    """What `cascade evaluate-policy --json` prints.

    Attributes:
        log: that was read.
        policy: that was evaluated.
        temperature: of its choices; null where it differs by request.
        num_fixed: logged slates that were not drawn by chance, and say nothing.
        refused: rows of the log that cannot be.
        found: the estimates, or why there is none.
    """

    log: str
    policy: str
    temperature: float | None
    num_fixed: int
    refused: list[Refused]
    found: Evaluation


class Source(msgspec.Struct, frozen=True):
    """Where a log is, and what of it is read.

    Attributes:
        path: a decision log, Parquet; or MON.
        label: of MON, what a user did that counts as a reward of 1.
        last: of MON, how many of the latest drawn slates.
    """

    path: Path
    label: str = "click"
    last: int = 50_000


def evaluate_policy(source: Source, policy: Path, config: OpeConfig, temperature: float | None) -> PolicyEvaluation:
    """Evaluate a policy on a log.

    Args:
        source: the log.
        policy: its choices at the requests of the log, Parquet; or, of MON, a run, which is asked. The log itself: the
            same policy, for another temperature.
        config: the limits and estimators.
        temperature: of the policy, instead of its own; 0: without chance.

    Raises:
        DataError: the log or the choices cannot be used; or the policy is the log's own, and more than a softmax of its
            utilities drew the slates.
        CascadeError: nobody says at which temperature the policy draws, or a run is to be asked for a plain log.
    """
    path = source.path
    log, choices = _of_mon(source, policy) if is_mon(path) else _of_parquet(path, policy)
    if _is_own(source, policy):
        check_own_policy(path, log)
    choices = _warmed(choices, temperature, policy)
    distinct = np.unique(choices.temperature)
    return PolicyEvaluation(
        log=str(path),
        policy=str(policy),
        temperature=float(distinct[0]) if len(distinct) == 1 else None,
        num_fixed=log.num_fixed,
        refused=log.refused,
        found=evaluate(evidence_of(log, choices, config.estimators), config),
    )


def log_at(source: Source) -> DecisionLog:
    """The log alone.

    Raises:
        DataError: it cannot be used.
    """
    if not is_mon(source.path):
        return read_log(source.path)
    drawn = drawn_slates(source.path, source.label, source.last, asked_again=False)
    return msgspec.structs.replace(log_of(drawn.table), num_fixed=drawn.num_fixed)


def _of_mon(source: Source, policy: Path) -> tuple[DecisionLog, Choices]:
    asks = not _is_own(source, policy)
    drawn = drawn_slates(source.path, source.label, source.last, asked_again=asks)
    log = msgspec.structs.replace(log_of(drawn.table), num_fixed=drawn.num_fixed)
    if drawn.num_unjoined:
        console.say(f"evaluate-policy: {drawn.num_unjoined:,} drawn slates are left out: their day has no feedback yet")
    if not asks:
        check_of_mon(source.path, drawn.rows)
    kept = {*log.request_ids.tolist()}
    rows = [row for row in drawn.rows if name_of(row) in kept]
    return log, choices_of(choices_of_run(source.path, rows, policy) if asks else drawn.table, log)


def _is_own(source: Source, policy: Path) -> bool:
    """Whether the policy is the one that drew the log."""
    return policy.resolve() == source.path.resolve()


def _of_parquet(path: Path, policy: Path) -> tuple[DecisionLog, Choices]:
    if policy.is_dir() and not any(policy.glob("*.parquet")):
        raise CascadeError(
            f"{policy} is a run, and {path} does not hold what a run is asked: give the folder that `cascade log "
            "collect` made, or as policy Parquet with the run's candidates and utilities"
        )
    log = read_log(path)
    return log, read_choices(policy, log)


def _warmed(choices: Choices, temperature: float | None, policy: Path) -> Choices:
    """Choices with the temperature that was asked for."""
    if temperature is not None:
        return msgspec.structs.replace(choices, temperature=np.full(len(choices.temperature), temperature))
    if np.isnan(choices.temperature).any():
        raise CascadeError(
            f"{policy} does not say at which temperature it draws; say so with --temperature, 0 for descending order"
        )
    if (choices.temperature < 0).any():
        raise DataError(f"{policy} has a temperature below 0; expected 0, which is the descending order, or more")
    return choices
