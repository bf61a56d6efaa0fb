"""What the commands print: short lines, and progress bars with rates, on standard error."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.errors import LiveError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["duration", "err", "escaped", "fail", "hush", "plain", "progress", "say", "step", "timed"]

SILENT_S = 10.0  # where output is no terminal, a line comes after so long a silence
SHOWN_AFTER_S = 1.0  # a step that ends sooner has no bar
REDRAWN_EVERY_S = 0.2

err = Console(stderr=True, highlight=False, soft_wrap=True)
# What a terminal would obey instead of showing: control characters, and what turns the writing's direction; also lone
# surrogates, which cannot be printed.
OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class _Silence:
    """How long nothing was printed, over all steps: each of many may be short."""

    since = time.perf_counter()

    def left_s(self) -> float:
        """Seconds until a line is due; a step that has only begun has nothing to say yet."""
        return max(self.since + SILENT_S - time.perf_counter(), SHOWN_AFTER_S)


_silence = _Silence()


def say(message: str) -> None:
    """Print one line on standard error; names and values in it cannot steer the terminal."""
    err.print("\n".join(map(escaped, message.split("\n"))), markup=False)
    _silence.since = time.perf_counter()


def escaped(value: object) -> str:
    r"""A value as text in which no character steers a terminal: `\x1b`, `\n` and the like are spelt out."""
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value))


def plain(value: object) -> Text:
    """A value for a table's cell, as it is: no markup, no control characters."""
    return Text(escaped(value))


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
    bar = _bar(description, total, unit)
    with bar, _repeating(lambda: say(_line(bar.tasks[0])), _silence.left_s, on=not err.is_terminal):
        yield bar
    _silence.since = time.perf_counter()


@contextmanager
def step(description: str, share: Callable[[], float] | None, total: float, unit: str = "rows") -> Iterator[None]:
    """Show a body that cannot count itself: a bar once it takes longer than a second, or lines where none can be drawn.

    Args:
        description: what is being done.
        share: how much of it is done, 0 to 1, asked from another thread; negative: not known now; None: never known.
        total: how many units all of it is.
        unit: the name of a unit, for the rate.
    """
    bar, shown = _bar(description, total if share else None, unit), threading.Event()
    task = bar.tasks[0]

    def show() -> None:
        bar.update(task.id, completed=max(task.completed, total * min(share(), 1.0) if share else 0.0))
        shown.set()
        if err.is_terminal:
            with suppress(LiveError):  # a bar around this one is drawn already
                bar.start()
        else:
            say(_line(task) if share else f"{description}: {total:,.0f} {unit}, {duration(task.elapsed or 0.0)} so far")

    def redraw_s() -> float:
        return REDRAWN_EVERY_S if shown.is_set() else SHOWN_AFTER_S

    try:
        with _repeating(show, redraw_s if err.is_terminal else _silence.left_s):
            yield
        bar.update(task.id, completed=total, total=total)
        if shown.is_set() and not err.is_terminal:
            say(_line(task))
    finally:
        if bar.live.is_started:
            bar.stop()


def _bar(description: str, total: float | None, unit: str) -> Progress:
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=err, transient=False)
    bar.add_task(escaped(description), total=total, unit=unit)
    return bar


def _line(task: Task) -> str:
    unit, rate = task.fields["unit"], task.completed / max(task.elapsed or 0.0, 1e-9)
    said = f"{task.description}: {task.completed:,.0f}"
    if task.total is None or task.finished:
        return f"{said} {unit}, {rate:,.0f} {unit}/s"
    left = f", {duration((task.total - task.completed) / rate)} left" if rate else ""
    return f"{said} of {task.total:,.0f} {unit}, {rate:,.0f} {unit}/s{left}"


@contextmanager
def _repeating(call: Callable[[], None], wait_s: Callable[[], float], *, on: bool = True) -> Iterator[None]:
    """Call something from another thread while the body runs, each time after the seconds that `wait_s` gives then."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(wait_s()):
            call()

    thread = threading.Thread(target=repeat, daemon=True)
    if on:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if on:
            thread.join()
