"""`cascade rollback`: make the version before the newest one the served one again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone
from workflows.core import console

__all__ = ["rollback"]


@one_sentence_errors
def rollback(
    repository: Annotated[Path, typer.Argument(help="Published model repository.")] = Path("triton_repo"),
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the time.")] = "",
) -> None:
    """Withdraw the newest published version; a running server picks the older one up when it reloads the model."""
    from ensemble.publish import rollback as withdraw

    console.say(f"{repository}: serving version {withdraw(repository, reason.strip())}")


if __name__ == "__main__":
    run_alone(rollback)
