"""What a run says, as pandas frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workflows.core.errors import ArtefactError, CascadeError

if TYPE_CHECKING:
    import pandas as pd

    from operations.why.funnel import Funnel

__all__ = ["history", "metrics", "of_items", "parquet", "raw", "slate", "sources", "table"]

SOURCE_COLUMNS = ("source", "weight", "quota", "found", "candidates", "alone", "shown")


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise CascadeError("cascade_api gives frames of pandas, which is not installed: pip install pandas") from None
    return pandas


def table(rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A frame of rows."""
    frame: pd.DataFrame = _pandas().DataFrame.from_records(list(rows), columns=list(columns))
    return frame


def parquet(path: Path) -> pd.DataFrame:
    """A frame of a Parquet file.

    Raises:
        ArtefactError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _pandas()
    try:
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise ArtefactError(f"{path} cannot be read ({reason}); run its stage again with --force") from None
    return frame


def metrics(report: Mapping[str, Any]) -> pd.DataFrame:
    """The figures of each source, see `cascade_api.Run.metrics`."""
    of_chance = (report.get("random_display") or {}).get("sources", {})
    rows = [
        (displayed, source, metric, figure["value"], *(_number(figure.get(edge)) for edge in ("low", "high")))
        for displayed, found in (("policy", report["sources"]), ("chance", of_chance))
        for source, figures in found.items()
        for metric, figure in figures.items()
        if isinstance(figure, Mapping) and "value" in figure
    ]
    return table(rows, ("displayed_by", "source", "metric", "value", "low", "high"))


def sources(funnel: Funnel) -> pd.DataFrame:
    """What each source that was asked found."""
    rows = [
        (each.name, each.weight, each.quota, each.count, each.num_candidates, each.num_alone, each.num_shown)
        for each in funnel.found
        if each.is_queried
    ]
    return table(rows, SOURCE_COLUMNS)


def history(funnel: Funnel, ids: NDArray) -> pd.DataFrame:
    """What the user has interacted with, the latest first."""
    rows = [(raw(ids[each.row].item()), each.origin) for each in funnel.history]
    return table(rows, ("item_id", "known_from"))


def slate(funnel: Funnel, ids: NDArray, described: pd.DataFrame | None) -> pd.DataFrame:
    """The items of a slate by place, see `cascade_api.Run.slate`."""
    pandas, shown = _pandas(), funnel.slate
    columns = {
        "score": np.array([each.score for each in shown], np.float32),
        "merged_place": pandas.array([each.merged_place for each in shown], dtype="Int64"),
        "sources": [", ".join(f"{name} {at}" for name, at in each.sources.items()) for each in shown],
    }
    frame = of_items(np.array([each.row for each in shown], np.int64), ids, columns, described)
    frame.index = pandas.RangeIndex(1, len(frame) + 1, name="place")
    return frame


def of_items(rows: NDArray, ids: NDArray, columns: Mapping[str, Any], described: pd.DataFrame | None) -> pd.DataFrame:
    """A row an item: its raw id, some columns, and what the table of the items says of it."""
    frame: pd.DataFrame = _pandas().DataFrame({"item_id": [raw(ids[row].item()) for row in rows.tolist()], **columns})
    if described is None:
        return frame
    more = described.iloc[rows].reset_index(drop=True)
    return frame.join(more[[name for name in more.columns if name not in frame.columns]])


def raw(value: int | bytes | str) -> int | str:
    """A raw id as Python has it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
