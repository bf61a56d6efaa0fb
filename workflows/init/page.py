"""The commented TOML: what was found, why, and what was unsure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import msgspec

from workflows.core.console import escaped
from workflows.init.convert import Written
from workflows.init.entities import Entity
from workflows.init.features import Feature
from workflows.init.labels import Labels
from workflows.init.profile import Table
from workflows.init.roles import Sketch
from workflows.init.split import Split
from workflows.tables.check import FLOATS, INTEGERS
from workflows.tables.warehouse.address import has_secrets

__all__ = ["Findings", "page", "questions"]

BARE = re.compile(r"[A-Za-z0-9_-]+")
MAX_SHOWN = 100
TYPES = {"VARCHAR": "text"} | dict.fromkeys(INTEGERS, "integer") | dict.fromkeys(FLOATS, "number")


class Findings(msgspec.Struct):
    """All that a config needs.

    Attributes:
        sketch: what the tables are.
        events, items, users: where the config finds them.
        id_types: of users and items, for keys that are needed; "" where none is.
        labels, split: of the events.
        context: columns of the events that a request can carry.
        of_items, of_users: column -> what becomes of it.
        stock: column of the items.
        unknown: share of the events' items that the items table lacks.
        left_context: columns of the events that may be context, but are not known to be.
        source: URL of the warehouse without secrets; "" of files.
    """

    sketch: Sketch
    events: Written
    items: Written | None
    users: Written | None
    id_types: tuple[str, str]
    labels: Labels
    split: Split
    context: dict[str, Feature]
    of_items: dict[str, Feature]
    of_users: dict[str, Feature]
    stock: str
    unknown: float
    left_context: list[str]
    source: str = ""


def questions(found: Findings) -> list[tuple[str, str]]:
    """What init was unsure of, each with the line that answers it otherwise; "" where none does."""
    guesses = [
        (f"{table.name}: {table.opened.guess}; is that right?", "") for table in _tables(found) if table.opened.guess
    ]
    features = [
        (feature.doubt, f"{_key(name)} = {feature.otherwise}   # in [features.{kind}]")
        for kind, features in (("items", found.of_items), ("users", found.of_users))
        for name, feature in features.items()
        if feature.doubt
    ]
    context = []
    if found.left_context:
        names = ", ".join(map(_text, [*found.context, *found.left_context]))
        lines = "; ".join(f'{_key(name)} = {{ kind = "categorical" }}' for name in found.left_context)
        context = [
            (
                "does a request know these columns before the slate is made? Then the models can read them.",
                f"context = [{names}], and in a section [features.context]: {lines}",
            )
        ]
    return [*guesses, *found.sketch.doubts, *found.labels.doubts, *context, *features, *found.split.doubts]


def page(found: Findings, config: str, command: str) -> str:
    """The text of the file.

    Args:
        found: what it says.
        config: its path, for the commands in it.
        command: that wrote it.
    """
    stem = re.sub(r"\.toml$", "", config.rsplit("/", 1)[-1])
    lines = [
        f"# Written by `{command}`.",
        f"# Run it with `cascade run --config {config} --out runs/{stem}`, from the folder where that was called.",
        "",
        *_questions(found),
        *_data(found),
        "",
        *_split(found.split),
        *_features("items", found.sketch.items.table if found.sketch.items else None, found.of_items),
        *_features("users", found.sketch.users.table if found.sketch.users else None, found.of_users),
        *_context(found),
    ]
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _questions(found: Findings) -> list[str]:
    lines = []
    for number, (question, answer) in enumerate(questions(found), 1):
        lines.append(f"# QUESTION {number}: {_shown(question, 400)}")
        lines += [f"#   to take it otherwise: {answer}"] if answer else []
    return [*lines, ""] if lines else []


def _data(found: Findings) -> list[str]:
    sketch, labels = found.sketch, found.labels
    lines = ["[data]", *_source(found.source), *_table("events", sketch.events, found.events, _uses(found))]
    if sketch.items and found.items:
        uses = {sketch.items.key: _ids(sketch.items)}
        lines += _table("items", sketch.items.table, found.items, uses)
    if sketch.users and found.users:
        uses = {sketch.users.key: _ids(sketch.users)}
        lines += _table("users", sketch.users.table, found.users, uses)
    lines += [f"# Not used: {_shown(name, 200)}: {_shown(why, 400)}." for name, why in sketch.unused.items()]
    lines += [f"user_id = {_text(sketch.user)}", f"item_id = {_text(sketch.item)}"]
    for key, kind in zip(("user_id_type", "item_id_type"), found.id_types, strict=True):
        lines += [f'{key} = "{kind}"   # numbers in one table and text in another'] if kind else []
    if sketch.time:
        lines.append(f"timestamp = {_text(sketch.time)}")
    else:
        lines.append("# No timestamp: no column says when an event was. The order of the rows stands for it, and the")
        lines.append("# models see histories without an order; name a column here if the events have one.")
    lines.append(f"# {_shown(labels.why, 400)}")
    lines += [f"labels = {labels.value}"] if labels.value else []
    lines += [f"context = [{', '.join(map(_text, found.context))}]"] if found.context else []
    lines += [f"stock = {_text(found.stock)}   # items with false are never shown"] if found.stock else []
    if sketch.items and sketch.items.table.held < 1.0:
        lines.append("# A sample of the items was looked at; events of items that the table lacks are left out.")
        lines.append('unknown_items = "drop"')
    elif found.unknown:
        lines.append(f"# {max(found.unknown, 0.0001):.2%} of the events' distinct items are not in the items table.")
        lines.append('unknown_items = "drop"')
    return lines


def _ids(entity: Entity) -> str:
    about = "about " if entity.table.held < 1.0 else ""
    return f"the ids; {about}{entity.share:.1%} of the events' are here"


def _source(source: str) -> list[str]:
    if not source:
        return []
    left = (
        "# The secrets of the URL were left out: set PGPASSWORD or what else the driver reads, or put a ${NAME} here."
    )
    return [*([left] if has_secrets(source) else []), f"source = {_text(source)}"]


def _uses(found: Findings) -> dict[str, str]:
    sketch = found.sketch
    uses = {sketch.user: "the user", sketch.item: "the item"}
    if sketch.time and (time := sketch.events.columns[sketch.time].time):
        units = {"order": "the order of the events", "datetime": "the time", "date": "the time, in days"}
        uses[sketch.time] = units.get(time.unit, f"the time, in {time.unit} since 1970")
    uses |= dict.fromkeys(found.labels.columns, "labels" if found.labels.value else "how it was")
    return uses | dict.fromkeys(found.context, "context: a request can carry it")


def _table(key: str, table: Table, written: Written, uses: Mapping[str, str]) -> list[str]:
    looked = "" if table.is_whole else f" ({table.num_looked:,} of them looked at)"
    lines = [f"# {key}: {_shown(table.name, 200)}, {table.num_rows:,} rows{looked}"]
    width = min(30, max(map(len, table.columns)))
    for name, column in table.columns.items():
        kind = TYPES.get(column.type, column.type.lower())
        empty = f", {column.nulls / table.num_looked:.1%} empty" if column.nulls else ""
        use = f" -> {uses[name]}" if name in uses else ""
        lines.append(f"#   {_shown(name, 60).ljust(width)}  {kind}, {column.distinct:,} values{empty}{use}")
    lines += [f"#   Left out, nested: {_shown(', '.join(table.opened.left), 300)}"] if table.opened.left else []
    if written.reasons and not written.is_copy:
        lines.append(f"# A query, since {_shown('; '.join(written.reasons), 900)}.")
    elif written.reasons:
        left = f" {written.num_left_out:,} row{'s' * (written.num_left_out > 1)} less." if written.num_left_out else ""
        lines.append(f"# Written as Parquet, since {_shown('; '.join(written.reasons), 900)}.{left}")
        lines.append("# It is a copy: when the table has changed, run the command above again with --force.")
    spec = written.spec
    lines.append(f"{key} = " + (_text(spec) if isinstance(spec, str) else f"[{', '.join(map(_text, spec))}]"))
    return lines


def _split(split: Split) -> list[str]:
    return ["[split]", *(f"# {_shown(line, 300)}" for line in split.why), *split.lines]


def _features(kind: str, table: Table | None, features: Mapping[str, Feature]) -> list[str]:
    if table is None:
        return []
    lines = ["", f"[features.{kind}]"]
    for name, feature in features.items():
        if feature.toml:
            lines.append(f"{_key(name)} = {feature.toml}   # {_shown(feature.why)}")
        else:
            lines.append(f"# {_shown(name)}: {_shown(feature.why, 200)}")
    return lines


def _context(found: Findings) -> list[str]:
    if not found.context:
        return []
    lines = [f"{_key(name)} = {feature.toml}   # {_shown(feature.why)}" for name, feature in found.context.items()]
    return ["", "[features.context]", *lines]


def _tables(found: Findings) -> Sequence[Table]:
    sketch = found.sketch
    return [sketch.events, *(one.table for one in (sketch.items, sketch.users) if one)]


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _shown(text: str, limit: int = MAX_SHOWN) -> str:
    """Text for a comment: one line, without what would end it."""
    plain = escaped(text)
    return plain if len(plain) <= limit else plain[:limit] + "..."
