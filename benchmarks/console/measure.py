"""`python -m benchmarks console`: how long each page takes, in CPU and by the clock."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from benchmarks.console.serving import PageAnswer, Pages, serving
from benchmarks.result import Benchmark, Cell, Table, command_line, judge
from console.catalogue import text
from console.site import Site
from runtime.step import load_array
from workflows.core import console
from workflows.core.run import Run

__all__ = ["measure_console"]

TARGET_MS = 300.0
LOOK_EACH_S = 2.0
SUMMARY = """Each page of the console is asked for over HTTP, one at a time, each time of another user and item drawn at
random, after one that is not counted. CPU is that of the process, which holds the console, the chain and what asks; by
the clock is until the whole page is there, and on a busy machine says how busy it is. Who gets an item is worked out
before the Item page is timed; its CPU has a line of its own. The pages of collected requests need `--monitor MON`."""

Address = Callable[[str, str], str]


def measure_console(run: Run, monitor: Path | None, times: int, seed: int) -> Benchmark:
    """Time every page.

    Args:
        run: exported.
        monitor: MON; None: the pages of it are not timed.
        times: that each page is asked for.
        seed: of the users and items.

    Raises:
        ArtefactError: the run has no export.
        ServingError: a page is an error.
    """
    site = Site(run.root, monitor=monitor, beside=run.root)
    with site.chain() as chain:
        spec, folder = chain.explainer.nodes.spec, chain.explainer.served.folder
        drawn = np.random.default_rng(seed)
        ids = [load_array(folder / f"ids/{name}.npy") for name in ("users", "items")]
        chosen = [[text(each[at].item()) for at in drawn.integers(0, len(each), times + 1)] for each in ids]
        is_streamed = spec.live is not None
    with serving(site) as pages:
        sample = _sample_cpu_s(pages, chosen[1][0])
        addresses, found = _pages(pages, is_streamed, monitor is not None), dict[str, list[PageAnswer]]()
        with console.progress("console", len(addresses), "pages") as bar:
            for name, address in addresses:
                found[name] = [pages.get(address(user, item)) for user, item in zip(*chosen, strict=True)][1:]
                bar.advance(bar.task_ids[0], 1)
    return _result(found, spec.num_items, spec.num_users, times, sample, monitor is not None)


def _pages(pages: Pages, is_streamed: bool, is_monitored: bool) -> list[tuple[str, Address]]:
    """Each page by its name, and its address of a user and an item."""
    found: list[tuple[str, Address]] = [
        ("Overview", lambda user, item: "/"),
        ("User, before anybody is chosen", lambda user, item: "/user"),
        ("User", lambda user, item: _user(user=user)),
        ("User, a click changes the slate", lambda user, item: _user(user=user, recent=item)),
        ("User, why an item", lambda user, item: _user(user=user, item=item)),
        ("Item", lambda user, item: f"/item?{urlencode({'id': item})}"),
        ("Experiments", lambda user, item: "/experiments"),
        ("Compare", lambda user, item: f"/compare?{urlencode({'user': user})}"),
    ]
    if is_streamed:
        found.append(("Events", lambda user, item: "/events"))
    if is_monitored:
        listed = re.findall(r'href="(/request\?[^"]+)"', pages.get("/requests").body)
        found += [("Request log", lambda user, item: "/requests"), ("Signals", lambda user, item: "/signals")]
        if listed:
            found.append(("Request", lambda user, item: unescape(listed[0])))
    return found


def _user(**asked: str) -> str:
    return f"/user?{urlencode(asked)}"


def _sample_cpu_s(pages: Pages, item: str) -> float:
    """CPU of working out who gets an item, the pages included that say how far it is."""
    begun, address = time.process_time(), f"/item?{urlencode({'id': item})}"
    while "data-live" in pages.get(address).body:
        time.sleep(LOOK_EACH_S)
    return time.process_time() - begun


def _result(
    found: Mapping[str, Sequence[PageAnswer]],
    num_items: int,
    num_users: int,
    times: int,
    sample_s: float,
    is_monitored: bool,
) -> Benchmark:
    cpu = {name: np.array([asked.cpu_s for asked in each]) * 1e3 for name, each in found.items()}
    wall = {name: np.array([asked.wall_s for asked in each]) * 1e3 for name, each in found.items()}
    lines: list[list[Cell]] = [
        [
            name,
            *(float(np.percentile(times_ms[name], share)) for times_ms in (cpu, wall) for share in (50, 95)),
            len(found[name][-1].body) / 1024,
        ]
        for name in found
    ]
    slowest = max(found, key=lambda name: float(np.median(cpu[name])))
    by_clock = max(found, key=lambda name: float(np.median(wall[name])))
    return Benchmark(
        name="console",
        title="Pages of the console",
        summary=SUMMARY,
        command=command_line("console", {"times": times}, ["--monitor MON"] if is_monitored else []),
        settings={"items": num_items, "users": num_users, "times": times},
        figures=[
            Table("", ["page", "CPU p50, ms", "CPU p95, ms", "by the clock p50, ms", "p95, ms", "size, KiB"], lines),
            Table("", ["who gets an item, of all items at once: CPU, s"], [[sample_s]]),
        ],
        targets=[
            judge(f"CPU of the slowest page ({slowest}), p50, ms", float(np.median(cpu[slowest])), "<=", TARGET_MS),
            judge(f"the slowest by the clock ({by_clock}), p50, ms", float(np.median(wall[by_clock])), "<=", TARGET_MS),
        ],
    )
