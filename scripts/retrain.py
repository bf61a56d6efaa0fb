"""`cascade retrain`: new data -> a new run -> the gate -> released or held, one command for cron."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ensemble.config import Config
from scripts.common import ConfigOption, SetOption, one_sentence_errors, resolve
from scripts.export import LogOption, Released, publish_through_gate
from scripts.gate import STATUS
from scripts.output import run_alone
from scripts.run import all_stages
from workflows.core import console
from workflows.core.disk import check_folder, writing
from workflows.core.errors import CascadeError
from workflows.core.lock import hold
from workflows.core.run import Run

__all__ = ["retrain"]


@one_sentence_errors
def retrain(
    config: ConfigOption,
    out: Annotated[Path, typer.Option("--out", metavar="RUNS", help="Folder that gets a run directory each time.")],
    publish: Annotated[Path, typer.Option("--publish", help="Model repository that is served.")],
    log: LogOption = None,
    keep: Annotated[
        int, typer.Option("--keep", min=1, help="Latest runs kept whole; those that versions are of stay anyway.")
    ] = 3,
    overrides: SetOption = [],
) -> None:
    """Run all stages in a new run directory, and publish where `cascade gate` says RELEASE; the first one in any case.

    What has not changed since the latest run is not made again, and a run that was ended goes on. One line on standard
    output says what came of it. Exit status 0: a version was published; 3: HOLD, or nothing is new; 4: REJECT; 1: an
    error.
    """
    from operations.retrain.runs import clean

    resolve(config, out, overrides)  # nothing is made with a config that cannot be used
    check_folder("publish", publish)
    with writing("retrain", out):
        out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with hold(out, writes=["runs"]):
        clean(out, publish, keep)  # what a command that was ended has left takes no room from this one
        with _failures_noted(publish, out):
            run, released = _retrained(config, out, publish, log, overrides)
        emptied = clean(out, publish, keep)
        what = f"version {released.version} is published" if released.version else "nothing is published"
        freed = f"; the stages of {len(emptied)} old runs are removed" if emptied else ""
        typer.echo(
            f"retrain: {released.verdict}: {what} from {run} after {console.duration(time.monotonic() - began)}: "
            f"{released.why}{freed}"
        )
    raise typer.Exit(STATUS[released.verdict])


def _retrained(config: Path, out: Path, publish: Path, log: Path | None, overrides: list[str]) -> tuple[Path, Released]:
    """The run, and what came of it."""
    from ensemble.history import Happening, note, utc_now
    from operations.retrain.release import served_with_export_of
    from operations.retrain.runs import Outcome, drop_if_equal, finish, next_run

    started = utc_now()
    run, found = resolve(config, next_run(out), overrides)
    console.say(f"retrain: {run.root}")
    all_stages(run, found, None, force=False)
    before = drop_if_equal(run.root, out)
    run = run if before is None else Run(before)
    version, is_from_here = served_with_export_of(run, publish)
    if version and before is None and is_from_here:  # a command was ended after it had published
        released = Released("RELEASE", "it was published by a command that was ended", version)
    elif version:
        same = (
            f"no data or settings are new since {before.name}" if before else "no data or settings of a model are new"
        )
        released = Released("HOLD", f"{same}; version {version} has this export")
    else:
        released = _release(run, found, publish, log)
    if before is None or released.version:
        finish(run.root, Outcome(released.verdict, released.why, released.version, started, utc_now()))
    note(
        publish,
        Happening(
            *(utc_now(), "retrained", released.version),
            run=str(run.root.absolute()),
            verdict=released.verdict,
            why=released.why,
        ),
    )
    return run.root, released


def _release(run: Run, config: Config, publish: Path, log: Path | None) -> Released:
    from ensemble.publish import publish as publish_version
    from operations.retrain.release import first_release_words, serves_nothing

    if not serves_nothing(publish):
        return publish_through_gate(run, config, publish, "", log)
    version = publish_version(run, config, publish, config.chain.product_layouts[0])
    return Released("RELEASE", first_release_words(publish, run), version)


@contextmanager
def _failures_noted(publish: Path, out: Path) -> Iterator[None]:
    """Whoever looks at the repository sees that a retraining failed."""
    from ensemble.history import Happening, note, utc_now

    try:
        yield
    except CascadeError as error:
        note(publish, Happening(utc_now(), "retrained", run=str(out.absolute()), verdict="FAILED", why=str(error)))
        raise


if __name__ == "__main__":
    run_alone(retrain)
