"""`cascade demo`: every stage, then a served slate over both protocols, then stop. What `make demo` runs."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from scripts.common import ConfigOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.export import PublishOption
from scripts.run import all_stages
from workflows.core import console

__all__ = ["demo"]

UserOption = Annotated[list[str], typer.Option("--user-id", help="Users to ask slates for; repeatable.")]
UNKNOWN_USER = "999999999"


@one_sentence_errors
def demo(
    config: ConfigOption = Path("configs/shop.toml"),
    out: OutOption = Path("runs/shop"),
    overrides: SetOption = [],
    publish: PublishOption = None,
    user_id: UserOption = ["17", "42", UNKNOWN_USER],
) -> None:
    """Run all stages, serve the result, ask for slates over gRPC and HTTP, print the quality and two experiments."""
    started_at = time.perf_counter()
    run, resolved = resolve(config, out, overrides)
    all_stages(run, resolved, publish, force=False)

    from ensemble.evaluation.stage import print_summary
    from ensemble.serving.commands import recommend_command
    from ensemble.serving.repository import events_folder, find_repository, takes_events
    from ensemble.serving.triton import TritonServer
    from ensemble.stream.clicks import click
    from operations.experiments.two_in_shop import decided_and_refused

    slate_size = min(5, resolved.chain.slate_size)
    repository = find_repository(out, resolved.chain.product_layouts[0])
    with TritonServer(repository, events=events_folder(out, repository)) as server:
        for url in (server.grpc_url, server.http_url):
            console.say(f"demo: asking {url}")
            recommend_command(url, user_id, slate_size=slate_size)
        if takes_events(repository):
            click(server.grpc_url, user_id[0], slate_size)
    print_summary(out)
    for line in decided_and_refused(run, resolved):
        console.say(f"demo: {line}")
    took = console.duration(time.perf_counter() - started_at)
    console.say(f"demo: done in {took}; serve it with: cascade serve {shlex.quote(str(out))}")


if __name__ == "__main__":
    typer.run(demo)
