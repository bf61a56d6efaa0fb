"""`cascade log collect --view`: what was collected, by the column names of tables of other servers.

A view is SQL for DuckDB in MON/views/: the rows stay where they are, and the names are there the next time that
somebody runs the file. A row is a request and user, as in MON; its own columns follow those of the other server.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from operations.folder import REQUESTS, Change

__all__ = ["VIEWS", "view_sql", "write_view"]

FOLDER = "views"

# What both of them are: a row that is not of the sample stands for no share of the requests.
SHARE = "CASE WHEN weight > 0 THEN 1 / weight END"
ASKED = "to_json({user_row: user_row, recent: recent, excluded: excluded, slate_size: slate_size})"
ANSWERED = "to_json({item_rows: item_rows, scores: scores, num_items: num_items, path: path, error: error})"
VIEWS: Mapping[str, Mapping[str, str]] = {
    # CloudEvents of the logger, of which this is the response with what it answered.
    "kserve": {
        "id": "request_id",
        "specversion": "'1.0'",
        "type": "'org.kubeflow.serving.inference.response'",
        "source": "'cascade/' || model_version",
        "time": '"at"',
        "datacontenttype": "'application/json'",
        "inferenceservicename": "'cascade'",
        "component": "'predictor'",
        "data": ANSWERED,
    },
    # Inference tables of a served model.
    "databricks": {
        "databricks_request_id": "lower(hex(slate_key))",
        "client_request_id": "request_id",
        "date": 'CAST("at" AS DATE)',
        "timestamp_ms": 'epoch_ms("at")',
        "status_code": "CASE WHEN error IS NULL THEN 200 ELSE 400 END",
        "sampling_fraction": SHARE,
        "execution_time_ms": "service_us / 1000",
        "request": ASKED,
        "response": ANSWERED,
        "request_metadata": "MAP {'model_name': 'cascade', 'model_version': CAST(model_version AS VARCHAR)}",
    },
    # Data that an endpoint captures.
    "sagemaker": {
        "eventId": "lower(hex(slate_key))",
        "inferenceId": "request_id",
        "inferenceTime": '"at"',
        "eventVersion": "'0'",
        "endpointInput": ASKED,
        "endpointOutput": ANSWERED,
    },
}


def write_view(folder: Path, name: str) -> Path:
    """Write a view of MON, which is held.

    Returns:
        The file.

    Raises:
        KeyError: VIEWS has no such name.
    """
    path = folder / FOLDER / f"{name}.sql"
    change = Change(folder)
    change.place(path).write_text(view_sql(folder, name))
    change.commit()
    return path


def view_sql(folder: Path, name: str) -> str:
    """The statement that makes a view of MON."""
    files = str(folder.absolute() / REQUESTS / "chain=*" / "date=*" / "*.parquet").replace("'", "''")
    columns = [f'  {value} AS "{column}",' for column, value in VIEWS[name].items()]
    # Chains differ in their columns of context; folders say what columns say too.
    source = f"read_parquet('{files}', union_by_name = true, hive_partitioning = false)"
    return "\n".join([f"CREATE OR REPLACE VIEW {name} AS SELECT", *columns, "  *", f"FROM {source};", ""])
