"""By what a folder gives itself away as a table whose Parquet files also hold rows that no longer count."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from workflows.tables.trees import Tree, joined

__all__ = ["MARKS", "READ", "format_of_folder"]

MARKS = {"_delta_log": "Delta", ".hoodie": "Hudi", ".hoodie_partition_metadata": "Hudi"}
ICEBERG_FILES = ("v[0-9]*.metadata.json", "[0-9][0-9][0-9][0-9][0-9]-*.metadata.json")
# Those that are read where data.events names their folder.
READ = ("Delta", "Iceberg")


def format_of_folder(tree: Tree, folder: str, names: Collection[str]) -> str:
    """ "Delta", "Hudi" or "Iceberg"; "" for any other folder.

    Args:
        tree: where the folder is.
        folder: its path.
        names: of its files and folders.
    """
    if found := next((MARKS[name] for name in names if name in MARKS), ""):
        return found
    if "metadata" in names and tree.is_folder(metadata := joined(folder, "metadata")):
        inside = tree.names(metadata)
        return "Iceberg" if any(fnmatchcase(n, pattern) for n in inside for pattern in ICEBERG_FILES) else ""
    return ""
