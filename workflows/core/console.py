"""What the commands print: short lines, and progress bars with rates, on standard error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["duration", "err", "fail", "hush", "progress", "say", "timed"]

err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """Print one line on standard error."""
    err.print(message, markup=False)


def hush() -> None:
    """Print nothing more but errors: another process says the same."""
    err.quiet = True


def fail(message: str) -> None:
    """Print an error, also from a process that was hushed."""
    err.quiet = False
    say(f"error: {message}")


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Print how long the body took, when it ends well."""
    started_at = time.perf_counter()
    yield
    say(f"{stage}: done in {duration(time.perf_counter() - started_at)}")


def duration(seconds: float) -> str:
    """Seconds as a person says them: "4.2 s", "3 min 5 s", "2 h 4 min"."""
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class RateColumn(ProgressColumn):
    """Completed units per second."""

    def render(self, task: Task) -> Text:
        """The rate, or a dash before the first update."""
        whole = task.completed / task.elapsed if task.finished and task.elapsed else None
        speed = whole or task.speed
        return Text(f"{speed:,.0f} {task.fields.get('unit', '')}/s" if speed else "-")


@contextmanager
def progress(description: str, total: float | None, unit: str = "rows") -> Iterator[Progress]:
    """A progress bar with a rate; update it with `bar.advance(bar.task_ids[0], n)`.

    Args:
        description: what is being done.
        total: how many units there are, or None when unknown.
        unit: the name of a unit, for the rate.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=False) as bar:
        bar.add_task(description, total=total, unit=unit)
        yield bar
