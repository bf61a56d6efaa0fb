"""`python -m benchmarks send-gate`: what a learnt gate earns of what could be earned, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.result import Benchmark, Cell, Table, Target, command_line, judge
from benchmarks.send_gate.seeds import BIAS, GATE, Found, Setting, measured
from models.send_gate.check import HELD_OUT
from workflows.core import console
from workflows.shop.simulate import LOGGING, OPENS, REFERENCE, SCORE

__all__ = ["measure_send_gate"]

SUMMARY = f"""Notifications in the simulated shop, whose optimum is solved exactly. For each seed a rule writes a
log, with a coin for one decision in five; `cascade train-send-gate` learns from it, without the truth, and holds
{HELD_OUT:.0%} of its users out for its check; then the gate decides for other users, beside the rule, thresholds whose
value is the best by the truth, one who knows the dynamics and sees what the gate sees (the reference), and the optimum,
which sees the hidden state. Gain is the share of what the optimum adds to never sending, in discounted active days of a
user, paired by user. The biased gate is the same one with {BIAS:+} days added to what each push is worth; it must not
be exported."""
KNOWN = 7  # policies that are played beside the gate


def measure_send_gate(out: Path, setting: Setting, num_seeds: int) -> Benchmark:
    """Measure seeds 1 to `num_seeds`; what was kept in `out`/send_gate by an earlier run is not done again."""
    found = []
    with console.progress("send-gate", num_seeds * (KNOWN + 1), "policies") as bar:
        for seed in range(1, num_seeds + 1):
            found.append(measured(out / "send_gate", setting, seed, lambda: bar.advance(bar.task_ids[0])))
            bar.update(bar.task_ids[0], completed=seed * (KNOWN + 1))
    options = {
        "seeds": num_seeds,
        "log_users": setting.log_users,
        "log_days": setting.log_days,
        "users": setting.users,
        "days": setting.days,
    }
    return Benchmark(
        name="send_gate",
        title="What a learnt send gate earns of what could be earned",
        summary=SUMMARY,
        command=command_line("send-gate", options),
        settings=options,
        figures=[
            Table("Gain", ["seed", "gate", "95% interval", *_OTHERS], [*_gains(found)]),
            Table(
                "Discounted active days of a user more than under",
                ["seed", *(words for _, words in _PAIRED)],
                [*_differences(found)],
            ),
            Table(
                "Gate and logging rule",
                [
                    *("seed", "active on a day", "rule", "pushes a day", "rule"),
                    *("opened", "rule", "reachable in the end", "rule"),
                ],
                [*_lives(found)],
            ),
            Table(
                "The check on users who were held out",
                ["seed", "mean effect by prices", "doubly robust", "95% of the difference", "exported", "biased gate"],
                [*_checks(found)],
            ),
        ],
        targets=_targets(found),
    )


_OTHERS = ("logging rule", "best score threshold", "best P(open) threshold", "reference")
_PAIRED = ((LOGGING, "logging rule"), (SCORE, "best score threshold"), (OPENS, "best P(open) threshold"))


def _gains(found: Sequence[Found]) -> Iterator[list[Cell]]:
    for one in found:
        gate = one.lines[GATE]
        others = [round(one.lines[name].gain, 3) for name in (LOGGING, SCORE, OPENS, REFERENCE)]
        yield [one.seed, round(gate.gain, 3), f"{gate.gain_low:.3f} to {gate.gain_high:.3f}", *others]


def _differences(found: Sequence[Found]) -> Iterator[list[Cell]]:
    for one in found:
        parts = (one.over[name] for name, _ in _PAIRED)
        yield [one.seed, *(f"{part.mean:+.3f} ({part.low:+.3f} to {part.high:+.3f})" for part in parts)]


def _lives(found: Sequence[Found]) -> Iterator[list[Cell]]:
    for one in found:
        pairs = [
            [getattr(one.lines[policy], name) for policy in (GATE, LOGGING)]
            for name in ("active", "sends", "open_rate", "reachable")
        ]
        yield [one.seed, *(None if value is None else round(value, 3) for pair in pairs for value in pair)]


def _checks(found: Sequence[Found]) -> Iterator[list[Cell]]:
    for one in found:
        check = one.check
        verdict = ["refused", "yes"]
        figures = [f"{value:+.4f}" for value in (check.mean, check.robust)]
        yield [one.seed, *figures, f"+- {check.half_width:.4f}", verdict[one.agrees], verdict[one.biased_agrees]]


def _targets(found: Sequence[Found]) -> list[Target]:
    of = f"worst of {len(found)} seeds"
    gates = [(one, one.lines[GATE]) for one in found]
    return [
        judge(f"gain of the gate, {of}", min(gate.gain for _, gate in gates), ">=", 0.78),
        *(
            judge(
                f"days of a user more than under the {words}, lower end of the 95% interval, {of}",
                min(one.over[name].low for one in found),
                ">=",
                0.0,
            )
            for name, words in _PAIRED[1:]
        ),
        judge(
            f"gain, a share of that of the reference, {of}",
            min(gate.gain / one.lines[REFERENCE].gain for one, gate in gates),
            ">=",
            0.88,
        ),
        judge(
            f"active users on a day against the logging rule, {of}",
            min(gate.active / one.lines[LOGGING].active for one, gate in gates),
            ">=",
            1.04,
        ),
        judge(
            f"share of users who can be reached in the end, less the logging rule's, {of}",
            min(gate.reachable - one.lines[LOGGING].reachable for one, gate in gates),
            ">=",
            0.0,
        ),
        judge(
            "biased gates that are refused, share", sum(not one.biased_agrees for one in found) / len(found), ">=", 1.0
        ),
    ]
