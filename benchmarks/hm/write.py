"""Write articles.csv, customers.csv and transactions_train.csv of any size; the same seed gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from workflows.core import console

__all__ = ["NUM_ARTICLES", "NUM_CUSTOMERS", "NUM_TRANSACTIONS", "write_tables"]

NUM_ARTICLES, NUM_CUSTOMERS, NUM_TRANSACTIONS = 105_542, 1_371_980, 31_788_324
FIRST_DAY, NUM_DAYS = np.datetime64("2018-09-20"), 734
CHUNK = 1_000_000
NUM_POSTAL_CODES = 352_899
# Column of articles.csv -> how many values it has.
CODES = {
    "product_type": 131,
    "product_group": 19,
    "graphical_appearance": 30,
    "colour_group": 50,
    "perceived_colour_value": 8,
    "perceived_colour_master": 20,
    "department": 299,
    "index": 10,
    "index_group": 5,
    "section": 56,
    "garment_group": 21,
}
NAMES_OF_CODES = {"perceived_colour_value": "id", "perceived_colour_master": "id", "colour_group": "code"}
NAMES_OF_CODES |= {"index": "code"}
STATUS = ["ACTIVE", "PRE-CREATE", "LEFT CLUB", None]
NEWS = ["NONE", "Regularly", "Monthly", None]
# A customer buys from a stretch of articles of this share of the catalogue, in this share of the transactions.
TASTE, FAITHFUL = 0.02, 0.6


def write_tables(folder: Path, scale: float = 1.0, seed: int = 1) -> None:
    """Write the three files; transactions are streamed in the order of their days.

    Args:
        folder: where to; created when absent.
        scale: of the real numbers of rows.
        seed: of the draws.
    """
    folder.mkdir(parents=True, exist_ok=True)
    num_articles = max(int(NUM_ARTICLES * scale), 100)
    num_customers = max(int(NUM_CUSTOMERS * scale), 100)
    num_transactions = max(int(NUM_TRANSACTIONS * scale), 1_000)
    rng = np.random.default_rng(seed)
    articles = _article_ids(rng, num_articles)
    customers = _customer_ids(rng, num_customers)
    pacsv.write_csv(_articles(rng, articles), folder / "articles.csv")
    pacsv.write_csv(_customers(rng, customers), folder / "customers.csv")
    writer = None
    for table in _transactions(rng, articles, customers, num_transactions):
        writer = writer or pacsv.CSVWriter(folder / "transactions_train.csv", table.schema)
        writer.write_table(table)
    if writer:
        writer.close()
    console.say(
        f"{folder}: {num_transactions:,} transactions of {num_customers:,} customers and {num_articles:,} articles"
    )


def _article_ids(rng: np.random.Generator, count: int) -> pa.Array:
    """Ten digits, the first of them 0."""
    numbers = np.sort(rng.choice(850_000_000, count, replace=False)) + 108_775_015
    return pa.array(np.char.zfill(numbers.astype("U10"), 10))


def _customer_ids(rng: np.random.Generator, count: int) -> pa.Array:
    """64 hexadecimal digits."""
    digits = rng.bytes(32 * count).hex()
    return pa.array([digits[start : start + 64] for start in range(0, 64 * count, 64)])


def _articles(rng: np.random.Generator, ids: pa.Array) -> pa.Table:
    """What articles are; neighbours in the order of ids are alike."""
    count = len(ids)
    columns: dict[str, Any] = {"article_id": ids, "product_code": pa.array(np.arange(count) // 2 + 108_775)}
    columns["prod_name"] = pa.array([f"Name {number}" for number in rng.integers(0, 45_875, count)])
    for name, values in CODES.items():
        code = (
            np.arange(count) * values // count + (rng.random(count) < 0.2) * rng.integers(0, values, count)
        ) % values
        if name != "product_group":
            columns[f"{name}_{NAMES_OF_CODES.get(name, 'no')}"] = pa.array(code + 1)
        columns[f"{name}_name"] = _named(name, code)
    columns["detail_desc"] = pa.array([f"A piece, with a hem and {number} buttons" for number in range(count)])
    return pa.table(columns)


def _named(name: str, codes: NDArray[np.int64]) -> pa.Array:
    return pa.array([f"{name.replace('_', ' ').capitalize()} {code}" for code in codes.tolist()])


def _customers(rng: np.random.Generator, ids: pa.Array) -> pa.Table:
    count = len(ids)
    ones = pa.array(np.ones(count), mask=rng.random(count) < 0.65)
    return pa.table(
        {
            "customer_id": ids,
            "FN": ones,
            "Active": pa.array(np.ones(count), mask=rng.random(count) < 0.66),
            "club_member_status": pa.array(STATUS).take(pa.array(rng.choice(4, count, p=[0.93, 0.065, 0.001, 0.004]))),
            "fashion_news_frequency": pa.array(NEWS).take(
                pa.array(rng.choice(4, count, p=[0.64, 0.345, 0.003, 0.012]))
            ),
            "age": pa.array(rng.integers(16, 90, count), mask=rng.random(count) < 0.01),
            "postal_code": _customer_ids(rng, NUM_POSTAL_CODES).take(
                pa.array(rng.integers(0, NUM_POSTAL_CODES, count))
            ),
        }
    )


def _transactions(rng: np.random.Generator, articles: pa.Array, customers: pa.Array, count: int) -> Iterator[pa.Table]:
    """Rows in the order of days: customers of very different zeal, each with a taste; fashions come and go."""
    num_articles, num_customers = len(articles), len(customers)
    taste = rng.integers(0, num_articles, num_customers)
    prices = np.round(rng.gamma(2.0, 0.014, num_articles) + 0.0017, 6)
    order = rng.permutation(num_customers)
    for start in range(0, count, CHUNK):
        rows = np.arange(start, min(start + CHUNK, count))
        day = rows * NUM_DAYS // count
        who = order[(num_customers * rng.random(len(rows)) ** 2.2).astype(np.int64)]
        near = taste[who] + (rng.standard_normal(len(rows)) * TASTE * num_articles).astype(np.int64)
        # What is popular moves through the catalogue in the course of the days.
        popular = (num_articles * (day / NUM_DAYS + 0.25 * rng.random(len(rows)) ** 6)).astype(np.int64)
        what = np.where(rng.random(len(rows)) < FAITHFUL, near, popular) % num_articles
        yield pa.table(
            {
                "t_dat": pa.array((FIRST_DAY + day).astype("datetime64[D]")),
                "customer_id": customers.take(pa.array(who)),
                "article_id": articles.take(pa.array(what)),
                "price": pa.array(prices[what]),
                "sales_channel_id": pa.array(1 + (rng.random(len(rows)) < 0.7).astype(np.int64)),
            }
        )
