"""`python -m benchmarks experiments`: false alarms, power, lost users, and interleaving."""

from __future__ import annotations

from benchmarks.experiments.found import lost_users, power
from benchmarks.experiments.looks import NUM_LOOKS, false_alarms
from benchmarks.experiments.preference import Shop, sessions_needed
from benchmarks.result import Benchmark, Cell, Table, Target, command_line, judge
from workflows.core import console

__all__ = ["measure_experiments"]

ALPHA = 0.05
# Users of a variant: who come back, for the false alarms; of one impression each, for the power; in the sample ratio.
RETURNING, ARRIVING, COUNTED = 1_000, 20_000, 100_000
RATE, GAINS, LOST = 0.08, (0.2, 0.1), 0.02
PREFERENCES, SESSIONS = (0.03, 0.07), 20_000
SUMMARY = f"""What the statistics of `cascade experiment` say of simulated experiments, looked at {NUM_LOOKS} times:
four weeks, seven looks a day. **Nothing differs**: users arrive over the whole time, come back at rates of their own
and have an inclination of their own; a false alarm is one at any look. **Something differs**: users of one impression
each arrive in two variants, of which one has a larger share of clicks. **Sample ratio**: one variant's users are not
all counted. **Interleaving**: readers of the simulated shop click what its truth makes them, on slates of one ranker
each or of both; the sessions are those that find the better one in 80% of experiments. Two rankers that err on the
same items, as two versions of one model do, differ in few places of a slate, and interleaving looks at no others."""


def measure_experiments(runs: int, seed: int) -> Benchmark:
    """Decide on many simulated experiments.

    Args:
        runs: experiments of each kind.
        seed: of every draw.
    """
    options = {"runs": runs, "seed": seed}
    parts = [measure(runs, seed) for measure in (_alike, _power, _sample_ratio, _preferences)]
    return Benchmark(
        name="experiments",
        title="Experiments that are looked at every day",
        summary=SUMMARY,
        command=command_line("experiments", options),
        settings={**options, "alpha": ALPHA, "looks": NUM_LOOKS},
        figures=[table for table, _ in parts],
        targets=[target for _, targets in parts for target in targets],
    )


def _alike(runs: int, seed: int) -> tuple[Table, list[Target]]:
    daily: dict[str, int] = {}
    single: dict[str, int] = {}
    with console.progress("nothing differs", runs, "experiments") as bar:
        for run in range(runs):
            for name, (ours, plain) in false_alarms(seed + run, RETURNING, NUM_LOOKS, ALPHA).items():
                daily[name] = daily.get(name, 0) + ours
                single[name] = single.get(name, 0) + plain
            bar.advance(bar.task_ids[0])
    rows: list[list[Cell]] = [[name, daily[name] / runs, single[name] / runs] for name in daily]
    columns = ["metric", "false alarms, confidence sequence", "false alarms, test of one look"]
    worst = max(daily.values()) / runs
    return Table("Nothing differs", columns, rows), [
        judge(f"false alarms in {NUM_LOOKS} looks, share, worst of {len(daily)} metrics", worst, "<=", ALPHA)
    ]


def _power(runs: int, seed: int) -> tuple[Table, list[Target]]:
    found = {
        gain: power(RATE, gain, users=ARRIVING, looks=NUM_LOOKS, runs=runs, alpha=ALPHA, seed=seed) for gain in GAINS
    }
    rows: list[list[Cell]] = [[f"+{gain:.0%}", each.share, each.users] for gain, each in found.items()]
    columns = ["gain", f"found within {ARRIVING:,} users a variant", "users of a variant when found"]
    return Table(f"Something differs: a click-through rate of {RATE:.0%}", columns, rows), [
        judge(f"+{GAINS[0]:.0%} found within {ARRIVING:,} users a variant, share", found[GAINS[0]].share, ">=", 0.95)
    ]


def _sample_ratio(runs: int, seed: int) -> tuple[Table, list[Target]]:
    found = {
        lost: lost_users(lost, users=COUNTED, looks=NUM_LOOKS, runs=runs, seed=seed) for lost in (0.0, LOST, 2 * LOST)
    }
    rows: list[list[Cell]] = [[f"{lost:.0%}", *alarms] for lost, alarms in found.items()]
    columns = ["users lost", "alarm at any look", "alarm of the chi-square test at the last look"]
    return Table(f"Sample ratio: {COUNTED:,} users a variant", columns, rows), [
        judge(f"sample-ratio alarms without a loss, share, {NUM_LOOKS} looks", found[0.0][0], "<=", 0.001),
        judge(
            f"a loss of {LOST:.0%} found at the last look, share, {COUNTED:,} users a variant",
            found[LOST][1],
            ">=",
            0.8,
        ),
    ]


def _preferences(runs: int, seed: int) -> tuple[Table, list[Target]]:
    rows: list[list[Cell]] = []
    shares = {}
    total = 2 * len(PREFERENCES) * SESSIONS
    with console.progress("interleaving", total, "sessions") as bar:
        for errors, is_alike in (("of their own", False), ("on the same items", True)):
            shop = Shop(SESSIONS, seed, is_alike=is_alike)
            for gain in PREFERENCES:
                found = sessions_needed(shop, gain, seed, lambda: bar.advance(bar.task_ids[0]))
                rows.append([f"+{gain:.0%}", errors, found.split, found.interleaved, found.preferred])
                shares[gain, is_alike] = found.interleaved / found.split
    columns = ["gain", "the rankers err", "sessions, split", "sessions, interleaved", "better one preferred"]
    return Table("Which of two rankers", columns, rows), [
        judge(
            f"sessions that interleaving needs for a ranker with +{PREFERENCES[0]:.0%} clicks, by those of a split",
            max(shares[PREFERENCES[0], is_alike] for is_alike in (False, True)),
            "<=",
            0.5,
        )
    ]
