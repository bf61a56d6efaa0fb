"""`python -m benchmarks worker`: how fast a worker takes events from a topic into a state on Redis."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import one_sentence_errors

__all__ = ["worker"]


@one_sentence_errors
def worker(
    store: Annotated[str, typer.Option(help="redis:// URL of a server on this machine; nothing in it is touched.")],
    events: Annotated[int, typer.Option(min=1, help="Events in the topic.")] = 400_000,
    users: Annotated[int, typer.Option(min=1, help="Users, drawn evenly.")] = 100_000,
    items: Annotated[int, typer.Option(min=1, help="Items, drawn evenly.")] = 100_000,
    batch: Annotated[int, typer.Option(min=1, help="Most messages of one commit.")] = 4096,
) -> None:
    """Measure a worker on librdkafka's mock cluster and a Redis or Valkey server."""
    from benchmarks.stream.worker import measure_worker

    rate = measure_worker(store, events, users, items, batch)
    typer.echo(
        f"{rate.num_events:,} events, {rate.per_cpu_s:,.0f} a second of the worker's CPU, {rate.per_s:,.0f} a second"
    )


if __name__ == "__main__":
    typer.run(worker)
