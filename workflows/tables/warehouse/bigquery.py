"""BigQuery, by Google's client: rows come as Arrow, from the Storage API where its package is installed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from workflows.core.errors import ConfigError
from workflows.tables.warehouse.address import Address
from workflows.tables.warehouse.connection import Column, Rows, check_driver

__all__ = ["BigQuery", "connect", "remedy"]

PARAMETERS = ("location", "endpoint", "credentials")
GIVE_UP_AFTER_S = 30.0
# Type of a column -> the SQL that makes text of it, where tables do not know it.
AS_TEXT = {
    "BIGNUMERIC": "CAST({0} AS STRING)",
    "TIME": "CAST({0} AS STRING)",
    "INTERVAL": "CAST({0} AS STRING)",
    "BYTES": "TO_BASE64({0})",
    "GEOGRAPHY": "ST_ASTEXT({0})",
    "JSON": "TO_JSON_STRING({0})",
    "RECORD": "TO_JSON_STRING({0})",
    "STRUCT": "TO_JSON_STRING({0})",
    "RANGE": "TO_JSON_STRING({0})",
}
LOGIN = "set GOOGLE_APPLICATION_CREDENTIALS to a key file, log in with gcloud, or add ?credentials=FILE to data.source"
WORDS = {
    "credentials": LOGIN,
    "Could not deserialize": LOGIN,
    "readsessions": "give this account the role BigQuery Read Session User, or remove google-cloud-bigquery-storage",
    "Access Denied": "correct the name, or give this account the right to read it",
    "Not found": "correct the name, with its dataset and, where it is not the one of data.source, its project",
    "not found in FROM": "correct the column in the query",
    "Unrecognized name": "correct the column in the query",
    "yntax error": "correct the query",
    "Max retries": "check that BigQuery can be reached from here, and run the same command again",
    "onnection": "check that BigQuery can be reached from here, and run the same command again",
    "imeout": "check that BigQuery can be reached from here, and run the same command again",
}


def connect(address: Address, environment: Mapping[str, str]) -> BigQuery:
    """Make a client; credentials are found as Google's libraries find them.

    Raises:
        SetupError: the client is not installed.
        ConfigError: there is no project, or a parameter is unknown.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the end of support for this Python, some day
        check_driver("google.cloud.bigquery", "google-cloud-bigquery", "bigquery")
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery
        from google.oauth2 import service_account

        given = address.parameters
        if unknown := sorted(set(given) - set(PARAMETERS)):
            raise ConfigError(f"data.source: unknown parameter {unknown[0]!r}; expected one of {', '.join(PARAMETERS)}")
        project = address.host or environment.get("GOOGLE_CLOUD_PROJECT", "")
        if not project:
            raise ConfigError("data.source: expected bigquery://PROJECT/DATASET, got no project; name it")
        address.hide(environment.get("GOOGLE_APPLICATION_CREDENTIALS"))
        credentials = None
        if "credentials" in given:
            credentials = _of_file(service_account.Credentials, given["credentials"])
        elif given.get("endpoint", "").startswith("http://"):  # an emulator; a secret never travels in clear
            credentials = AnonymousCredentials()
        client = bigquery.Client(
            project=project,
            credentials=credentials,
            location=given.get("location"),
            client_options=ClientOptions(api_endpoint=given["endpoint"]) if "endpoint" in given else None,
            default_query_job_config=bigquery.QueryJobConfig(
                default_dataset=f"{project}.{address.path[0]}" if address.path else None
            ),
        )
        return BigQuery(client, None if "endpoint" in given else _storage(client))


def _of_file(kind: Any, path: str) -> Any:
    try:
        return kind.from_service_account_file(path)
    except (OSError, ValueError):
        raise ConfigError(
            "data.source: the file of credentials cannot be read as a service account's key; correct it, or leave it "
            "out and set GOOGLE_APPLICATION_CREDENTIALS"
        ) from None


def _storage(client: Any) -> Any:
    """A client of the Storage API, which sends Arrow; None without its package, and rows come in pages."""
    try:
        from google.cloud.bigquery_storage import BigQueryReadClient
    except ImportError:
        return None
    return BigQueryReadClient(credentials=client._credentials)


class BigQuery:
    """A client; each query reads what there is when it starts."""

    in_capitals = False
    draw = "rand()"

    def __init__(self, client: Any, storage: Any) -> None:
        self._client, self._storage = client, storage

    def columns(self, select: str) -> dict[str, Column]:
        """As in `Connection`; a dry run, which costs nothing."""
        from google.cloud.bigquery import QueryJobConfig

        found = {}
        for field in self._query(select, QueryJobConfig(dry_run=True, use_query_cache=False)).schema:
            sql = AS_TEXT.get(field.field_type, "{0}") if field.mode != "REPEATED" else "{0}"
            found[field.name] = Column(sql.format(self.quoted(field.name)), is_decimal=field.field_type == "BIGNUMERIC")
        return found

    def read(self, select: str) -> Rows:
        """As in `Connection`."""
        # Of each round trip, not of the query; Google's own patience with a lost connection is ten minutes.
        rows = self._query(select).result(retry=_patient())
        batches = iter(rows.to_arrow_iterable(bqstorage_client=self._storage))
        first = next(batches, None)
        if first is None:
            import pyarrow as pa

            return Rows(pa.schema([]), iter(()))
        return Rows(first.schema, (batch for some in ([first], batches) for batch in some))

    def quoted(self, name: str) -> str:
        """As in `Connection`."""
        return f"`{name}`"

    def close(self) -> None:
        """As in `Connection`."""
        self._client.close()

    def _query(self, select: str, config: Any = None) -> Any:
        patience = {"retry": _patient(), "timeout": GIVE_UP_AFTER_S}
        return self._client.query(select, job_config=config, job_retry=None, **patience)


def _patient() -> Any:
    from google.cloud.bigquery.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(GIVE_UP_AFTER_S)


def remedy(error: Exception) -> str:
    """What a person can do, by the words of the error."""
    return next((way_out for words, way_out in WORDS.items() if words in str(error)), "")
