"""Small made-up tables in the layouts that people really have; each writes its files and names them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["LAYOUTS"]

NUM_USERS, NUM_ITEMS, NUM_EVENTS = 60, 40, 900
START = datetime(2023, 1, 1)
GENRES = ("Action", "Comedy", "Drama", "Crime", "War")
Rows = Sequence[Sequence[object]]


def _log(seed: int = 3) -> Iterator[tuple[int, int, datetime, np.random.Generator]]:
    """User, item and time of each event, oldest first."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 200 * 86_400, NUM_EVENTS))
    for at in times:
        user = int(rng.integers(NUM_USERS))
        yield user, (user + int(rng.geometric(0.15))) % NUM_ITEMS, START + timedelta(seconds=int(at)), rng


def _write(path: Path, rows: Rows, *, header: Sequence[str] = (), sep: str = ",", encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        if len(sep) > 1:
            file.writelines(sep.join(map(str, row)) + "\n" for row in rows)
            return
        writer = csv.writer(file, delimiter=sep)
        writer.writerows([header] if header else [])
        writer.writerows(rows)


def _write_json(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def _epoch(at: datetime) -> int:
    return int((at - datetime(1970, 1, 1)).total_seconds())


def _genres(item: int) -> str:
    return "|".join(sorted({GENRES[item % 5], GENRES[item // 2 % 5]}))


def movielens_dat(folder: Path) -> list[str]:
    _write(
        folder / "ratings.dat",
        [(u + 1, i + 1, int(rng.integers(1, 6)), _epoch(at)) for u, i, at, rng in _log()],
        sep="::",
    )
    movies = [(i + 1, f"Amélie {i} ({1970 + i})", _genres(i)) for i in range(NUM_ITEMS)]
    _write(folder / "movies.dat", movies, sep="::", encoding="latin-1")
    users = [(u + 1, "FM"[u % 2], (1, 18, 25)[u % 3], u % 7, f"{10000 + u % 20}") for u in range(NUM_USERS)]
    _write(folder / "users.dat", users, sep="::")
    return ["ratings.dat", "movies.dat", "users.dat"]


def movielens_csv(folder: Path) -> list[str]:
    header = ("userId", "movieId", "rating", "timestamp")
    ratings = [(u + 1, i + 1, rng.integers(1, 11) / 2, _epoch(at)) for u, i, at, rng in _log()]
    _write(folder / "ratings.csv", ratings, header=header)
    movies = [(i + 1, f'Movie, the "{i}"th (1999)', _genres(i)) for i in range(NUM_ITEMS)]
    _write(folder / "movies.csv", movies, header=("movieId", "title", "genres"))
    tags = [(u + 1, i + 1, f"tag {u % 3}", _epoch(at)) for u, i, at, _ in _log(4)][:50]
    _write(folder / "tags.csv", tags, header=("userId", "movieId", "tag", "timestamp"))
    links = [(i + 1, f"{i:07d}", i * 3) for i in range(NUM_ITEMS)]
    _write(folder / "links.csv", links, header=("movieId", "imdbId", "tmdbId"))
    (folder / "README.txt").write_text("Summary\n=======\n\nThis dataset describes ratings.\n")
    return ["."]


def amazon(folder: Path) -> list[str]:
    rows = [
        {
            "reviewerID": f"A{u:05d}",
            "asin": f"B{i:06d}",
            "reviewerName": f"Ann {u}",
            "helpful": [0, 1],
            "overall": float(rng.integers(1, 6)),
            "summary": "Good, I think",
            "style": {"Color:": "red"},
            "unixReviewTime": _epoch(at),
            "reviewTime": at.strftime("%m %d, %Y"),
        }
        for u, i, at, rng in _log()
    ]
    _write_json(folder / "reviews_Toys.json.gz", rows)
    meta = [
        {
            "asin": f"B{i:06d}",
            "title": f"Toy {i}",
            "price": f"${i}.99",
            "brand": f"Brand {i % 6}",
            "category": ["Toys", f"Kind {i % 4}"],
            "rank": "11,2 in Toys",
            "also_buy": [f"B{i + 1:06d}"],
        }
        for i in range(NUM_ITEMS)
    ]
    _write_json(folder / "meta_Toys.json", meta)
    return ["reviews_Toys.json.gz", "meta_Toys.json"]


def amazon_2023(folder: Path) -> list[str]:
    rows = [
        {
            "rating": float(rng.integers(1, 6)),
            "title": "Fine",
            "text": "Works as it should.",
            "images": [],
            "asin": f"B{i:06d}X",
            "parent_asin": f"B{i:06d}",
            "user_id": f"AE{u:05d}",
            "timestamp": _epoch(at) * 1000 + 321,
            "helpful_vote": 0,
            "verified_purchase": bool(u % 3),
        }
        for u, i, at, rng in _log()
    ]
    _write_json(folder / "Toys.jsonl", rows)
    meta = [
        {
            "main_category": GENRES[i % 5],
            "title": f"Toy {i}",
            "average_rating": 4.1 + i % 7 / 10,
            "rating_number": 10 + i,
            "price": None if i % 2 else 9.99 + i,
            "store": f"Store {i % 6}",
            "features": ["new"],
            "categories": ["Toys", f"Kind {i % 4}"],
            "details": {"Color": "red"},
            "parent_asin": f"B{i:06d}",
        }
        for i in range(NUM_ITEMS)
    ]
    _write_json(folder / "meta_Toys.jsonl", meta)
    return ["Toys.jsonl", "meta_Toys.jsonl"]


def retailrocket(folder: Path) -> list[str]:
    rows: list[tuple[object, ...]] = []
    for u, i, at, rng in _log():
        event = str(rng.choice(["view", "view", "view", "addtocart", "transaction"]))
        rows.append((_epoch(at) * 1000 + 7, u, event, i, 500 + len(rows) if event == "transaction" else ""))
    _write(folder / "events.csv", rows, header=("timestamp", "visitorid", "event", "itemid", "transactionid"))
    for part in (1, 2):
        properties = [
            (_epoch(START) * 1000 + week, i, name, value)
            for week in range(2)
            for i in range(part - 1, NUM_ITEMS, 2)
            for name, value in (("categoryid", 100 + i % 5), ("available", week), ("790", f"n{i}.000"))
        ]
        header = ("timestamp", "itemid", "property", "value")
        _write(folder / f"item_properties_part{part}.csv", properties, header=header)
    _write(folder / "category_tree.csv", [(100 + k, 9) for k in range(5)], header=("categoryid", "parentid"))
    return ["events.csv", "item_properties_part1.csv", "item_properties_part2.csv", "category_tree.csv"]


def yoochoose(folder: Path) -> list[str]:
    clicks = [(u + 1, f"{at:%Y-%m-%dT%H:%M:%S}.277Z", 214_500_000 + i, i % 5) for u, i, at, _ in _log()]
    _write(folder / "yoochoose-clicks.dat", clicks)
    buys = [(*row[:3], 100 + 10 * int(row[3]), 1) for row in clicks[::9]]
    _write(folder / "yoochoose-buys.dat", buys)
    return ["yoochoose-clicks.dat", "yoochoose-buys.dat"]


def hm(folder: Path) -> list[str]:
    rows = [
        (f"{at:%Y-%m-%d}", f"{u:064x}", f"0{108_775_000 + i}", 0.02 + i / 1000, 1 + u % 2) for u, i, at, _ in _log()
    ]
    header = ("t_dat", "customer_id", "article_id", "price", "sales_channel_id")
    _write(folder / "transactions_train.csv", rows, header=header)
    articles = [
        (f"0{108_775_000 + i}", 108_775 + i // 3, f"Top {i}", 250 + i % 4, f"Kind {i % 4}", "A long text, of it.")
        for i in range(NUM_ITEMS)
    ]
    names = ("article_id", "product_code", "prod_name", "product_type_no", "product_type_name", "detail_desc")
    _write(folder / "articles.csv", articles, header=names)
    customers = [
        (f"{u:064x}", "1.0" if u % 2 else "", "ACTIVE" if u % 3 else "PRE-CREATE", 18 + u, f"{u % 9:064x}")
        for u in range(NUM_USERS)
    ]
    names = ("customer_id", "FN", "club_member_status", "age", "postal_code")
    _write(folder / "customers.csv", customers, header=names)
    return ["transactions_train.csv", "articles.csv", "customers.csv"]


def lastfm(folder: Path) -> list[str]:
    rows = [
        (f"user_{u:06d}", f"{at:%Y-%m-%dT%H:%M:%SZ}", f"mbid-a{i // 3}", f'Artist "{i // 3}', f"mbid-{i}", f"Song {i}")
        for u, i, at, _ in _log()
    ]
    text = "".join("\t".join(row) + "\n" for row in rows)
    (folder / "userid-timestamp-artid-artname-traid-traname.tsv").write_text(text)
    profiles = [
        (f"user_{u:06d}", "mf"[u % 2], 20 + u % 30, "Japan" if u % 3 else "", "Aug 13, 2006") for u in range(NUM_USERS)
    ]
    names = ("#id", "gender", "age", "country", "registered")
    _write(folder / "userid-profile.tsv", profiles, header=names, sep="\t")
    return ["userid-timestamp-artid-artname-traid-traname.tsv", "userid-profile.tsv"]


def lastfm_hetrec(folder: Path) -> list[str]:
    pairs = sorted({(u + 2, i + 1) for u, i, _, _ in _log()})
    weights = [(u, i, 10 + (u * i) % 5000) for u, i in pairs]
    _write(folder / "user_artists.dat", weights, header=("userID", "artistID", "weight"), sep="\t")
    artists = [(i + 1, f"Band {i}", "http://www.last.fm/b", "http://userserve/b.jpg") for i in range(NUM_ITEMS)]
    _write(folder / "artists.dat", artists, header=("id", "name", "url", "pictureURL"), sep="\t")
    friends = [(u + 2, (u + 5) % NUM_USERS + 2) for u in range(NUM_USERS)]
    _write(folder / "user_friends.dat", friends, header=("userID", "friendID"), sep="\t")
    return ["user_artists.dat", "artists.dat", "user_friends.dat"]


def steam(folder: Path) -> list[str]:
    rows = [
        (151_603_000 + u, f"Game {i}, the", *(("play", float(i)) if i % 2 else ("purchase", 1.0)), 0)
        for u, i, _, _ in _log()
    ]
    _write(folder / "steam-200k.csv", rows)
    return ["steam-200k.csv"]


def steam_reviews(folder: Path) -> list[str]:
    rows = [
        {
            "username": f"Chaos {u}'s",
            "hours": 1.0 + i,
            "products": 41 + u,
            "product_id": str(725_280 + i),
            "page_order": 0,
            "date": f"{at:%Y-%m-%d}",
            "text": "It's good",
            "early_access": False,
            "page": 1,
        }
        for u, i, at, _ in _log()
    ]
    (folder / "steam_reviews.json").write_text("".join(f"{row!r}\n" for row in rows))
    games = [
        {
            "publisher": f"Pub {i % 5}",
            "genres": [GENRES[i % 5], "Indie"],
            "app_name": f"Game {i}",
            "url": "http://store/x",
            "release_date": "2018-01-04",
            "price": 4.99 + i % 3,
            "id": str(725_280 + i),
            "developer": f"Dev {i % 8}",
            "early_access": bool(i % 2),
        }
        for i in range(NUM_ITEMS)
    ]
    (folder / "steam_games.json").write_text("".join(f"{row!r}\n" for row in games))
    return ["steam_reviews.json", "steam_games.json"]


def goodreads(folder: Path) -> list[str]:
    form = "%a %b %d %H:%M:%S -0700 %Y"
    rows = [
        {
            "user_id": f"{u:032x}",
            "book_id": str(100 + i),
            "review_id": f"{u:016x}{i:016x}",
            "is_read": True,
            "rating": int(rng.integers(0, 6)),
            "date_added": at.strftime(form),
            "date_updated": at.strftime(form),
            "read_at": "" if u % 2 else at.strftime(form),
            "started_at": "",
        }
        for u, i, at, rng in _log()
    ]
    _write_json(folder / "goodreads_interactions_poetry.json.gz", rows)
    books = [
        {
            "book_id": str(100 + i),
            "title": f"Book {i}",
            "isbn": "",
            "language_code": ("eng", "ger", "")[i % 3],
            "average_rating": "3.83",
            "ratings_count": str(10 + i),
            "num_pages": str(100 + 3 * i) if i % 4 else "",
            "popular_shelves": [{"count": "5", "name": "to-read"}],
            "authors": [{"author_id": f"{i % 9}", "role": ""}],
            "publisher": f"House {i % 5}",
            "publication_year": str(1990 + i % 30),
            "similar_books": ["1", "2"],
            "link": "https://www.goodreads.com/b",
            "description": "A book of poems. " * 6,
        }
        for i in range(NUM_ITEMS)
    ]
    _write_json(folder / "goodreads_books_poetry.json.gz", books)
    return ["goodreads_interactions_poetry.json.gz", "goodreads_books_poetry.json.gz"]


def instacart(folder: Path) -> list[str]:
    orders, lines = [], {"prior": [], "train": []}  # type: ignore[var-annotated]
    rng = np.random.default_rng(8)
    for user in range(NUM_USERS):
        for number in range(1, 6):
            order, kind = 1_000 + len(orders), "train" if number == 5 else "prior"
            since = "" if number == 1 else f"{int(rng.integers(1, 30))}.0"
            orders.append((order, user + 1, kind, number, int(rng.integers(7)), f"{int(rng.integers(24)):02d}", since))
            products = dict.fromkeys((user + int(rng.geometric(0.15))) % NUM_ITEMS for _ in range(4))
            lines[kind] += [(order, i + 1, place + 1, int(number > 1)) for place, i in enumerate(products)]
    names = (
        "order_id",
        "user_id",
        "eval_set",
        "order_number",
        "order_dow",
        "order_hour_of_day",
        "days_since_prior_order",
    )
    _write(folder / "orders.csv", orders, header=names)
    for kind, rows in lines.items():
        names = ("order_id", "product_id", "add_to_cart_order", "reordered")
        _write(folder / f"order_products__{kind}.csv", rows, header=names)
    products = [(i + 1, f"Bananas {i}", i % 6 + 1, i % 3 + 1) for i in range(NUM_ITEMS)]
    _write(folder / "products.csv", products, header=("product_id", "product_name", "aisle_id", "department_id"))
    _write(folder / "aisles.csv", [(k + 1, f"aisle {k}") for k in range(6)], header=("aisle_id", "aisle"))
    _write(folder / "departments.csv", [(k + 1, f"dep {k}") for k in range(3)], header=("department_id", "department"))
    return [
        "orders.csv",
        "order_products__prior.csv",
        "order_products__train.csv",
        "products.csv",
        "aisles.csv",
        "departments.csv",
    ]


def shopify(folder: Path) -> list[str]:
    header = (
        *("Name", "Email", "Financial Status", "Paid at", "Currency", "Subtotal", "Total", "Created at"),
        *("Lineitem quantity", "Lineitem name", "Lineitem price", "Lineitem sku", "Billing Name", "Vendor", "Source"),
    )
    rows: list[tuple[object, ...]] = []
    for number, (user, item, at, rng) in enumerate(_log()):
        stamp = f"{at:%Y-%m-%d %H:%M:%S} -0500"
        email = "" if number % 50 == 0 else f"person{user}@example.com"
        more = [item, *{(item + 1 + int(step)) % NUM_ITEMS for step in rng.integers(0, 5, number % 2)}]
        for place, one in enumerate(more):
            whole = (email, "paid", stamp, "USD", 20.0, 25.0, stamp) if place == 0 else ("",) * 7
            line = (1, f"Lamp, {one}", 10.5 + one, f"SKU-{one:03d}")
            rows.append(
                (f"#{1001 + number}", *whole, *line, f"Person {user}" if place == 0 else "", f"V{one % 4}", "web")
            )
    _write(folder / "orders_export_1.csv", rows, header=header)
    return ["orders_export_1.csv"]


def ga4(folder: Path) -> list[str]:
    rows = []
    for number, (user, item, at, rng) in enumerate(_log()):
        name = str(rng.choice(["view_item", "add_to_cart", "purchase", "page_view"], p=[0.6, 0.2, 0.1, 0.1]))
        one = {
            "item_id": f"GGO{item:04d}",
            "item_name": f"Shirt {item}",
            "item_category": GENRES[item % 5],
            "price": 5.0 + item,
        }
        rows.append(
            {
                "event_date": f"{at:%Y%m%d}",
                "event_timestamp": str(_epoch(at) * 1_000_000 + number),
                "event_name": name,
                "user_pseudo_id": f"{user}.{user}55",
                "event_params": [{"key": "ga_session_id", "value": {"int_value": str(number), "string_value": None}}],
                "device": {"category": ("mobile", "desktop")[user % 2], "web_info": {"browser": "Chrome"}},
                "geo": {"country": ("Japan", "Kenya", "Peru")[user % 3]},
                "items": [] if name == "page_view" else [one],
            }
        )
    _write_json(folder / "events_20230101.json", rows[:500])
    _write_json(folder / "events_20230102.json", rows[500:])
    return ["events_20230101.json", "events_20230102.json"]


def ga4_csv(folder: Path) -> list[str]:
    """The same with its nested columns as JSON in a CSV."""
    files = ga4(folder)
    rows = [json.loads(line) for file in files for line in (folder / file).read_text().splitlines()]
    cells = [[value if isinstance(value, str) else json.dumps(value) for value in row.values()] for row in rows]
    _write(folder / "ga4.csv", cells, header=tuple(rows[0]))
    return ["ga4.csv"]


LAYOUTS: dict[str, Callable[[Path], list[str]]] = {
    layout.__name__: layout
    for layout in (
        *(movielens_dat, movielens_csv, amazon, amazon_2023, retailrocket, yoochoose, hm, lastfm, lastfm_hetrec),
        *(steam, steam_reviews, goodreads, instacart, shopify, ga4, ga4_csv),
    )
}
