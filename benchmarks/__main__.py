"""`python -m benchmarks`: measured speed, one command a benchmark."""

from __future__ import annotations

import typer

from benchmarks.commands.catalogue import catalogue
from benchmarks.commands.console import console
from benchmarks.commands.document import document
from benchmarks.commands.drafts import drafts
from benchmarks.commands.experiments import experiments
from benchmarks.commands.failures import failures
from benchmarks.commands.faults import faults
from benchmarks.commands.gate import gate
from benchmarks.commands.goals import goals
from benchmarks.commands.hm_tables import hm_tables
from benchmarks.commands.live_quality import live_quality
from benchmarks.commands.ope import ope
from benchmarks.commands.preprocess import preprocess
from benchmarks.commands.request_log import request_log
from benchmarks.commands.send_gate import send_gate
from benchmarks.commands.serving import serving
from benchmarks.commands.signals import signals
from benchmarks.commands.slate_quality import slate_quality
from benchmarks.commands.slate_rules import slate_rules
from benchmarks.commands.slates import slates
from benchmarks.commands.soak import soak
from benchmarks.commands.soak_operations import soak_operations
from benchmarks.commands.stream import stream
from benchmarks.commands.training import training
from benchmarks.commands.why import why
from benchmarks.commands.worker import worker
from scripts.output import run_app

__all__ = ["app"]

app = typer.Typer(name="benchmarks", help="Measure speed; every figure goes to RUN/report.", no_args_is_help=True)
COMMANDS = (
    *(serving, catalogue, preprocess, training, stream, worker, slates, slate_rules, soak, soak_operations),
    *(request_log, signals, faults, failures, live_quality, goals, slate_quality, why, gate, experiments, drafts),
    *(ope, send_gate, console, document, hm_tables),
)
for command in COMMANDS:
    app.command(command.__name__.replace("_", "-"))(command)


if __name__ == "__main__":
    run_app(app)
