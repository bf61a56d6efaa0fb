"""A learnt send gate: heads and prices, as a file and as a decision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.send_gate.check import Check, check, held_out
from models.send_gate.config import SendGateConfig
from models.send_gate.effects import Effects, Evidence, Prior, fit_effects
from models.send_gate.encoding import Encoding, fit_encoding
from models.send_gate.heads import fit_logistic
from models.send_gate.log import PushLog
from runtime.errors import BadRequest
from runtime.send_gate.arithmetic import HEADS, advantage, chance, terms
from workflows.core.errors import ArtefactError, DataError

__all__ = ["GATE_FILE", "SendGate", "learn", "load_gate"]

Floats = NDArray[np.float64]
GATE_FILE = "send_gate.json"
FORMAT_VERSION = 2
# Opt-outs are rare: their head is held closer to its mean.
PENALTIES = {"open": 3.0, "opt_out": 30.0, "visit": 3.0}

LEAST_USERS = 5


class SendGate(msgspec.Struct, frozen=True, kw_only=True):
    """When a notification is worth sending.

    Attributes:
        format_version: of the file.
        encoding: of the features.
        heads: "open" (a push is opened), "opt_out" (an unopened one makes the user turn notifications off), "visit"
            (the user comes without one) -> weights of the inputs.
        effects: what a push is priced by.
        check: of them, on users who were held out.
        gap: what it is worth after the horizon that a user can still be reached, discounted active days.
        num_decisions, num_users: of the log, without those who were held out.
        config: the section that it was learnt with.
    """

    format_version: int = FORMAT_VERSION
    encoding: Encoding
    heads: dict[str, list[float]]
    effects: Effects
    check: Check
    gap: float
    num_decisions: int
    num_users: int
    config: SendGateConfig

    def advantage(self, columns: Mapping[str, NDArray]) -> Floats:
        """By how many discounted active days sending beats holding, float64 [R].

        Args:
            columns: the features by name, numbers [R].

        Raises:
            DataError: a column is missing, or holds what is no finite number.
        """
        try:
            return advantage(self.encoding, self.heads, self.effects.prices, columns)[0]
        except BadRequest as error:
            raise DataError(str(error)) from None

    def save(self, folder: Path) -> None:
        """Write `folder`/send_gate.json."""
        (folder / GATE_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))


def load_gate(folder: Path) -> SendGate:
    """Read `folder`/send_gate.json.

    Raises:
        ArtefactError: missing, damaged, or of another format version.
    """
    path = folder / GATE_FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=SendGate)
    except (OSError, msgspec.DecodeError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); run cascade train-send-gate") from None
    if found.format_version != FORMAT_VERSION:
        raise ArtefactError(
            f"{path} has format version {found.format_version}, this Cascade reads {FORMAT_VERSION}; run cascade "
            "train-send-gate again"
        )
    return found


def learn(log: PushLog, config: SendGateConfig) -> SendGate:
    """Learn heads and prices from a log, and check them on users of it who are held out.

    Args:
        log: what was decided, and what followed.
        config: horizon and discount.

    Raises:
        DataError: too few decisions, too short a log, or an outcome that never happened.
    """
    _check(log, config)
    is_held = held_out(len(log.active))
    others, held = log.of_users(~is_held), log.of_users(is_held)
    encoding = fit_encoding(others.features, config.alone)
    inputs = encoding.inputs(others.features)
    unopened = others.sent & ~others.opened
    of_head = {
        "open": (others.sent, others.opened),
        "opt_out": (unopened, others.opted_out),
        "visit": (~others.sent, others.visited),
    }
    heads = {
        name: fit_logistic(inputs[rows], labels[rows], PENALTIES[name]) for name, (rows, labels) in of_head.items()
    }
    gap = _gap(others, config.discount)
    effects = fit_effects(_evidence(others, inputs, heads, config, gap), Prior.of(gap))
    return SendGate(
        encoding=encoding,
        heads={name: values.tolist() for name, values in heads.items()},
        effects=effects,
        check=check(effects, _evidence(held, encoding.inputs(held.features), heads, config, gap)),
        gap=gap,
        num_decisions=len(others.day),
        num_users=len(others.active),
        config=config,
    )


def _evidence(
    log: PushLog, inputs: Floats, heads: Mapping[str, Floats], config: SendGateConfig, gap: float
) -> Evidence:
    """The decisions that the horizon follows.

    Raises:
        DataError: too few users have one.
    """
    returns = _returns(log, config, gap)
    early = log.day < returns.shape[1]
    if len(np.unique(log.user[early])) < LEAST_USERS:
        raise DataError(
            f"only {len(np.unique(log.user[early])):,} of the users who were held out have a decision that "
            f"send_gate.horizon_days = {config.horizon_days} follow; log more users, or longer"
        )
    chances = [chance(inputs[early], heads[name]) for name in HEADS]
    return Evidence(
        inputs[early],
        terms(*chances),
        log.sent[early],
        log.propensity[early],
        returns[log.user[early], log.day[early]],
        log.user[early],
    )


def _check(log: PushLog, config: SendGateConfig) -> None:
    unknown = [name for name in config.alone if name not in (*log.features, *SendGateConfig().alone)]
    if unknown:
        raise DataError(
            f"send_gate.alone names {unknown[0]!r}, which is no feature of the log; they are {', '.join(log.features)}"
        )
    if len(log.day) < config.min_decisions:
        raise DataError(
            f"the log has {len(log.day):,} decisions that chance made, fewer than send_gate.min_decisions = "
            f"{config.min_decisions:,}; log more of them"
        )
    if log.active.shape[1] <= config.horizon_days:
        raise DataError(
            f"the log has {log.active.shape[1]} days, and send_gate.horizon_days = {config.horizon_days} follow each "
            "decision; log longer, or shorten the horizon"
        )
    seen = {
        "a push that was sent": log.sent,
        "a decision to hold": ~log.sent,
        "an opened push": log.opened & log.sent,
        "an unopened push": log.sent & ~log.opened,
    }
    for what, rows in seen.items():
        if not rows.any():
            raise DataError(f"the log has no row with {what}, without which nothing can be learnt of sending")
    for what, days in {"active": log.active, "reachable": log.reachable}.items():
        if not days.any():
            raise DataError(f"the log has no user who was ever {what}, without which a push has no worth")


def _gap(log: PushLog, discount: float) -> float:
    """Active days that one who can be reached has more, from then on."""
    reachable = log.active[log.reachable].mean()
    away = log.known & ~log.reachable
    return float(reachable - (log.active[away].mean() if away.any() else 0.0)) / (1.0 - discount)


def _returns(log: PushLog, config: SendGateConfig, gap: float) -> Floats:
    """Discounted active days over the horizon, and what reachability is worth at its end; float64 [U, D - horizon]."""
    horizon, num_starts = config.horizon_days, log.active.shape[1] - config.horizon_days
    total: Floats = config.discount**horizon * gap * log.reachable[:, horizon : horizon + num_starts]
    for day in range(horizon):
        total = total + config.discount**day * log.active[:, day : day + num_starts]
    return total
