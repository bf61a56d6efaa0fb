"""One seed: a log of the shop, the gate that is learnt from it, and how it does with other users; kept when done."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from models.send_gate.check import Check
from models.send_gate.config import SendGateConfig
from models.send_gate.gate import SendGate, learn
from models.send_gate.log import read_push_log
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError
from workflows.shop.config import ShopConfig
from workflows.shop.notify import FEATURES, Day, Rule
from workflows.shop.push_log import write_push_log
from workflows.shop.pushes import open_notify
from workflows.shop.simulate import LOGGING, OPENS, SCORE, Line, judged, play
from workflows.shop.truth import Array

__all__ = ["BIAS", "GATE", "Difference", "Found", "Setting", "measured"]

GATE = "learnt send gate"
# By how much the mean effect of a learnt model of users' behaviour was off in a prototype, discounted active days.
BIAS = -0.09
FIRST_LOG = 100


class Setting(msgspec.Struct, frozen=True):
    """Sizes.

    Attributes:
        log_users, log_days: of the log that the gate learns from.
        users, days: of the simulation.
        min_decisions: see `SendGateConfig`.
    """

    log_users: int
    log_days: int
    users: int
    days: int
    min_decisions: int = SendGateConfig().min_decisions


class Difference(msgspec.Struct, frozen=True):
    """Discounted active days of a user under the gate, less those under another policy, and its 95% interval."""

    mean: float
    low: float
    high: float


class Found(msgspec.Struct, frozen=True):
    """What came of one seed.

    Attributes:
        setting, seed: that it is of.
        lines: policy -> how it did.
        over: policy -> the gate's difference to it, paired by user.
        check: of the gate.
        agrees: whether it may be exported.
        biased_agrees: whether it might with BIAS added to what each push is worth.
    """

    setting: Setting
    seed: int
    lines: dict[str, Line]
    over: dict[str, Difference]
    check: Check
    agrees: bool
    biased_agrees: bool


def measured(folder: Path, setting: Setting, seed: int, tick: Callable[[], None]) -> Found:
    """Measure a seed, or read what an earlier run kept of it.

    Args:
        folder: where seeds are kept.
        setting: sizes.
        seed: of the users that the gate meets; those of its log have another one.
        tick: is called after each policy.

    Raises:
        ArtefactError: what was kept cannot be read, or is of other sizes.
    """
    path = folder / f"seed-{seed}.json"
    if path.is_file():
        return _kept(path, setting)
    gate = _learnt(setting, FIRST_LOG + seed)
    shop = open_notify(ShopConfig(), setting.users, seed)
    played = play(shop, setting.days, {GATE: Rule(lambda day: _sends(gate, day))}, tick)
    simulation = judged(shop, setting.days, played)
    earned = played[GATE][0]
    cheaper = [gate.effects.prices[0] + BIAS, *gate.effects.prices[1:]]
    found = Found(
        setting=setting,
        seed=seed,
        lines={line.policy: line for line in simulation.policies},
        over={name: _difference(earned - played[name][0]) for name in (LOGGING, SCORE, OPENS)},
        check=gate.check,
        agrees=gate.check.agrees and gate.effects.agrees,
        biased_agrees=msgspec.structs.replace(gate.effects, prices=cheaper).agrees,
    )
    with writing("the seeds", folder):
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(found))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    return found


def _kept(path: Path, setting: Setting) -> Found:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Found)
    except (OSError, msgspec.DecodeError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); remove it, and it is measured again") from None
    if found.setting != setting:
        raise ArtefactError(f"{path} was measured with other sizes; give another --out, or remove it")
    return found


def _learnt(setting: Setting, seed: int) -> SendGate:
    with tempfile.TemporaryDirectory() as scratch:
        write_push_log(open_notify(ShopConfig(), setting.log_users, seed), Path(scratch), setting.log_days)
        return learn(read_push_log(Path(scratch)), SendGateConfig(min_decisions=setting.min_decisions))


def _sends(gate: SendGate, day: Day) -> Array:
    return (gate.advantage(dict(zip(FEATURES, day.features.T, strict=True))) > 0).astype(np.float64)


def _difference(of_user: Array) -> Difference:
    half = 1.96 * float(of_user.std(ddof=1) / np.sqrt(len(of_user)))
    mean = float(of_user.mean())
    return Difference(mean, mean - half, mean + half)
