"""The names of a text's columns: in its first line, or known or guessed where it has none."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workflows.init.words import ITEM, RATING, TIME, USER, plain_name, rank

__all__ = ["header_of", "published_names"]

NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d.*|\d{9,10}(\.\d+)?|1\d{12}|1\d{15}")
# Names of columns of data sets that are published without them: pattern of the file's name, number of columns.
PUBLISHED: Sequence[tuple[str, tuple[str, ...]]] = (
    (r"ratings.*|u\.data|u[ab1-5]\.(base|test)", ("user_id", "item_id", "rating", "timestamp")),
    (r"movies.*", ("movie_id", "title", "genres")),
    (r"users\.dat.*", ("user_id", "gender", "age", "occupation", "zip_code")),
    (r"u\.user", ("user_id", "age", "gender", "occupation", "zip_code")),
    (
        r"u\.item",
        (
            *("movie_id", "title", "release_date", "video_release_date", "imdb_url", "unknown", "action", "adventure"),
            *("animation", "children", "comedy", "crime", "documentary", "drama", "fantasy", "film_noir", "horror"),
            *("musical", "mystery", "romance", "sci_fi", "thriller", "war", "western"),
        ),
    ),
    (r"yoochoose-clicks.*", ("session_id", "timestamp", "item_id", "category")),
    (r"yoochoose-buys.*", ("session_id", "timestamp", "item_id", "price", "quantity")),
    (r"steam-200k.*", ("user_id", "game", "behavior", "value", "unused")),
)


def header_of(rows: Sequence[Sequence[str]]) -> list[str]:
    """The names in the first line; none where it is a row like the others.

    Args:
        rows: the first lines, all of one length.
    """
    if not rows:
        return []
    first, others = rows[0], rows[1:]
    # A column without a name, as the index that pandas writes first, has that which the stage data gives it.
    names = [cell.lstrip("#").strip() or f"column{place}" for place, cell in enumerate(first)]
    if any(NUMBER.fullmatch(cell) or INSTANT.fullmatch(cell) for cell in names) or len(set(names)) < len(names):
        return []
    if any(rank(name, known) is not None for name in names for known in (USER, ITEM, TIME, RATING)):
        return names
    if not others:
        return names
    is_number = [all(NUMBER.fullmatch(row[place]) for row in others if row[place]) for place in range(len(first))]
    return names if any(is_number) or any(plain_name(name) in ("id", "name") for name in names) else []


def published_names(file: str, rows: Sequence[Sequence[str]]) -> tuple[list[str], bool]:
    """Names for the columns of a file without them, and whether they are known: of a public data set, or a guess.

    Args:
        file: its name, without the folder.
        rows: its first lines, all of one length.
    """
    width = len(rows[0])
    for pattern, names in PUBLISHED:
        if len(names) == width and re.fullmatch(pattern, file, re.IGNORECASE):
            return list(names), True
    in_name = file.split(".")[0].split("-")
    return (in_name, True) if len(in_name) == width > 2 else (_guessed(rows), False)


def _guessed(rows: Sequence[Sequence[str]]) -> list[str]:
    """An instant and a rating by their values; of what is left the first is the user, the next the item."""
    width = len(rows[0])
    columns = [[row[place] for row in rows if row[place]] for place in range(width)]
    names = [f"column{place}" for place in range(width)]
    for place, values in enumerate(columns):
        if "timestamp" not in names and values and all(map(INSTANT.fullmatch, values)):
            names[place] = "timestamp"
        elif place and "rating" not in names and values and all(NUMBER.fullmatch(value) for value in values):
            numbers = {float(value) for value in values}
            if len(numbers) <= 11 and min(numbers) >= 0 and 1 < max(numbers) <= 10:
                names[place] = "rating"
    left = [place for place, name in enumerate(names) if name.startswith("column")]
    for place, name in zip(left, ("user_id", "item_id"), strict=False):
        names[place] = name
    return names
