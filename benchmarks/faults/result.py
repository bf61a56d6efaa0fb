"""The result of `python -m benchmarks faults`: what of the faults was found, by which signals, and what was not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.faults.honest import Retrained, retrainings
from benchmarks.faults.measure import HISTORY, IN_A_ROW, MOST_DAYS, Outcome, Settings, outcomes
from benchmarks.result import Benchmark, Cell, Table, command_line, judge
from workflows.core.run import Run

__all__ = ["measure_faults", "result_of"]

SUMMARY = """Faults of a served chain, found by its operations. Requests like those of a run's test events are answered
and logged by the chain's own code in one process, collected, and drawn as days: {history} of them without a fault, then
up to {most} with one. The fault is in what is asked, in a server's copy of the files alone, in what the process makes
of its answers, or in the files of a version. `cascade monitor` looks after each day: *named first* is the family of the
signal at the head of its list, after as many days as it took. *Page* is a replay mismatch, the one signal that pages;
empty slates, errors and latency page by the server's own counters, which are not part of this. *Replay* is what
`cascade replay MON --last {replays}` says.

Files of a version that are wrong are served twice. *Released*: as a version of its own with a profile of its own, as an
export that went wrong would be. Its live requests are then what its profile says, and levels such as coverage have no
limits before a past of 14 days, so that its signals can tell little; it is for the gate to find, which compares the
export with the served version before anybody is served by it: the family that it names counts as the first.
*Altered*: under the key and the profile of the whole version, by all of whose limits they are judged, which flatters
the count; a file that is altered after its export is in truth refused by its checksum when it is loaded. The targets
count the released ones. *Gate* has the rows that reject the released version: comparisons of its files, its profile and
its answers with the whole version's, and what was logged, asked again; its quality on test users is not measured here.
Some exports are made anew, from another config or other tables, by `cascade export` itself. Nothing is planted in the
twins, every second of which is a new version. *Honest retrainings* are whole runs with another seed, or on the events
of some days more. The limits of the comparisons were chosen with these faults and retrainings at hand. The time that a
request takes is set, not measured."""

WRONG_EXPORTS = "a version that was exported wrong agrees with its own profile, and its levels have no limits yet"


def measure_faults(run: Run, settings: Settings, retrained: Sequence[Run] = ()) -> Benchmark:
    """Plant every fault.

    Args:
        run: of configs/shop.toml, exported.
        settings: how much is served.
        retrained: other runs of the same product, which nothing is wrong with.

    Raises:
        ArtefactError: the run has no export with a profile, or a stage of a retraining is missing.
    """
    for other in retrained:
        other.require("report")
        other.require("repo")
    found = list(outcomes(run, settings))
    honest = list(retrainings(run, retrained))
    return result_of(found[: 2 * settings.twins], found[2 * settings.twins :], settings, honest)


def result_of(
    twins: Sequence[Outcome], found: Sequence[Outcome], settings: Settings, honest: Sequence[Retrained] = ()
) -> Benchmark:
    """The figures and targets of what came.

    Args:
        twins: without a fault.
        found: one of each fault, each in the files of a version released and altered.
        settings: of the measurement.
        honest: retrainings beside the version whose place they take.
    """
    options = {"requests": settings.day, "twins": settings.twins}
    released = [o for o in found if o.fault.is_released]
    others = [o for o in found if o.fault.version is None and not o.fault.is_released]
    altered = [o for o in found if o.fault.version is not None and not o.fault.is_released]
    counted = [*others, *released]
    paging = [o for o in others if o.fault.pages]
    return Benchmark(
        name="faults",
        title="Planted faults",
        summary=SUMMARY.format(history=HISTORY, most=MOST_DAYS, replays=settings.replays),
        command=command_line("faults", options),
        settings={
            **options,
            "requests of each fault": settings.each,
            "days of history": HISTORY,
            "faults": len(counted),
        },
        figures=[
            Table(
                "How many are found",
                ["faults", "number", "found", "right family first", f"within {IN_A_ROW} days", "page", "gate"],
                [
                    _counts("in requests, copies and processes", others),
                    _counts("in a version's files, released", released),
                    _counts("both", counted),
                    _counts("in a version's files, altered", altered),
                    _counts("both, with the altered ones instead", [*others, *altered]),
                ],
            ),
            *(
                Table(
                    title,
                    ["fault", "right family", "named first", "days", "first signals", "page"],
                    [[o.fault.name, o.fault.family, o.family or "none", o.days or None, *_signals(o)] for o in part],
                )
                for title, part in (
                    ("In requests, copies and processes", others),
                    ("In a version's files, released", released),
                    ("In a version's files, altered", altered),
                )
            ),
            Table("Where it should be sought", ["fault", "family", "why"], _whys(counted)),
            Table(
                "What says more",
                ["fault", "command", "replay", "gate"],
                [[o.fault.name, o.command or "none", o.replayed, _gate(o)] for o in counted],
            ),
            Table(
                "Twins",
                ["twin", "out of limits", "page", "replay", "gate"],
                [
                    [o.fault.name, ", ".join(o.names) or "none", _yes(o.pages), o.replayed, _gate(o)]
                    for o in twins
                ],
            ),
            Table(
                "Honest retrainings beside the version whose place they take",
                ["days of newer events", "comparisons", "rejected by", "held by", "nearest to its limit", "of it"],
                [_honest(each) for each in honest],
            ),
        ],
        targets=[
            judge("faults found, share", _share(counted, _is_found), ">=", 11 / 12, WRONG_EXPORTS),
            judge("of these in requests, copies and processes, share", _share(others, _is_found), ">=", 11 / 12),
            judge("faults whose family is named first, share", _share(counted, _is_right), ">=", 9 / 12),
            judge(f"faults found within {IN_A_ROW} days, share", _share(counted, _is_soon), ">=", 0.9, WRONG_EXPORTS),
            judge("answers of a process that its files do not give, share that pages on the first day",
                  _share(paging, lambda o: o.pages and o.days == 1), ">=", 1),
            judge("faulty versions that the signals or the gate find, share",
                  _share(released, _is_found), ">=", 5 / 6, WRONG_EXPORTS),
            judge("twins with a page", sum(o.pages for o in twins), "<=", 0),
            judge("twins with an alarm", sum(o.days > 0 for o in twins), "<=", 0),
            judge("twins that the gate rejects", sum(bool(o.gate) for o in twins), "<=", 0),
            judge("faulty versions that the gate rejects, share",
                  _share(released, lambda o: bool(o.gate)), ">=", 5 / 6),
            judge("of these, whose right family it names first, share",
                  _share([o for o in released if o.gate], _is_right), ">=", 9 / 12),
            judge("honest retrainings that its comparisons reject or hold",
                  sum(any(not row.met for row in each.rows) for each in honest) if honest else None, "<=", 0),
        ],
    )  # fmt: skip


def _share(found: Sequence[Outcome], holds: Callable[[Outcome], bool]) -> float | None:
    return sum(map(holds, found)) / len(found) if found else None


def _counts(name: str, found: Sequence[Outcome]) -> list[Cell]:
    asked = [o.gate for o in found if o.gate is not None]
    counts = (sum(map(holds, found)) for holds in (_is_found, _is_right, _is_soon, lambda o: o.pages))
    return [name, len(found), *counts, f"{sum(map(bool, asked))} of {len(asked)}" if asked else "not asked"]


def _honest(retrained: Retrained) -> list[Cell]:
    nearest = retrained.nearest
    broken, held = ([row.name for row in retrained.rows if row.met is met] for met in (False, None))
    share = (nearest.value or 0.0) / nearest.limit if nearest.limit else None
    names = (", ".join(names) or "nothing" for names in (broken, held))
    return [round(retrained.days, 1), len(retrained.rows), *names, nearest.name, share]


def _whys(found: Sequence[Outcome]) -> list[list[Cell]]:
    return [[o.fault.name, o.fault.family, o.fault.why] for o in found]


def _is_found(outcome: Outcome) -> bool:
    return outcome.days > 0 or bool(outcome.gate)


def _is_soon(outcome: Outcome) -> bool:
    return 0 < outcome.days <= IN_A_ROW or bool(outcome.gate)


def _is_right(outcome: Outcome) -> bool:
    return outcome.family == outcome.fault.family


def _signals(outcome: Outcome) -> list[Cell]:
    return [", ".join(outcome.names[:3]) or "none", _yes(outcome.pages)]


def _gate(outcome: Outcome) -> str:
    if outcome.gate is None:
        return "no version has it"
    first, others = outcome.gate[:1], len(outcome.gate) - 1
    return "; ".join(first) + (f"; {others} more" if others > 0 else "") or "nothing"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
