"""`cascade demo`: from tables to a served slate, then what it is worth. What `make demo` runs."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ensemble.config import Config
from scripts.common import ConfigOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.evaluate import evaluate_stage
from scripts.export import PublishOption
from scripts.output import run_alone
from scripts.run import all_stages
from workflows.core import console
from workflows.core.run import Run

__all__ = ["demo"]

UserOption = Annotated[list[str], typer.Option("--user-id", help="Users to ask slates for; repeatable.")]
UNKNOWN_USER = "999999999"
CONSOLE_URL = "http://127.0.0.1:8600/"


@one_sentence_errors
def demo(
    config: ConfigOption = Path("configs/demo.toml"),
    out: OutOption = Path("runs/demo"),
    overrides: SetOption = [],
    publish: PublishOption = None,
    user_id: UserOption = ["17", "42", UNKNOWN_USER],
) -> None:
    """Train on a small simulated shop, serve it, ask for slates over gRPC and HTTP, click, then measure.

    The quality and two experiments come after the slates, and nothing is left running.
    """
    started_at = time.perf_counter()
    run, resolved = resolve(config, out, overrides)
    all_stages(run, resolved, publish, force=False, measures=False)
    _ask(run, resolved, user_id, started_at)
    _measure(run, resolved)
    console.say(f"demo: done in {console.duration(time.perf_counter() - started_at)}; nothing is left running")
    for line in what_next(out, Path(sys.argv[0])):
        console.say(line)


def _ask(run: Run, config: Config, users: list[str], started_at: float) -> None:
    """Start a server, show slates over both protocols and what three clicks change, stop it."""
    from ensemble.serving.commands import recommend_command
    from ensemble.serving.repository import events_folder, find_repository, takes_events
    from ensemble.serving.triton import TritonServer
    from ensemble.stream.clicks import click

    slate_size = min(5, config.chain.slate_size)
    repository = find_repository(run.root, config.chain.product_layouts[0])
    with TritonServer(repository, events=events_folder(run.root, repository)) as server:
        for url in (server.grpc_url, server.http_url):
            console.say(f"demo: asking {url}")
            recommend_command(url, users, slate_size=slate_size)
            if url == server.grpc_url:
                console.say(f"demo: the first slate after {console.duration(time.perf_counter() - started_at)}")
        if takes_events(repository):
            click(server.grpc_url, users[0], slate_size)


def _measure(run: Run, config: Config) -> None:
    """What the slates are worth, and two experiments that are played with them."""
    from ensemble.evaluation.stage import print_summary
    from operations.experiments.two_in_shop import decided_and_refused

    console.say("demo: what are these slates worth?")
    manifest = run.folder("report") / "manifest.json"
    before = manifest.read_bytes() if manifest.is_file() else None
    evaluate_stage(run, config, force=False)
    if manifest.read_bytes() == before:  # it was up to date, and said no figures
        print_summary(run.root)
    for line in decided_and_refused(run, config):
        console.say(f"demo: {line}")


def what_next(out: Path, program: Path) -> list[str]:
    """The lines that end the demo: each a command that works as it is printed.

    Args:
        out: the finished run.
        program: that runs now.
    """
    found = shutil.which("cascade")
    is_elsewhere = program.name == "cascade" and (found is None or Path(found).resolve() != program.resolve())
    cascade, name = shlex.quote(str(program)) if is_elsewhere else "cascade", shlex.quote(str(out))
    return [
        f"look at it: {cascade} console {name}, then open {CONSOLE_URL} in a browser",
        f"the report: {out / 'report' / 'index.html'}",
        f"serve it: {cascade} serve {name}, then {cascade} recommend --user-id 17",
        f"your own tables: {cascade} init events.csv items.csv --out mine.toml writes a config for them",
        f"the whole shop: {cascade} run --config configs/shop.toml --out runs/shop",
    ]


if __name__ == "__main__":
    run_alone(demo)
