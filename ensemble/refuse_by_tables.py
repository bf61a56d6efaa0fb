"""What the config says of the tables, held against them as soon as they are read: before anything is trained."""

from __future__ import annotations

from ensemble.config import Config
from workflows.core.run import Run

__all__ = ["refuse_by_tables"]


def refuse_by_tables(run: Run, config: Config) -> None:
    """Refuse columns, values and items that the config names and the tables do not have.

    What `data.stock` and `chain.rules` name is refused by `say_shortages`, what features do when they are fitted.

    Args:
        run: its data stage has finished.
        config: of the run.

    Raises:
        ConfigError: names the key of a column that the items lack or that cannot be used so, of an item that is not in
            the catalogue, or of a rule that no slate of these items can follow.
        DataError: the users lack a column of evaluate.segments.
    """
    from ensemble.evaluation.queries import read_segment
    from ensemble.export.slate_files import codes_of
    from ensemble.export.slate_rules import refuse_rules
    from models.sources.item_scores import dates_of

    items, users = (run.folder("data") / f"{table}.parquet" for table in ("items", "users"))
    refuse_rules(run, config)
    if config.sources.latest.column:
        dates_of(items, config.sources.latest.column)
    if config.gate.category:
        codes_of(items, config.gate.category, "gate.category")
    for column in config.evaluate.segments:
        read_segment(users, column)
