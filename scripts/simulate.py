"""`cascade simulate`: policies of notifications in the simulated shop, where the optimum is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scripts.common import JsonOption, one_sentence_errors
from scripts.output import run_alone
from workflows.core.shown import print_json

if TYPE_CHECKING:
    from workflows.shop.notify import Day, NotifyPolicy

__all__ = ["simulate"]


@one_sentence_errors
def simulate(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="TOML file whose section shop.notify counts; without it the defaults."),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, help="Days to play.")] = 180,
    users: Annotated[int, typer.Option("--users", min=2, help="Users to play with.")] = 6_000,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of users and luck; without it the shop's.")] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log", metavar="FOLDER", help="Write the logging rule's decisions there, for the days of shop.notify."
        ),
    ] = None,
    gate: Annotated[
        Path | None,
        typer.Option("--gate", metavar="FOLDER", help="A learnt send gate, of cascade train-send-gate, to play too."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Play policies of when to notify and when not, side by side, and show what each gains of what could be gained.

    Nothing is read but the config, and nothing is written without --log.
    """
    from ensemble.config_file import load_config
    from workflows.core import console
    from workflows.shop.config import ShopConfig
    from workflows.shop.push_log import write_push_log
    from workflows.shop.pushes import open_notify
    from workflows.shop.simulate import lines
    from workflows.shop.simulate import simulate as play

    shop = open_notify(load_config(config).shop if config else ShopConfig(), users, seed)
    if log is not None:
        num_rows = int(write_push_log(shop, log, shop.config.days).reachable.sum())
        console.say(f"simulate: {num_rows:,} decisions are in {log}")
    more = {"learnt send gate": _policy(gate)} if gate is not None else {}
    with console.progress("simulated policies", total=7 + len(more), unit="policies") as bar:
        found = play(shop, days, more, tick=lambda: bar.advance(bar.task_ids[0]))
    if json:
        print_json(found.as_dict())
    else:
        typer.echo("\n".join(lines(found)))


def _policy(folder: Path) -> NotifyPolicy:
    """The learnt gate as a policy of the simulation."""
    import numpy as np

    from models.send_gate.gate import load_gate
    from workflows.shop.notify import FEATURES, Rule

    gate = load_gate(folder)

    def sends(day: Day) -> Any:
        columns = dict(zip(FEATURES, day.features.T, strict=True))
        return (gate.advantage(columns) > 0).astype(np.float64)

    return Rule(sends)


if __name__ == "__main__":
    run_alone(simulate)
