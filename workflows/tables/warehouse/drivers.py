"""The warehouses: one file each, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from workflows.tables.warehouse import bigquery, postgres, snowflake
from workflows.tables.warehouse.address import Address
from workflows.tables.warehouse.connection import Connection

__all__ = ["DRIVERS", "Driver"]


class Driver(NamedTuple):
    """How one kind of warehouse is opened.

    Attributes:
        connect: from an address and the environment to an open connection; SetupError without its package.
        remedy: what a person can do about an error that its package raised; "" where nothing particular is known.
    """

    connect: Callable[[Address, Mapping[str, str]], Connection]
    remedy: Callable[[Exception], str]


DRIVERS: Mapping[str, Driver] = {
    "postgresql": Driver(postgres.connect, postgres.remedy),
    "snowflake": Driver(snowflake.connect, snowflake.remedy),
    "bigquery": Driver(bigquery.connect, bigquery.remedy),
}
