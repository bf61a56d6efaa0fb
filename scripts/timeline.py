"""`cascade timeline`: what happened to a served chain, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone
from workflows.core import console

__all__ = ["timeline"]


@one_sentence_errors
def timeline(
    place: Annotated[
        Path, typer.Argument(metavar="REPO|MON", help="Published repository, or folder of its log.")
    ] = Path("triton_repo"),
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the latest entries.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
) -> None:
    """Show what happened to a served chain, oldest first.

    Versions published, withdrawn and removed, decisions of the gate, retrainings, items blocked, signals that left
    their limits or were accepted.
    """
    from operations.timeline.entries import timeline as read

    found = read(place)
    for note in found.notes:
        console.say(f"timeline: left out: {note}")
    if not found.entries:
        console.say("timeline: nothing has happened yet")
    if len(found.entries) > last:
        console.say(f"timeline: the latest {last} of {len(found.entries)} entries; --last shows more")
    for entry in found.entries[-last:]:
        cells = (entry.at[:19].replace("T", " ").ljust(19), entry.what.ljust(10), entry.of, entry.why)
        typer.echo(entry.as_json() if json else "  ".join(map(console.escaped, cells)).rstrip())


if __name__ == "__main__":
    run_alone(timeline)
