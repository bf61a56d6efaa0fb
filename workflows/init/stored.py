"""What a config says of a table of a warehouse: its name, or a query where the name alone would not do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

__all__ = ["Stored"]


class Stored(msgspec.Struct, frozen=True):
    """A table of a warehouse, of which a sample was read.

    Attributes:
        spec: as the person named it.
        source: what stands behind FROM.
        num_rows: how many it has.
        names: column -> its name there, quoted.
        reads: column -> the SQL that reads it there.
        quoted: column -> its name in quotes of the warehouse.
        decimals: columns that come as text of decimal numbers.
    """

    spec: str
    source: str
    num_rows: int
    names: Mapping[str, str]
    reads: Mapping[str, str]
    quoted: Mapping[str, str]
    decimals: Sequence[str]

    def select(self, columns: Sequence[str], where: str = "") -> str:
        """A query of some columns, as rows are read for a sample."""
        asked = ", ".join(f"{self.reads[name]} AS {self.quoted[name]}" for name in columns)
        return f"SELECT {asked} FROM {self.source}" + (f" WHERE {where}" if where else "")

    def query(self, renamed: Mapping[str, str], known: Sequence[str]) -> str:
        """A query for the config, in one line where the person's own has one.

        Args:
            renamed: column -> its new name, in quotes.
            known: columns of which every row has a value.
        """
        left = [name for name in self.names if self.quoted[name] not in renamed.values() or name in renamed]
        asked = ", ".join(
            f"{self.names[name]} AS {new}" if (new := renamed.get(name, self.quoted[name])) != self.names[name] else new
            for name in left
        )
        where = " AND ".join(f"{self.names[name]} IS NOT NULL" for name in known)
        source = self.source.replace("(\n", "(").replace("\n)", ")") if "--" not in self.source else self.source
        return f"SELECT {asked} FROM {source}" + (f" WHERE {where}" if where else "")
