"""`cascade replay`: ask logged requests again, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.common import JsonOption, one_sentence_errors
from workflows.core.shown import print_json

if TYPE_CHECKING:
    from operations.replay.replay import Replayed

__all__ = ["replay"]

NOT_REPLAYABLE = 2
SHOWN = 5


@one_sentence_errors
def replay(
    path: Annotated[Path, typer.Argument(metavar="MON", help="Folder that `cascade log collect` has made.")],
    request_id: Annotated[str, typer.Option("--request-id", help="Id of one request.")] = "",
    last: Annotated[int, typer.Option("--last", min=0, help="How many of the latest requests.")] = 0,
    mismatched: Annotated[
        bool, typer.Option("--mismatched", help="Those that differed when they were asked last.")
    ] = False,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Version to ask instead of the one that answered.")
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="Run directory or model repository to ask instead.")] = None,
    json: JsonOption = False,
) -> None:
    """Ask logged requests again and compare items, bits of scores and paths.

    Exit status 0: all answers are the same; 1: some differ; 2: they cannot be asked again, and why.
    """
    from operations.replay.errors import NotReplayableError
    from operations.replay.replay import replay as ask_again
    from workflows.core import console
    from workflows.core.errors import RequestError

    if [bool(request_id), bool(last), mismatched].count(True) != 1:
        raise RequestError(
            "say which requests: --request-id R, --last N for the latest ones, or --mismatched for those that differed "
            "when they were asked last"
        )
    try:
        found = ask_again(path, request_id=request_id, last=last, mismatched=mismatched, version=version, run=run)
    except NotReplayableError as error:
        console.fail(str(error))
        raise typer.Exit(NOT_REPLAYABLE) from None
    for why, number in found.left_out.items():
        console.say(f"replay: {number:,} requests were left out: {why}")
    if json:
        print_json(_figures(found))
    else:
        typer.echo("\n".join(_lines(path, found)))
    if found.differing:
        raise typer.Exit(1)


def _figures(found: Replayed) -> dict[str, Any]:
    return {
        "num_requests": found.num_requests,
        "num_identical": found.num_requests - len(found.differing) - len(found.rounded),
        "num_rounded": len(found.rounded),
        "num_differing": len(found.differing),
        "overlap": found.overlap,
        "versions": found.versions,
        "left_out": found.left_out,
        "differing": [{"request_id": name, "what": one.what} for (name, _), one in found.differing.items()],
    }


def _lines(path: Path, found: Replayed) -> Iterator[str]:
    if not found.num_requests:
        yield f"no request of {path} differed when it was asked last"
        return
    for (name, _), difference in [*found.differing.items()][:SHOWN]:
        yield f"{name}: {difference.what}"
    same = found.num_requests - len(found.differing) - len(found.rounded)
    yield f"{same:,} of {found.num_requests:,} requests are identical, bit for bit: {', '.join(found.versions)}"
    if found.rounded:
        yield (
            f"{len(found.rounded):,} have the same slates and scores that differ in rounding: another processor, ONNX "
            "Runtime or NumPy answers here"
        )
    if found.differing:
        yield f"{len(found.differing):,} differ; {found.overlap:.1%} of the items are the same"


if __name__ == "__main__":
    typer.run(replay)
