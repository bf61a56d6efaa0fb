"""What of a folder is read: nothing that is hidden, and nothing where a table format decides which files count."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from workflows.core import console
from workflows.core.errors import DataError
from workflows.tables.formats import has_known_format
from workflows.tables.lake.kinds import MARKS, READ, format_of_folder
from workflows.tables.trees import Names, Tree, joined

__all__ = ["Visible", "is_hidden", "key_of"]

MAX_SHOWN = 3


def is_hidden(name: str) -> bool:
    """Whether a name is hidden as Spark and Hive see it: .NAME and _NAME are, but not the partition _KEY=VALUE."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def key_of(table: str) -> str:
    """The config key of a table's files: data.events; split.train is one as it stands."""
    return table if "." in table else f"data.{table}"


class Visible:
    """Leaves out what is hidden and what is no table, and says so.

    Args:
        table: what the table is called in messages.
        tree: where the folders are.
        asked: the parts of a glob; hidden names that match one of those that start with . or _ are read.
    """

    def __init__(self, table: str, tree: Tree, asked: Sequence[str] = ()) -> None:
        self.table, self.tree = table, tree
        self._asked = [pattern for pattern in asked if pattern.startswith((".", "_"))]
        self._hidden: list[str] = []

    def enter(self, folder: str, names: Names) -> Names:
        """The names of a folder that are read.

        Raises:
            DataError: the folder is a table of another format.
        """
        self.refuse_table(folder, names)
        return self.shown(folder, names)

    def shown(self, folder: str, names: Names) -> Names:
        """Those of some names in a folder that are not hidden; the others are remembered."""
        hidden = {n for n in names if is_hidden(n) and not any(fnmatchcase(n, pattern) for pattern in self._asked)}
        self._hidden += [joined(folder, name) + ("/" if names[name] else "") for name in hidden]
        return {name: is_folder for name, is_folder in names.items() if name not in hidden}

    def refuse_table(self, folder: str, names: Collection[str]) -> None:
        """Refuse a folder of these names that is a Delta, Hudi or Iceberg table.

        Raises:
            DataError: names the format and the way out.
        """
        if format := format_of_folder(self.tree, folder, names):
            key = key_of(self.table)
            itself = f"set {key} to {folder} itself, or " if format in READ and "://" not in folder else ""
            raise DataError(
                f"{self.table}: {folder} is a table in {format} format, whose Parquet files also hold rows that were "
                f"deleted or overwritten since; {itself}write its current rows as plain Parquet files with what reads "
                f"{format} (Spark, DuckDB, Polars) and set {key} to them"
            )

    def refuse_table_above(self, folder: str) -> None:
        """Refuse a folder within a Delta, Hudi or Iceberg table.

        Raises:
            DataError: as `refuse_table`.
        """
        inner = ""
        for holder in self.tree.above(folder):
            is_data = inner == "data"
            names = [*MARKS, *(["metadata"] if is_data else [])]
            self.refuse_table(holder, [name for name in names if self._is_there(joined(holder, name))])
            inner = holder.rstrip("/").rsplit("/", 1)[-1]

    def _is_there(self, path: str) -> bool:
        """False also where the rights end: above the files of the table they often do."""
        try:
            return self.tree.exists(path)
        except DataError:
            return False

    def tables_of(self, files: Sequence[str]) -> list[str]:
        """The Parquet and CSV files among those found; says what else there is, but for files hidden by other tools.

        A hidden file of another format, such as _SUCCESS or .part-0.parquet.crc, belongs to the tool that wrote it.
        """
        hidden = [path for path in self._hidden if path.endswith("/") or has_known_format(path)]
        others = [file for file in files if not has_known_format(file)]
        for left_out, why in ((hidden, "hidden"), (others, "neither Parquet nor CSV")):
            if left_out:
                shown = ", ".join(sorted(set(left_out))[:MAX_SHOWN])
                more = ", ..." if len(set(left_out)) > MAX_SHOWN else ""
                console.say(f"data: {self.table}: left out {len(set(left_out))} that are {why} ({shown}{more})")
        return [file for file in files if has_known_format(file)]
