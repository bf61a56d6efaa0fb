"""The labelled events of a run as the tables that classifiers are tuned on, fitted on and compared on."""

from __future__ import annotations

import msgspec
import numpy as np

from models.classifiers.base import Table, join, load_table
from models.classifiers.history import Past, with_history
from models.dataset.features import Features, load_state
from workflows.core.run import Run
from workflows.tables.info import DataInfo

__all__ = [
    "FROZEN",
    "MAX_EXAMPLES",
    "UP_TO_EVENT",
    "ClassifierExamples",
    "classifier_examples",
    "frozen_history",
    "is_ordered",
]

MAX_EXAMPLES = 1_000_000
UP_TO_EVENT, FROZEN = "up_to_event", "frozen"


class ClassifierExamples(msgspec.Struct, frozen=True):
    """Events with what describes their histories.

    Attributes:
        train: to tune on, at most MAX_EXAMPLES drawn ones.
        valid: decides the parameters and when to stop.
        both: train and valid, as many drawn ones, to fit on in the end, as the ranker is.
        test: "up_to_event": histories as of each event, as they are served; where events are ordered also "frozen":
            as of the end of valid.
    """

    train: Table
    valid: Table
    both: Table
    test: dict[str, Table]


def classifier_examples(run: Run, features: Features, label: str, seed: int) -> ClassifierExamples:
    """Read the splits and describe the histories, each by what was known then.

    Args:
        run: its features stage has finished.
        features: of the run.
        label: label column.
        seed: of the draws.
    """
    train = load_table(run, features, "train", label)
    valid, test = load_table(run, features, "valid", label), load_table(run, features, "test", label)
    both = join(train, valid)
    everything = join(both, test)
    overall = float(train.labels.mean())
    past = Past(everything.user_row, everything.at, everything.labels, overall) if is_ordered(run) else None
    tests = {UP_TO_EVENT: with_history(test, features, both, past)}
    if past is not None:
        frozen = load_table(run, features, "test", label, history=frozen_history(run, features))
        frozen = msgspec.structs.replace(frozen, at=np.full(len(frozen), np.iinfo(np.int64).max))  # after all of both
        until = Past(both.user_row, both.at, both.labels, overall)
        tests[FROZEN] = with_history(frozen, features, both, until)
    drawn = _drawn(train, seed)
    return ClassifierExamples(
        train=with_history(drawn, features, drawn, past, fitted_on_it=True),
        valid=with_history(valid, features, train, past),
        both=with_history(kept := _drawn(both, seed), features, kept, past, fitted_on_it=True),
        test=tests,
    )


def frozen_history(run: Run, features: Features) -> np.ndarray:
    """Codes of what each user had at the end of valid, int32 [U, L]."""
    return features.history_codes(np.asarray(load_state(run, "eval").history))


def is_ordered(run: Run) -> bool:
    """Whether the events have a time, so that more is known at some of them than at others."""
    return DataInfo.load(run.folder("data")).has_timestamp


def _drawn(table: Table, seed: int) -> Table:
    if len(table) <= MAX_EXAMPLES:
        return table
    return table.take(np.sort(np.random.default_rng(seed).choice(len(table), MAX_EXAMPLES, replace=False)))
