"""Find the Delta and Iceberg tables that data.events, data.items, data.users or a given split name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from workflows.core.errors import DataError
from workflows.tables.lake.delta import open_delta
from workflows.tables.lake.iceberg import open_iceberg
from workflows.tables.lake.kinds import READ, format_of_folder
from workflows.tables.lake.snapshot import Snapshot, told
from workflows.tables.source import Source
from workflows.tables.trees import LocalTree

__all__ = ["find_snapshots"]

OPEN: dict[str, Callable[[str, str, int | None], Snapshot]] = {"Delta": open_delta, "Iceberg": open_iceberg}


class Named(NamedTuple):
    """What a spec names."""

    folder: str
    version: int | None
    format: str


def find_snapshots(table: str, specs: Sequence[str]) -> Source | None:
    """The tables that folders hold, at their newest versions or those of FOLDER@VERSION; None where files are named.

    Args:
        table: what the table is called in messages.
        specs: paths.

    Raises:
        DataError: a table is named beside files or tables of another format, or cannot be read.
        SetupError: the package that reads it is not installed.
    """
    found = [_named(table, spec) for spec in specs]
    formats = {one.format for one in found if one}
    if not formats:
        return None
    if len(formats) > 1 or not all(found):
        kinds = " and ".join(
            [*(f"a table in {format} format" for format in sorted(formats)), *["files"][: not all(found)]]
        )
        raise DataError(f"{table}: expected tables of one format, got {kinds} in {list(specs)}; name one kind")
    snapshots: list[Snapshot] = []
    for one in filter(None, found):
        with told(table, one.folder, one.format):
            snapshots.append(OPEN[one.format](table, one.folder, one.version))
    return Source(table, [one.folder for one in found if one], formats.pop(), snapshots)


def _named(table: str, spec: str) -> Named | None:
    scheme, separator, rest = spec.partition("://")
    if separator and scheme not in ("file", "local"):
        return None
    path = (rest if separator else spec).rstrip("/")
    tree = LocalTree(table)
    folder, at, version = path.rpartition("@")
    if not tree.exists(path) and at and version.isdecimal() and tree.is_folder(folder):
        format = format_of_folder(tree, folder, tree.names(folder))
        return Named(folder, int(version), format) if format in READ else None
    if not path or not tree.is_folder(path):
        return None
    format = format_of_folder(tree, path, tree.names(path))
    return Named(path, None, format) if format in READ else None
