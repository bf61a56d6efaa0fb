"""`cascade feedback`: what users did with logged slates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone

__all__ = ["feedback"]


@one_sentence_errors
def feedback(
    path: Annotated[Path, typer.Argument(metavar="MON", help="Folder of `cascade log collect`.")],
    events: Annotated[
        Path | None,
        typer.Option(
            "--events", help="Parquet, CSV or NDJSON of events; or a folder of live events, or the run whose they are."
        ),
    ] = None,
    impressions: Annotated[
        str | None,
        typer.Option("--impressions", help="What counts as seen: reported, examined or slate; kept with MON."),
    ] = None,
    attribution_hours: Annotated[
        float | None,
        typer.Option("--attribution-hours", help="How long an event without a request id may follow its slate."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Join all that is kept anew; rules may be new.")] = False,
) -> None:
    """Join events with the slates that they are of; the same command once more changes nothing.

    Without --events, what is kept is joined with the requests that were collected since.
    """
    from operations.feedback.join import feedback as join
    from operations.feedback.say import say

    say(path, join(path, events, impressions=impressions, attribution_h=attribution_hours, again=again))


if __name__ == "__main__":
    run_alone(feedback)
