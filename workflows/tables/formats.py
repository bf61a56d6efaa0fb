"""The formats of tables, by the ends of file names."""

from __future__ import annotations

from workflows.core.errors import DataError

__all__ = ["format_of", "has_known_format"]

FORMATS = {"parquet": "Parquet", "pq": "Parquet", "csv": "CSV", "tsv": "CSV", "csv.gz": "CSV", "tsv.gz": "CSV"}


def has_known_format(file: str) -> bool:
    """Whether a file's name ends as that of a Parquet or CSV file."""
    return _extension(file) in FORMATS


def format_of(table: str, file: str) -> str:
    """ "Parquet" or "CSV".

    Raises:
        DataError: the file's name ends otherwise.
    """
    if not has_known_format(file):
        raise DataError(f"{table}: expected a name that ends in {', '.join(FORMATS)}, got {file}")
    return FORMATS[_extension(file)]


def _extension(file: str) -> str:
    parts = file.rsplit("/", 1)[-1].lower().split(".")
    return ".".join(parts[-2:]) if parts[-1] == "gz" else parts[-1]
