"""`cascade console`: web pages on what a chain does, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone

__all__ = ["console"]


@one_sentence_errors
def console(
    target: Annotated[Path, typer.Argument(help="Run directory or published model repository.")],
    monitor: Annotated[
        Path | None, typer.Option("--monitor", metavar="MON", help="Folder of `cascade log collect`.")
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="Run that a published version was exported from.")] = None,
    events: Annotated[
        Path | None, typer.Option("--events", help="Folder of live events; else in the run or beside the repository.")
    ] = None,
    beside: Annotated[
        Path | None, typer.Option("--beside", metavar="OTHER", help="Run or repository that it is compared with.")
    ] = None,
    admin_key_file: Annotated[
        Path | None,
        typer.Option(
            "--admin-key-file",
            metavar="FILE",
            help="Key for those who may block items, take a version back, end an experiment; else CASCADE_CONSOLE_KEY; "
            "without either nothing can be changed.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on; 0: a free one.")] = 8600,
) -> None:
    """Show one user's answer step by step, and what the collector saw, as pages in a browser.

    The chain itself answers here, so that no server is needed; nothing is changed by looking.
    """
    from console.admin import key_of
    from console.serve import console_command

    key = key_of(admin_key_file)
    console_command(target, run=run, events=events, monitor=monitor, beside=beside, admin_key=key, host=host, port=port)


if __name__ == "__main__":
    run_alone(console)
