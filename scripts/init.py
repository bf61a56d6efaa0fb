"""`cascade init`: tables -> a commented config."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone

__all__ = ["init"]


@one_sentence_errors
def init(
    tables: Annotated[
        list[str],
        typer.Argument(help="Files of events, items and users, or folders of them; or the URL of a database."),
    ],
    out: Annotated[Path, typer.Option("--out", help="The config to write.")] = Path("config.toml"),
    user_id: Annotated[str, typer.Option("--user-id", help="The column of the user, where init takes another.")] = "",
    item_id: Annotated[str, typer.Option("--item-id", help="The column of the item.")] = "",
    timestamp: Annotated[str, typer.Option("--timestamp", help="The column of the time.")] = "",
    named: Annotated[
        list[str],
        typer.Option("--tables", help="With a URL: tables (shop.events,shop.items) or a query; may be repeated."),
    ] = [],
    force: Annotated[bool, typer.Option("--force", help="Write over a config that is there.")] = False,
) -> None:
    """Look at your tables and write the config for them: which column is which, why, and what was unsure.

    Reads Parquet, CSV and TSV with any separator, JSON lines, and all of these packed with gzip. What a config cannot
    name is written as Parquet beside it. Of a database a sample of each table is read, and nothing is copied.
    """
    from ensemble.config_file import load_config
    from workflows.core import console
    from workflows.core.disk import writing
    from workflows.core.errors import ConfigError
    from workflows.core.lock import hold
    from workflows.init.find import find_in_warehouse, find_out
    from workflows.init.opening import COPIES
    from workflows.init.page import page, questions
    from workflows.init.roles import Given
    from workflows.init.told import told
    from workflows.init.warehouse import shown_url
    from workflows.tables.warehouse.address import has_secrets

    given_columns, specs = Given(user_id, item_id, timestamp), _specs(tables, named)
    options = [("--user-id", user_id), ("--item-id", item_id), ("--timestamp", timestamp)]
    given = [word for option, value in options if value for word in (option, value)]
    given += [word for one in named for word in ("--tables", one)]
    command = shlex.join(["cascade", "init", *map(shown_url, tables), "--out", str(out), *given])
    copies, unfinished = out.with_name(out.stem + COPIES), out.with_name(f".{out.name}.tmp")
    with writing("init", out.parent), hold(out.parent.absolute(), writes=[out.name, copies.name]):
        if out.exists() and not force:
            raise ConfigError(f"{out} is there already; name another with --out, or write over it with --force")
        found = find_in_warehouse(tables[0], specs, given_columns) if specs else find_out(tables, given_columns, copies)
        try:
            unfinished.write_text(page(found, str(out), command), encoding="utf-8")
            load_config(unfinished)
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)
    for line in told(found):
        console.say(f"init: {line}")
    if has_secrets(found.source):
        console.say(f"init: the secrets of the URL are not in {out}: set PGPASSWORD or what else the driver reads")
    asked = len(questions(found))
    console.say(f"init: wrote {out}" + (f", with {asked} question{'s' * (asked > 1)} at its top" if asked else ""))
    console.say(f"next: cascade run --config {shlex.quote(str(out))} --out {shlex.quote(f'runs/{out.stem}')}")


def _specs(tables: list[str], named: list[str]) -> list[str]:
    """The tables to look at in a database; none where files are given.

    Raises:
        ConfigError: a URL without tables, tables without a URL, or a URL beside something else.
    """
    from workflows.core.errors import ConfigError
    from workflows.init.warehouse import shown_url, table_specs
    from workflows.tables.warehouse.address import is_warehouse

    urls = [shown_url(one) for one in tables if is_warehouse(one)]
    if urls and len(tables) > 1:
        raise ConfigError(f"{urls[0]}: expected files or the URL of one database, got more beside it; give it alone")
    specs = table_specs(named)
    if urls and not specs:
        raise ConfigError(f"{urls[0]}: expected --tables with the tables to look at, such as shop.events,shop.items")
    if specs and not urls:
        place = tables[0].partition("://")
        got = f"{place[0]}://..." if place[1] else place[0]
        raise ConfigError(f"--tables {specs[0]}: expected the URL of a database (postgresql://...), got {got}")
    return specs


if __name__ == "__main__":
    run_alone(init)
