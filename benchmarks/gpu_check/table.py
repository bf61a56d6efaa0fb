"""gpu.json as a page for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["table"]

HEAD = "| {} | users a call | p50 ms | users/s | {} |\n|---|---|---|---|---|"
BATCH = "| {name} | {users} | {p50_ms:.3f} | {users_per_s:,.0f} | {more} |"


def table(record: dict[str, Any]) -> str:
    """Markdown.

    Args:
        record: what gpu.json holds, perhaps of a run that was cut off.
    """
    return "\n".join(_lines(record)) + "\n"


def _lines(record: dict[str, Any]) -> Iterator[str]:
    parts = record["parts"]
    machine = parts.get("machine", {})
    packages = ", ".join(f"{name} {version}" for name, version in machine.get("packages", {}).items())
    yield f"# {machine.get('name', 'a GPU')}"
    yield f"\nDriver {machine.get('driver') or 'unknown'}, Python {machine.get('python', '?')}, {packages}."
    if record["scale"] != 1.0 or record["device"] != "cupy":
        yield f"\n**A rehearsal**: {record['device']}, catalogues times {record['scale']:g}. No figure here is a GPU's."
    if "copy_tb_per_s" in machine:
        yield f"\nA copy moves {machine['copy_tb_per_s']:.2f} TB/s, read and written."
    if "float32_tflops" in machine:
        yield f"A float32 product runs at {machine['float32_tflops']:.1f} TFLOP/s."
    yield "\n| part | result | seconds |\n|---|---|---|"
    for name, said in parts.items():
        yield f"| {name} | {_result(said)} | {said['seconds']:.0f} |"
    searches = {name: said for name, said in parts.items() if name.startswith("search") and "float32" in said}
    if searches:
        yield "\n" + HEAD.format("search", "share of bandwidth, in the pass alone / of matrix rate")
        for name, said in searches.items():
            for dtype in ("float32", "float16"):
                yield from _batches(f"{name[7:]} {dtype}", said.get(dtype, {}).get("batches", {}))
    if any("searches" in said for said in parts.values()):
        yield "\n" + HEAD.format("search", "recall@200, filters on")
        yield from _compared(parts)
    wholes = {name: said for name, said in parts.items() if name.startswith("whole") and "batches" in said}
    if wholes:
        yield "\n" + HEAD.format("query to slate", "p99 ms")
        for name, said in wholes.items():
            yield from _batches(f"{name[6:]} items, {said['device_gib']:.1f} GiB", said["batches"])


def _compared(parts: dict[str, Any]) -> Iterator[str]:
    """Our search of each part beside the index that it was compared with."""
    for name, said in parts.items():
        for search, of_one in said.get("searches", {}).items():
            for users, times in of_one["batches"].items():
                more = f"{of_one['recall']:.4f}"
                yield BATCH.format(
                    name=search if search != "ours" else f"{name}: ours", users=users, more=more, **times
                )


def _result(said: dict[str, Any]) -> str:
    if "error" in said:
        return f"**{said['error']}**"
    if "skipped" in said:
        return f"skipped: {said['skipped']}"
    if "counts" in said:
        return ", ".join(f"{count} {what}" for what, count in said["counts"].items())
    if slates := {name: of for name, of in said.items() if isinstance(of, dict) and "slates" in of}:
        return ", ".join(
            f"{name}: {of['same']} of {of['slates']} slates the same, {of['same_but_for_ties']} but for ties"
            for name, of in slates.items()
        )
    if "build_s" in said:
        return f"built in {said['build_s']:.1f} s"
    if "ranked_rows_per_s" in said:
        return f"{said['ranked_rows_per_s']:,.0f} rows ranked a second"
    if "losses_apart" in said:
        here, there = (said[name]["ms_per_step"] for name in ("cuda", "cpu"))
        return f"{here:.1f} ms a step, CPU {there:.1f}; losses {said['losses_apart']:.2g} apart"
    return "done"


def _batches(name: str, batches: dict[str, dict[str, float]]) -> Iterator[str]:
    for users, times in batches.items():
        more = f"{times['p99_ms']:.3f}"
        if "share_of_bandwidth" in times:
            alone = f", {times['share_of_bandwidth_in_pass']:.0%}" if "share_of_bandwidth_in_pass" in times else ""
            more = f"{times['share_of_bandwidth']:.0%}{alone} / {times['share_of_matrix_rate']:.0%}"
        yield BATCH.format(name=name, users=users, more=more, **times)
