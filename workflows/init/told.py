"""What `cascade init` prints."""

from __future__ import annotations

from workflows.init.page import Findings

__all__ = ["told"]


def told(found: Findings) -> list[str]:
    """A line a table, and one for what is not used."""
    sketch = found.sketch
    time = f"time '{sketch.time}'" if sketch.time else "no column says when an event was: the order of the rows counts"
    events = f"events: {sketch.events.name}, {sketch.events.num_rows:,} rows"
    lines = [f"{events}: user '{sketch.user}', item '{sketch.item}', {time}"]
    for kind, entity, features in (("items", sketch.items, found.of_items), ("users", sketch.users, found.of_users)):
        if entity:
            taken = sum(1 for feature in features.values() if feature.toml)
            lines.append(
                f"{kind}: {entity.table.name}, {entity.table.num_rows:,} rows, {entity.share:.1%} of the events' ids "
                f"are there: {taken} of {len(features)} columns become features"
            )
    lines += [f"not used: {name}: {why}" for name, why in sketch.unused.items()]
    for written in (found.events, found.items, found.users):
        if written and written.reasons:
            what = f"{written.spec}: written" if written.is_copy else "a query of the database"
            lines.append(f"{what}, since {'; '.join(written.reasons)}")
    return lines
