"""`cascade gate`: gather the evidence, decide, write RUN/gate.json."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ensemble.evaluation.gate_config import GateConfig
from ensemble.history import Happening, note, utc_now
from ensemble.profile.make import newest_event
from ensemble.publish_files import replace_file
from operations.gate.candidate import Candidate, open_candidate
from operations.gate.decide import decide
from operations.gate.exported_rows import compare_exports, exported_rows
from operations.gate.quality import compare
from operations.gate.requests import no_requests, request_rows
from operations.gate.rows import GATE_FILE, Decision, Evidence, Row
from operations.gate.same_questions import num_differing
from operations.gate.served import ServedVersion, open_served
from operations.gate.side_by_side import FAMILIES, side_by_side
from operations.replay.errors import NotReplayableError
from operations.shadow.shadow import shadow
from operations.signals.monitor import alarms
from operations.signals.table import load
from workflows.core.disk import writing
from workflows.core.errors import ConfigError
from workflows.core.lock import hold
from workflows.core.run import Run

__all__ = ["Gated", "alarms_of", "gate", "look", "show_command"]

FORMAT_VERSION = 1


class Gated(msgspec.Struct, frozen=True):
    """The content of gate.json.

    Attributes:
        verdict: RELEASE, HOLD or REJECT.
        why: one sentence.
        rows: all that was looked at.
        run: the candidate's run directory.
        export: content of its repo/, which tells it from every other export.
        repository: that serves the other version.
        served: the number of that version.
        served_key: of its chain.
        how: how the served version's quality was found; "": it was not.
        num_users: users that both were measured for.
        limits: the [gate] section.
        format_version: of this file.
    """

    verdict: str
    why: str
    rows: list[Row]
    run: str
    export: str
    repository: str
    served: int
    served_key: str
    how: str
    num_users: int
    limits: GateConfig
    format_version: int = FORMAT_VERSION


def gate(run: Run, repository: Path, limits: GateConfig, log: Path | None = None) -> Gated:
    """Compare a run with what a repository serves, write RUN/gate.json and a line of the repository's history.

    Args:
        run: its report and export have finished.
        repository: what `export --publish` made.
        limits: the [gate] section.
        log: MON, whose latest requests are asked again of the run; None: none are.

    Raises:
        ArtefactError: there is no report, no export or no served version; or one is altered or cannot be asked.
        CascadeError: the repository is another product's; or the disk is full.
    """
    with hold(run.root, reads=["report", "repo"]):
        candidate = open_candidate(run)
        served = open_served(repository, candidate)
        compared = compare(candidate, served, limits)
        exports = compare_exports(candidate, served)
        evidence = Evidence(
            newest=(newest_event(run), served.newest),
            targets=candidate.metrics.get("targets"),
            quality=compared.quality,
            scores=compared.scores,
            num_compared=int(candidate.export.info.get("num_users_compared", 0)),
            num_differing=num_differing(candidate, exports.ours, exports.asked),
            served_age_days=served.age_days,
            alarms=() if log is None else alarms_of(log, served.version.chain_key),
            exported=tuple(exported_rows(exports, show_command(run.root, repository), limits.expected)),
            further=() if log is None else _asked_again(log, run, limits),
        )
        gated = _gated(candidate, served, evidence, decide(evidence, limits), limits)
        with writing("gate", run.root):
            replace_file(run.root / GATE_FILE, msgspec.json.format(msgspec.json.encode(gated), indent=1).decode())
        note(served.repository, _happening(gated))
    return gated


def look(run: Run, repository: Path, family: str) -> list[str]:
    """What of a family the candidate and the served version say, side by side; nothing is decided or written.

    Raises:
        ConfigError: there is no such family.
        ArtefactError, CascadeError: see `gate`.
    """
    if family not in FAMILIES:
        raise ConfigError(f"--show {family}: the families are {', '.join(FAMILIES)}")
    with hold(run.root, reads=["report", "repo"]):
        candidate = open_candidate(run)
        return [*side_by_side(compare_exports(candidate, open_served(repository, candidate)), family)]


def show_command(run: Path, repository: Path) -> str:
    """That shows both versions side by side; the family follows."""
    return f"cascade gate {run} --against {repository} --show"


def _happening(gated: Gated) -> Happening:
    return Happening(
        *(utc_now(), "gate", gated.served), run=gated.run, export=gated.export, verdict=gated.verdict, why=gated.why
    )


def alarms_of(log: Path, key: str) -> tuple[str, ...]:
    """Signals of a version that are out of their limits now, as `cascade monitor` left them."""
    return tuple(row.name for row in alarms(load(log)) if row.chain_key == key)


def _asked_again(log: Path, run: Run, limits: GateConfig) -> tuple[Row, ...]:
    try:
        found = shadow(log, run.root, limits.min_requests, limits.category)
    except NotReplayableError as error:  # a log of the first days, or of a version that is gone
        return (no_requests(str(error), limits),)
    return tuple(request_rows(found, limits))


def _gated(
    candidate: Candidate, served: ServedVersion, evidence: Evidence, decision: Decision, limits: GateConfig
) -> Gated:
    quality = evidence.quality
    how, num_users = ("", 0) if isinstance(quality, str) else (quality.how, len(quality.served))
    return Gated(
        decision.verdict,
        decision.why,
        decision.rows,
        str(candidate.run.root.absolute()),
        candidate.export.content,
        str(served.repository),
        served.version.number,
        served.version.chain_key,
        how,
        num_users,
        limits,
    )
