"""What the pages say of an item: its id, and what the table of the run knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from numpy.typing import NDArray

from operations.why.question import UnknownItem, row_of
from operations.why.served import Served
from runtime.spec import ChainSpec
from workflows.core.artefacts import read_manifest
from workflows.core.errors import CascadeError

__all__ = ["Catalogue", "Named", "text"]

# Columns that name an item, the first one that is there; else these many others describe it.
TITLES = ("title", "name", "product_name", "item_name", "prod_name", "headline")
MOST_WORDS = 3


@dataclass(frozen=True)
class Named:
    """An item on a page: its raw id as text, what it is, and the address of its page."""

    id: str
    words: str

    @property
    def address(self) -> str:
        """Of the item's page."""
        return f"/item?id={quote(self.id, safe='')}"


class Catalogue:
    """The items of a served chain.

    Args:
        served: the chain.
        spec: its sizes.
        ids: raw item ids by row.

    Attributes:
        table: data/items.parquet of the run by item row; None where it is not known, or of another state of the run.
    """

    def __init__(self, served: Served, spec: ChainSpec, ids: NDArray) -> None:
        self._spec, self._ids = spec, ids
        self.table: Any = _table(served, len(ids))
        self._columns = [] if self.table is None else _describing(self.table, served)

    def item(self, row: int) -> Named:
        """An item by its row."""
        values = [self.table[name][row].as_py() for name in self._columns]
        return Named(text(self._ids[row].item()), " · ".join(_word(value) for value in values if value is not None))

    def known(self, item: str) -> Named:
        """An item by its raw id as text."""
        try:
            return self.item(row_of(item, self._spec, self._ids))
        except UnknownItem:
            return Named(item, "not in the catalogue")

    def holds(self, item: str) -> bool:
        """Whether a raw id as text is of the catalogue."""
        try:
            row_of(item, self._spec, self._ids)
        except UnknownItem:
            return False
        return True

    def values(self, row: int) -> dict[str, str]:
        """What the table knows of an item, by column."""
        if self.table is None:
            return {}
        return {name: _word(self.table[name][row].as_py()) for name in self.table.column_names}


def text(value: int | bytes | str) -> str:
    """A raw id as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _table(served: Served, num_items: int) -> Any:
    """None where the table of items is not there, or not the one that was exported."""
    if served.root is None:
        return None
    path = served.root / "data" / "items.parquet"
    try:
        exported = read_manifest(served.root / "repo")
        if not path.is_file() or read_manifest(served.root / "data").content != exported.after.get("data"):
            return None
        import pyarrow.parquet as pq

        table = pq.read_table(path)
    except (CascadeError, OSError):
        return None
    return table.combine_chunks() if table.num_rows == num_items else None


def _describing(table: Any, served: Served) -> list[str]:
    """The columns by which a person knows an item."""
    import pyarrow.types as kinds

    by_lower = {name.lower(): name for name in table.column_names}
    if title := next((by_lower[name] for name in TITLES if name in by_lower), None):
        return [title]
    own = read_manifest(served.root / "repo").config["data"].get("item_id", "item_id") if served.root else ""
    plain = [
        field.name
        for field in table.schema
        if field.name != own
        and (kinds.is_string(field.type) or kinds.is_large_string(field.type) or kinds.is_floating(field.type))
    ]
    return plain[:MOST_WORDS]


def _word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
