"""`cascade evaluate-policy`: a log, a policy, and what the one says of the other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from models.ope.config import OpeConfig
from models.ope.evaluate import Evaluation, evaluate
from models.ope.target import evidence_of
from workflows.core.errors import CascadeError, DataError
from workflows.decisions.choices import Choices, read_choices
from workflows.decisions.log import Refused, read_log

__all__ = ["PolicyEvaluation", "evaluate_policy"]


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


def evaluate_policy(path: Path, policy: Path, config: OpeConfig, temperature: float | None) -> PolicyEvaluation:
    """Evaluate a policy on a log.

    Args:
        path: a decision log, Parquet.
        policy: its choices at the requests of the log, Parquet.
        config: the limits and estimators.
        temperature: of the policy, instead of its own; 0: without chance.

    Raises:
        DataError: the log or the choices cannot be used.
        CascadeError: nobody says at which temperature the policy draws.
    """
    log = read_log(path)
    choices = _warmed(read_choices(policy, log), temperature, policy)
    distinct = np.unique(choices.temperature)
    return PolicyEvaluation(
        log=str(path),
        policy=str(policy),
        temperature=float(distinct[0]) if len(distinct) == 1 else None,
        num_fixed=log.num_fixed,
        refused=log.refused,
        found=evaluate(evidence_of(log, choices, config.estimators), config),
    )


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
