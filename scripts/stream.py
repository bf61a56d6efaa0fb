"""`cascade stream`: the folder of live events, its log and its state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors

__all__ = ["stream", "stream_replay", "stream_status"]

stream = typer.Typer(name="stream", help="The folder of live events, its log and its state.", no_args_is_help=True)
FolderArgument = Annotated[
    Path, typer.Argument(help="The folder of live events, or the run or published repository whose they are.")
]


@stream.command("status")
@one_sentence_errors
def stream_status(path: FolderArgument) -> None:
    """Say how far the log and the states are, what they hold, and whether a server writes them."""
    from ensemble.stream.status import print_status

    print_status(path)


@stream.command("replay")
@one_sentence_errors
def stream_replay(
    path: FolderArgument,
    check: Annotated[bool, typer.Option("--check", help="Compare with the live state, byte for byte.")] = False,
) -> None:
    """Fold the whole log into a fresh state, thrown away afterwards; with --check, it must equal the live one."""
    from ensemble.stream.replay import replay

    replay(path, check=check)


if __name__ == "__main__":
    stream()
