"""The result of `python -m benchmarks failures`: what was answered, what was wrong, and what was lost."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from benchmarks.failures.measure import NUM_QUESTIONS, Outcome, outcomes
from benchmarks.failures.stage import Theatre
from benchmarks.result import Benchmark, Cell, Table, command_line, judge

__all__ = ["measure_failures", "result_of"]

CELL = 110
MISSING = ("with a process", "ms", "left out", "?")
COLUMNS = ["what happens", "answered", "errors", "wrong", "events", "lost", *MISSING, "pause, s"]
SUMMARY = """Something breaks while a real Triton on loopback is asked. It serves a published version, is guarded as
`cascade serve` guards it, logs every request and takes events. Two clients that try nothing again ask for slates whose
right items, scores and paths are known from the version's files; another one sends events of other users. *Errors* got
no slate. *Lost* are events that the server had acknowledged and that are in no file afterwards. The others
are answers that are not in the collected log: *with a process* those that its end took with it, which were answered at
most so many *ms* before; *left out* those that the log counts as such; *?* those that nothing explains. The last four
have no server: the chain's code answers and logs in one process, and all of its requests are asked again."""
REACH_MS = 50.0


def measure_failures(theatre: Theatre, only: str = "") -> Benchmark:
    """Have each thing happen.

    Args:
        theatre: what is served and asked.
        only: what a name must hold.

    Raises:
        CascadeError: a server cannot be started, or a disk of its own be made.
    """
    return result_of(list(outcomes(theatre, only)), only)


def result_of(found: Sequence[Outcome], only: str = "") -> Benchmark:
    """The figures and targets of what came.

    Args:
        found: one each.
        only: what their names hold.
    """
    missed = [outcome.missing for outcome in found]
    return Benchmark(
        name="failures",
        title="Failures",
        summary=SUMMARY,
        command=command_line("failures", {"only": f"'{only}'"} if only else {}),
        settings={"failures": len(found), "requests in turn": NUM_QUESTIONS},
        figures=[
            Table(
                "What came of it",
                COLUMNS,
                [_row(outcome) for outcome in found],
            ),
            Table("What was said", ["what happens", "said"], [[o.failure, part] for o in found for part in _parts(o)]),
        ],
        targets=[
            judge("wrong slates", sum(o.wrong for o in found), "<=", 0),
            judge("acknowledged events that are lost", sum(o.lost for o in found), "<=", 0),
            judge("answers that are not logged and that nothing explains", sum(m.unexplained for m in missed), "<=", 0),
            judge("records that an end takes with it, ms before it", max((m.reach_ms for m in missed), default=0.0),
                  "<=", REACH_MS),
            judge("rows of the log that are there twice", sum(o.twice for o in found), "<=", 0),
            judge("failures after which not all is well", sum(not o.is_well for o in found), "<=", 0),
        ],
    )  # fmt: skip


def _row(outcome: Outcome) -> list[Cell]:
    o = outcome
    errors = ", ".join(f"{number} {name}" for name, number in sorted(o.errors.items())) or "none"
    pause = None if o.pause_s is None else round(o.pause_s, 1)
    missed: list[Cell] = [o.missing.at_ends, round(o.missing.reach_ms), o.missing.left_out, o.missing.unexplained]
    return [o.failure, o.answered, errors, o.wrong, o.acknowledged, o.lost, *missed, pause]


def _parts(outcome: Outcome) -> list[str]:
    """A sentence in cells that are no longer than a line."""
    return textwrap.wrap(outcome.said, CELL, break_on_hyphens=False)
