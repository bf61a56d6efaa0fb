"""What of the events is a success: ratings, flags, kinds of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from workflows.init.profile import Column, Table
from workflows.init.words import (
    CONTEXT,
    COUNTS,
    EVENT_KIND,
    FLAGS,
    KINDS,
    RATING,
    SHOWN,
    UNDONE,
    has_word,
    plain_name,
    rank,
    words_of,
)
from workflows.tables.kinds import is_shown

__all__ = ["Labels", "labels_of"]

MAX_KINDS = 60
# Where nothing says what was shown, an event of another kind is no item that was shown in vain.
SAMPLED = 'and in a section [ranking]: training_examples = "sampled"'
MORE_KINDS = ("pv", "listen", "watch", "read", "rate", "share", "comment", "add")
TRUE_OR_FALSE = ({"0", "1", "0.0", "1.0", "true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})


class Labels(msgspec.Struct):
    """What the config says of labels.

    Attributes:
        value: of data.labels, as TOML; "" where every event is a positive.
        why: the reason in one line.
        columns: what is read for it, and what says how an event was; none of them describes an item.
        doubts: questions with the line that answers them otherwise.
    """

    value: str
    why: str
    columns: list[str]
    doubts: list[tuple[str, str]]


def labels_of(events: Table, but: Iterable[str]) -> Labels:
    """Find the labels.

    Args:
        events: the events.
        but: columns that are user, item or time.
    """
    columns = {name: column for name, column in events.columns.items() if name not in set(but)}
    if name := _first(columns, RATING, _is_rating):
        return _of_rating(columns[name], events.num_looked)
    of_values = (name for name, column in columns.items() if _says_kinds(column))
    if kind := _first(columns, EVENT_KIND, _is_kind) or next(of_values, ""):
        found = _of_kinds(columns[kind])
        found.columns += [name for name in columns if rank(name, COUNTS) is not None]
        return found
    flags = [name for name, column in columns.items() if plain_name(name) in FLAGS and _is_flag(column)]
    if flags:
        return _of_flags(flags, events)
    unsure = [
        name
        for name, column in columns.items()
        if column.distinct == 2 and _is_flag(column) and not has_word(name, CONTEXT)
    ]
    question = "does '{}' say whether an event was a success? Every row counts alike now."
    doubts = [(question.replace("{}", name), f"labels = [{_quoted(name)}]") for name in unsure]
    if count := _first(columns, COUNTS, lambda column: column.is_number and column.distinct > 2):
        middle = sorted(float(str(value)) for value, _ in columns[count].top)[len(columns[count].top) // 2]
        line = f"labels = {{ much = {_condition(count, '>=', middle)}, any = {_condition(count, '>=', 0)} }}"
        doubts.append((f"does '{count}' say how much a user liked an item? Every row counts alike now.", line))
    counts = [name for name in columns if rank(name, COUNTS) is not None]
    return Labels("", "every event is a positive: no column says otherwise", [*counts, *unsure], doubts)


def _first(columns: Mapping[str, Column], known: Sequence[str], fits: object) -> str:
    found = []
    for name, column in columns.items():
        place = rank(name, known)
        if place is not None and callable(fits) and fits(column):
            found.append((place, name))
    return min(found)[1] if found else ""


def _is_rating(column: Column) -> bool:
    return column.is_number and 2 <= column.distinct <= 101 and 1 < float(str(column.high)) <= 100


def _is_kind(column: Column) -> bool:
    if not column.is_text or not 2 <= column.distinct <= MAX_KINDS:
        return False
    words = (*KINDS, *SHOWN, *MORE_KINDS)
    return any(_is_like(str(value), words) for value, _ in column.top)


def _says_kinds(column: Column) -> bool:
    """Whether the values alone tell that a column of any name says what happened: all of them are kinds of events."""
    if not column.is_text or not 2 <= column.distinct <= len(column.top):
        return False
    words = {word + end for word in (*KINDS, *SHOWN, *MORE_KINDS) for end in ("", "s", "d", "ed", "ing")}
    return all(words & {plain_name(str(value)), *words_of(str(value))} for value, _ in column.top)


def _is_flag(column: Column) -> bool:
    values = {str(value).lower() for value, _ in column.top}
    return column.nulls == 0 and any(values <= words for words in TRUE_OR_FALSE)


def _is_like(value: str, words: Sequence[str]) -> bool:
    return any(word in plain_name(value) for word in words)


def _of_rating(column: Column, num_rows: int) -> Labels:
    high, low = float(str(column.high)), float(str(column.low))
    least = next((cut for top, cut in ((5.0, 4.0), (10.0, 8.0)) if high <= top), round(0.8 * high))
    least = least if high > 2 else high
    liked, rated = _condition(column.name, ">=", least), _condition(column.name, ">=", low)
    why = (
        f"'{column.name}' goes from {low:g} to {high:g}: {least:g} and more is liked, all that is rated counts as seen"
    )
    doubt = f"is a rating of {least:g} a like? Without labels every row counts as one, whatever the rating."
    doubts = [(doubt, "# no labels")]
    if column.nulls:
        share = f"{column.nulls / num_rows:.1%} of the rows have no '{column.name}'"
        doubts.append((f"{share}, so these labels leave them out: do they count as likes?", "# no labels"))
    return Labels(f"{{ liked = {liked}, rated = {rated} }}", why, [column.name], doubts)


def _of_kinds(column: Column) -> Labels:
    kinds = [str(value) for value, _ in column.top]
    shown = [kind for kind in kinds if is_shown(kind)]
    counted = ", ".join(f"{value} ({count:,})" for value, count in column.top[:8])
    doubts = []
    best = next((kind for word in KINDS for kind in kinds if word in plain_name(kind) and kind not in shown), "")
    if best and best not in shown:
        others = [kind for kind in kinds if kind not in (best, *shown)]
        wanted = ", ".join(f"{_key(kind)} = {_text_condition(column.name, '==', kind)}" for kind in (best, *others))
        line = f"labels = {{ {wanted} }}" + ("" if shown else f"   # {SAMPLED}")
        doubts.append((f"is '{best}' what slates are to earn? It is then the first label.", line))
    if undone := [kind for kind in kinds if _is_like(kind, UNDONE)]:
        doubts.append((f"{', '.join(map(repr, undone))} count as events like the others: leave them out?", ""))
    if len(shown) == 1:
        value = f"{{ reaction = {_text_condition(column.name, '!=', shown[0])} }}"
        why = f"'{column.name}' is {counted}: what was only shown is no success"
        return Labels(value, why, [column.name], doubts)
    return Labels("", f"every event is a positive, whatever '{column.name}' is: {counted}", [column.name], doubts)


def _of_flags(flags: Sequence[str], events: Table) -> Labels:
    quoted = ", ".join(f'"{name}"' for name in flags)
    why = "columns of 0 and 1, or of yes and no; the first one is what the models predict, all of them count as seen"
    doubts = [(f"is '{flags[0]}' what slates are to earn? Put that first.", f"labels = [{quoted}]")]
    return Labels(f"[{quoted}]", why, list(flags), doubts if len(flags) > 1 else [])


def _key(kind: str) -> str:
    key = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in kind.strip()).strip("_").lower()
    return key or "kind"


def _condition(column: str, op: str, value: float) -> str:
    return _quoted(f"{column} {op} {value:g}")


def _text_condition(column: str, op: str, value: str) -> str:
    return _quoted(f"{column} {op} '{value}'")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
