"""What long steps show: bars on a terminal, lines where there is none, and nothing for what ends at once."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from tests.ensemble.serving.processes import eventually
from workflows.core import console

Printed = Callable[[], str]


@pytest.fixture(params=[False, True], ids=["lines", "terminal"])
def printed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Printed:
    """What is printed, with waits of a hundredth of those for people."""
    file = io.StringIO()
    screen = Console(file=file, force_terminal=request.param, width=200, highlight=False, soft_wrap=True)
    monkeypatch.setattr(console, "err", screen)
    for name in ("SILENT_S", "SHOWN_AFTER_S", "REDRAWN_EVERY_S"):
        monkeypatch.setattr(console, name, 0.01)
    return file.getvalue


def asked(times: int, share: float) -> tuple[Callable[[], float], threading.Event]:
    """A share, and an event that is set once it was asked for so many times."""
    enough, count = threading.Event(), 0

    def answer() -> float:
        nonlocal count
        count += 1
        if count >= times:
            enough.set()
        return share

    return answer, enough


def test_a_long_step_shows_how_far_it_is_and_ends_full(printed, request):
    share, enough = asked(3, 0.25)
    with console.step("data: reading [x]", share, 8_000):
        assert enough.wait(60)
    text = printed()
    if console.err.is_terminal:
        assert "data: reading [x]" in text
        assert "8000/8000" in text
    else:
        lines = text.splitlines()
        assert all(line.startswith("data: reading [x]: 2,000 of 8,000 rows, ") for line in lines[:-1])
        assert len(lines) >= 3
        assert lines[-1].startswith("data: reading [x]: 8,000 rows, ")
        assert lines[-1].endswith(" rows/s")


def test_a_step_whose_share_is_unknown_says_how_long_it_takes(printed):
    with console.step("data: splitting", None, 8_000):
        eventually(lambda: "data: splitting" in printed())
    text = printed()
    if console.err.is_terminal:
        assert "8000/8000" in text
    else:
        assert re.match(r"data: splitting: 8,000 rows, \d+\.\d s so far\n", text)


def test_a_share_never_falls_and_may_be_unknown_at_times(printed):
    shares = iter([0.5, -0.01, 0.25])
    over = threading.Event()

    def share() -> float:
        value = next(shares, None)
        if value is None:
            over.set()
        return 0.5 if value is None else value

    with console.step("reading", share, 100):
        assert over.wait(60)
    if not console.err.is_terminal:
        assert all(line.startswith("reading: 50 of 100 rows") for line in printed().splitlines()[:-1])


def test_a_short_step_shows_nothing(printed, monkeypatch):
    for name in ("SILENT_S", "SHOWN_AFTER_S"):
        monkeypatch.setattr(console, name, 60.0)
    with console.step("reading", lambda: 0.5, 100):
        pass
    assert printed() == ""


def test_a_step_that_fails_is_not_drawn_full(printed):
    share, enough = asked(2, 0.25)
    with pytest.raises(ValueError, match="no"), console.step("reading", share, 8_000):
        assert enough.wait(60)
        raise ValueError("no")
    assert "8000/8000" not in printed()
    assert ": 8,000 rows" not in printed()


def test_a_bar_without_a_terminal_says_now_and_then_how_far_it_is(printed):
    def lines():
        return [line for line in printed().splitlines() if line.startswith("epoch 1: ")]

    with console.progress("epoch 1", 1_000, "examples") as bar:
        bar.advance(bar.task_ids[0], 400)
        if console.err.is_terminal:
            threading.Event().wait(0.3)
        else:
            eventually(lambda: any("400 of" in line for line in lines()))
        said = lines()  # before the rest: a slow machine has time for a line of it too
        bar.advance(bar.task_ids[0], 600)
    if console.err.is_terminal:
        assert not lines()
    else:
        assert re.fullmatch(r"epoch 1: 400 of 1,000 examples, [\d,]+ examples/s, .+ left", said[-1])
    assert "1000/1000" in printed()


def test_many_short_steps_are_no_long_silence(printed, monkeypatch):
    if console.err.is_terminal:
        pytest.skip("a terminal shows a bar")
    monkeypatch.setattr(console, "SILENT_S", 0.5)
    began = time.perf_counter()
    console.say("begin")
    for number in range(20):
        with console.step(f"step {number}", lambda: 0.5, 100):
            threading.Event().wait(0.1)
    lines = [line for line in printed().splitlines() if "50 of 100" in line]
    assert 1 <= len(lines) <= (time.perf_counter() - began) / 0.5


def test_what_a_message_holds_is_shown_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(
        console, "err", Console(file=printed, highlight=False, soft_wrap=True, force_terminal=True, no_color=True)
    )
    console.say("one [red]x[/red] [/y] \x1b[31mred\x07 \u202eback\ntwo")
    assert printed.getvalue() == "one [red]x[/red] [/y] \\x1b[31mred\\x07 \\u202eback\ntwo\n"
    assert console.plain("日本 👩‍👧 é[/x]\x00").plain == "日本 👩‍👧 é[/x]\\x00"
    with console.progress("[/reading]\x1b", 1):
        pass
    assert "[/reading]\\x1b" in printed.getvalue()
