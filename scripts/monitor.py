"""`cascade monitor`: what requests and answers look like, day by day, and which of it is out of the ordinary."""

from __future__ import annotations

import enum
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from scripts.common import JsonOption, one_sentence_errors
from scripts.output import run_alone
from workflows.core.errors import ConfigError
from workflows.core.shown import print_json

__all__ = ["Action", "monitor"]

ALARM_STATUS = 3
EVERY_S = 600.0
# After a look that failed, such as one before anything was collected.
AGAIN_S = 15.0


class Action(str, enum.Enum):
    """What to do with one signal."""

    show = "show"
    accept = "accept"


@one_sentence_errors
def monitor(
    path: Annotated[Path, typer.Argument(metavar="MON", help="Folder of `cascade log collect`.")],
    action: Annotated[
        Action | None,
        typer.Argument(help="Of one signal: show its days and what moved; accept its values as the new normal."),
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="SIGNAL", help="As the page writes it, such as empty.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once; status 3 where a signal is out of limits.")] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why the values are right.")] = "",
    port: Annotated[
        int | None, typer.Option("--port", help="Answer Prometheus on this port; 0 takes a free one.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address for that.")] = "127.0.0.1",
    log: Annotated[
        list[Path] | None, typer.Option("--log", help="LOG of a server that is to be counted before it is collected.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Measure each day of collected requests that has ended, and write MON/signals.parquet and MON/ops/index.html.

    Without --once it looks every ten minutes until SIGTERM. Alone, it says which signals are out of their limits. With
    --port Prometheus can read the signals, and who asks how much.
    """
    if json and not (action is None and once):
        raise ConfigError("monitor: --json prints what --once finds; give --once too, or drop it")
    if action is None:
        if port is None:
            _look(path, once, as_json=json)
            return
        if once:
            raise ConfigError("monitor: --once looks once and --port goes on; give one of them")
        _serve(path, host, port, log or [])
        return
    if name is None:
        raise ConfigError(f"monitor {action.value}: name a signal, as MON/ops/index.html writes it")
    if action is Action.show:
        from operations.signals.show import show

        for line in show(path, name):
            typer.echo(line)
        return
    from operations.signals.accepted import accept
    from workflows.core import console

    since = accept(path, name, reason)
    console.say(f"monitor: the values of {name} from {since} on are the new normal")


def _serve(path: Path, host: str, port: int, logs: list[Path]) -> None:
    from operations.signals.monitor import monitor_once, say_found
    from scripts.needs import missing
    from workflows.core import console
    from workflows.core.errors import CascadeError, SetupError

    if missing("monitoring"):
        raise SetupError("monitor: --port needs prometheus-client; run make setup, or: uv pip install '.[monitor]'")
    from operations.exporter import exported

    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    problem = ""
    with exported(path, host, port, logs) as taken:
        print(f"READY http://{host}:{taken}/metrics", flush=True)
        while not stop.is_set():
            try:
                found = monitor_once(path)
                if found.num_new:
                    say_found(path, found)
                problem = ""
            except CascadeError as error:  # the page goes on, and says since when nobody has looked
                if str(error) != problem:
                    console.say(f"monitor: {error}")
                problem = str(error)
            stop.wait(EVERY_S if not problem else AGAIN_S)


def _look(path: Path, once: bool, *, as_json: bool) -> None:
    from operations.folder import HeldError
    from operations.signals.monitor import alarms, monitor_once, say_found
    from operations.signals.show import look_shown
    from workflows.core import console

    stop = threading.Event()
    for signum in () if once else (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    is_first = True
    while True:
        try:
            found = monitor_once(path)
        except HeldError as error:
            if once:
                raise
            console.say(f"monitor: {error}; it looks again")
            if stop.wait(AGAIN_S):
                return
            continue
        if is_first or found.num_new:
            say_found(path, found)
        is_first = False
        if as_json:
            print_json(look_shown(found))
        if once and alarms(found.rows):
            raise typer.Exit(ALARM_STATUS)
        if once or stop.wait(EVERY_S):
            return


if __name__ == "__main__":
    run_alone(monitor)
