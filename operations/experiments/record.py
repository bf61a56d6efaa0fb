"""`experiments.json` of a repository: what clients read, and with it what the experiment's own commands need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from cascade_client.assignment import FORMAT
from ensemble.config_experiments import INTERLEAVE
from ensemble.export.layouts import MODEL_NAME
from ensemble.variants import EXPERIMENTS_FILE, experiments_record, write_experiments
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError, CascadeError
from workflows.core.lock import hold

__all__ = ["Holdout", "Record", "Running", "Side", "changing", "now_text", "read_record"]


class Side(msgspec.Struct, omit_defaults=False):
    """A variant.

    Attributes:
        name: of it.
        start: where its range begins.
        end: where it ends at this stage.
        full_end: where it ends at a stage of 1.
        model: that its users are asked of; "": the served one.
        version: of that; of the control, the one that was served at the start.
        withdrawn: why it has nobody any more; "" while it has.
        withdrawn_at: when; "" as well.
    """

    name: str
    start: float
    end: float
    full_end: float
    model: str
    version: int
    withdrawn: str = ""
    withdrawn_at: str = ""

    @property
    def weight(self) -> float:
        """Its share of the experiment's users."""
        return self.full_end - self.start


class Running(msgspec.Struct):
    """An experiment that runs, see `ensemble.config_experiments.ExperimentConfig`.

    Attributes:
        name: of it.
        salt: of the draw of variants.
        layer: whose users it has a range of.
        start, end: of that range, in [0, 1].
        variants: the control first.
        metric, guardrails: what is compared, and what must not get worse.
        tolerance: how much worse a guardrail may get, relative to the control.
        stages: shares of the range, one after the other.
        min_hours, min_exposures: of each stage: hours, and slates of each variant.
        users: of a variant, at the planned end.
        alpha: the chance that the interval of the metric is wrong at any look.
        kind: "split", or "interleave": the first two variants have no users of their own, and the third, "both", has
            those whose slates are drafted from both.
        stage: the place in `stages` of the present one; -1: nobody yet.
        stage_since: when it began, in UTC.
        started_at: when the experiment did.
    """

    name: str
    salt: str
    layer: str
    start: float
    end: float
    variants: list[Side]
    metric: str
    guardrails: list[str]
    tolerance: float
    stages: list[float]
    min_hours: float
    min_exposures: int
    users: int
    alpha: float
    kind: str = "split"
    stage: int = -1
    stage_since: str = ""
    started_at: str = ""

    @property
    def control(self) -> Side:
        """What the others are compared with."""
        return self.variants[0]

    @property
    def is_over(self) -> bool:
        """Whether every variant but the control is withdrawn."""
        return all(side.withdrawn for side in self.variants[1:])

    @property
    def interleaves(self) -> bool:
        """Whether slates are of both variants."""
        return self.kind == INTERLEAVE

    @property
    def with_users(self) -> list[Side]:
        """The variants that have users of their own."""
        return [side for side in self.variants if side.weight > 0]

    def variant(self, name: str) -> Side:
        """A variant by its name.

        Raises:
            CascadeError: there is none.
        """
        for side in self.variants:
            if side.name == name:
                return side
        known = ", ".join(side.name for side in self.variants)
        raise CascadeError(f"experiment '{self.name}' has no variant '{name}'; it has {known}")

    def set_stage(self, stage: int) -> None:
        """Give every variant that is not withdrawn the range of a stage."""
        self.stage, self.stage_since = stage, now_text()
        share = self.stages[stage]
        for side in self.variants:
            if not side.withdrawn:
                side.end = side.start + share * side.weight

    def withdraw(self, name: str, reason: str) -> list[Side]:
        """Leave a variant with nobody; and where slates are of both, both."""
        gone = self.variants[1:] if self.interleaves else [self.variant(name)]
        for side in gone:
            side.end, side.withdrawn, side.withdrawn_at = side.start, reason, now_text()
        return gone


class Holdout(msgspec.Struct):
    """Users who are in no experiment.

    Attributes:
        salt: of their draw.
        share: of all users.
    """

    salt: str = "holdout-1"
    share: float = 0.0


class Record(msgspec.Struct):
    """The file.

    Attributes:
        experiments: that run.
        holdout: users who are in none.
        format: of the file, which clients read.
        used: salts of experiments that have ended.
    """

    experiments: list[Running] = []
    holdout: Holdout = msgspec.field(default_factory=Holdout)
    format: int = FORMAT
    used: list[str] = []

    def find(self, name: str) -> Running:
        """An experiment by its name.

        Raises:
            CascadeError: none of that name runs.
        """
        for running in self.experiments:
            if running.name == name:
                return running
        known = ", ".join(running.name for running in self.experiments) or "none"
        raise CascadeError(f"no experiment '{name}' runs here; those that do: {known}")


def read_record(repository: Path) -> Record:
    """The experiments that run on a repository.

    Raises:
        ArtefactError: the repository is not there, or the file cannot be read.
    """
    if not (repository / MODEL_NAME).is_dir():
        raise ArtefactError(
            f"{repository} holds no published model '{MODEL_NAME}'; give the folder of export --publish"
        )
    found: dict[str, Any] | None = experiments_record(repository)
    if found is None:
        return Record()
    try:
        return msgspec.convert(found, Record)
    except msgspec.ValidationError as error:
        raise ArtefactError(
            f"{repository / EXPERIMENTS_FILE} cannot be read ({error}); put a copy of it back"
        ) from error


@contextmanager
def changing(repository: Path) -> Iterator[Record]:
    """The record, to be changed; it is written when the block ends, in one step, and by one command at a time.

    Raises:
        ArtefactError: see read_record; or another command changes it.
        CascadeError: the disk is full, and the file is as it was.
    """
    read_record(repository)
    with writing("experiment", repository), hold(repository / MODEL_NAME, writes=["experiments"]):
        record = read_record(repository)
        yield record
        write_experiments(repository, msgspec.to_builtins(record))


def now_text() -> str:
    """Now, in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
