"""`cascade benchmark`: measured speed, one command a benchmark."""

from __future__ import annotations

import typer

from scripts.benchmark_catalogue import catalogue
from scripts.benchmark_document import document
from scripts.benchmark_preprocess import preprocess
from scripts.benchmark_serving import serving
from scripts.benchmark_training import training

__all__ = ["app"]

app = typer.Typer(name="benchmark", help="Measure speed; every figure goes to RUN/report.", no_args_is_help=True)
for command in (serving, catalogue, preprocess, training, document):
    app.command(command.__name__)(command)


if __name__ == "__main__":
    app()
