"""The `cascade` console script: one command a file of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from scripts.block import block, unblock
from scripts.build_index import build_index
from scripts.console import console
from scripts.demo import demo
from scripts.doctor import doctor
from scripts.doctor_checks import cascade_version
from scripts.evaluate import evaluate
from scripts.evaluate_policy import evaluate_policy
from scripts.events import events
from scripts.examples import EXIT_CODES_LINE, epilog_of, panel_of, place_of
from scripts.experiment import experiment
from scripts.export import export
from scripts.export_send_gate import export_send_gate
from scripts.exposure import exposure
from scripts.feedback import feedback
from scripts.fit_neighbours import fit_neighbours
from scripts.fit_sources import fit_sources
from scripts.gate import gate
from scripts.init import init
from scripts.log import log
from scripts.monitor import monitor
from scripts.monitor_files import monitor_files
from scripts.needs import command_name
from scripts.notify import notify
from scripts.output import run_app
from scripts.prepare import prepare
from scripts.recommend import recommend
from scripts.reload import reload
from scripts.replay import replay
from scripts.retrain import retrain
from scripts.rollback import rollback
from scripts.run import run
from scripts.search import search
from scripts.serve import serve
from scripts.shadow import shadow
from scripts.simulate import simulate
from scripts.slates import slates
from scripts.stream import stream
from scripts.tables import tables
from scripts.timeline import timeline
from scripts.train_ranking import train_ranking
from scripts.train_retrieval import train_retrieval
from scripts.train_send_gate import train_send_gate
from scripts.why import why

__all__ = ["app", "main"]

app = typer.Typer(
    name="cascade",
    help="Event tables in, ranked slates out of Triton.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=EXIT_CODES_LINE,
)
COMMANDS: tuple[Callable[..., None], ...] = (
    *(init, run, prepare, train_retrieval, fit_neighbours, fit_sources, build_index),
    *(train_ranking, evaluate, export, exposure),
    *(search, serve, reload, recommend, rollback, gate, shadow, retrain, replay, why, console, block, unblock),
    *(monitor, monitor_files, timeline, feedback, evaluate_policy),
    *(simulate, train_send_gate, export_send_gate, notify, tables, doctor, demo),
)
for command in sorted(COMMANDS, key=lambda one: place_of(command_name(one.__name__))):
    name = command_name(command.__name__)
    app.command(name, rich_help_panel=panel_of(name), epilog=epilog_of(name))(command)
for group in (events, stream, slates, log, experiment):
    for one in group.registered_commands:
        one.epilog = epilog_of(f"{group.info.name} {one.name}")
    app.add_typer(group, rich_help_panel=panel_of(str(group.info.name)))


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cascade {cascade_version()}")
        raise typer.Exit


@app.callback()
def _of_all(
    version: Annotated[
        bool,
        typer.Option("--version", help="Say which Cascade this is, and exit.", is_eager=True, callback=_say_version),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    run_app(app)


if __name__ == "__main__":
    main()
