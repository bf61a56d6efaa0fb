"""`cascade doctor`: what this machine has, what each stage would use, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scripts.common import JsonOption, one_sentence_errors
from scripts.doctor_checks import PURPOSES, Check, Findings, Purpose, checks, purposes
from scripts.needs import why_no_training
from scripts.output import run_alone
from workflows.core import console
from workflows.core.errors import ConfigError
from workflows.core.shown import print_json

__all__ = ["doctor"]


@one_sentence_errors
def doctor(
    out: Annotated[Path, typer.Option("--out", help="Where runs would be written.")] = Path(),
    wanted: Annotated[
        list[str], typer.Option("--for", help=f"What this machine is for: {', '.join(PURPOSES)}; repeatable.")
    ] = [],
    fix_hints: Annotated[
        bool, typer.Option("--fix-hints", help="Below the table, the command that mends each finding.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Print versions, devices, ports, disk and what can run here; exit 1 when something that is wanted cannot.

    Everything is wanted that this Python can have, unless --for says what.
    """
    if unknown := [purpose for purpose in wanted if purpose not in PURPOSES]:
        raise ConfigError(f"--for {unknown[0]}: expected one of {', '.join(PURPOSES)}")
    wanted = wanted or [purpose for purpose in PURPOSES if purpose != "train" or not why_no_training()]
    found, able = checks(out), purposes(wanted)
    if json:
        print_json(Findings(found, able))
    else:
        Console(highlight=False).print(_table(found, able))
        for hint in _hints(found, able) if fix_hints else ():
            typer.echo(hint)
    if any(check.problem for check in found) or any(one.problem and one.is_wanted for one in able):
        raise typer.Exit(1)


def _table(found: list[Check], able: list[Purpose]) -> Table:
    table = Table("what", "found", "", title="cascade doctor", title_justify="left")
    for check in found:
        verdict = Text(console.escaped(check.problem), "red") if check.problem else Text("ok", "green")
        shown = verdict if check.problem or check.found != "-" else ""
        table.add_row(console.plain(check.what), console.plain(check.found), shown)
    for one in able:
        style = "green" if one.is_possible else "red" if one.is_wanted else "yellow"
        said = Text(console.escaped(one.problem or "ok"), style)
        table.add_row(f"to {one.purpose}", "yes" if one.is_possible else "no", said)
    return table


def _hints(found: list[Check], able: list[Purpose]) -> Iterator[str]:
    """A line for each finding and what mends it."""
    wrong = [(check.what, check.fix) for check in found if check.problem]
    wrong += [(f"to {one.purpose}", one.fix) for one in able if one.problem]
    for what, fix in wrong:
        yield console.escaped(f"{what}: {fix}")
    if not wrong:
        yield "nothing is to be mended"


if __name__ == "__main__":
    run_alone(doctor)
