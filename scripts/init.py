"""`cascade init`: tables -> a commented config."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors

__all__ = ["init"]


@one_sentence_errors
def init(
    tables: Annotated[list[str], typer.Argument(help="Files of events, items and users, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", help="The config to write.")] = Path("config.toml"),
    user_id: Annotated[str, typer.Option("--user-id", help="The column of the user, where init takes another.")] = "",
    item_id: Annotated[str, typer.Option("--item-id", help="The column of the item.")] = "",
    timestamp: Annotated[str, typer.Option("--timestamp", help="The column of the time.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over a config that is there.")] = False,
) -> None:
    """Look at your tables and write the config for them: which column is which, why, and what was unsure.

    Reads Parquet, CSV and TSV with any separator, JSON lines, and all of these packed with gzip. What a config cannot
    name is written as Parquet beside it.
    """
    from ensemble.config_file import load_config
    from workflows.core import console
    from workflows.core.disk import writing
    from workflows.core.errors import ConfigError
    from workflows.init.find import find_out
    from workflows.init.page import page, questions
    from workflows.init.roles import Given
    from workflows.init.told import told

    if out.exists() and not force:
        raise ConfigError(f"{out} is there already; name another with --out, or write over it with --force")
    found = find_out(tables, Given(user_id, item_id, timestamp), out.with_name(f"{out.stem}_tables"))
    options = [("--user-id", user_id), ("--item-id", item_id), ("--timestamp", timestamp)]
    given = [word for option, value in options if value for word in (option, value)]
    command = shlex.join(["cascade", "init", *tables, "--out", str(out), *given])
    unfinished = out.with_name(f".{out.name}.tmp")
    with writing("init", out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(page(found, str(out), command), encoding="utf-8")
        try:
            load_config(unfinished)
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)
    for line in told(found):
        console.say(f"init: {line}")
    asked = len(questions(found))
    console.say(f"init: wrote {out}" + (f", with {asked} question{'s' * (asked > 1)} at its top" if asked else ""))
    console.say(f"next: cascade run --config {shlex.quote(str(out))} --out {shlex.quote(f'runs/{out.stem}')}")


if __name__ == "__main__":
    typer.run(init)
