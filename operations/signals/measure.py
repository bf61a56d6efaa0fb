"""All signals of one window: of the requests that a version answered on a day."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ensemble.profile.ask import ask
from ensemble.profile.profile import Profile
from operations.signals.exposure import exposure_signals
from operations.signals.features import asked_again, feature_signals, parsed
from operations.signals.kinds import Measured
from operations.signals.predictions import prediction_signals
from operations.signals.requests import request_signals
from operations.signals.service import service_signals
from operations.signals.slates import Sample, sample_of
from operations.signals.version import Version

__all__ = ["answered", "measure", "measure_rows"]


def measure(table: pa.Table, version: Version, day: int) -> list[Measured]:
    """Measure a window.

    Args:
        table: rows of the log, see `operations.log.schema`.
        version: that answered.
        day: days since 1970.
    """
    found = [Measured(name, "", age) for name, age in version.ages(day).items()]
    sample = sample_of(table)
    if not len(sample):
        return found
    found += measure_rows(sample, version.profile)
    slates = answered(sample)
    if version.chain is not None and version.profile is not None and len(slates):
        rows = asked_again(slates)
        if len(rows):
            answers = ask(version.chain, parsed(rows, version.chain.spec))
            found += feature_signals(version.chain, rows, answers, version.profile)
    return found


def measure_rows(sample: Sample, profile: Profile | None) -> Iterator[Measured]:
    """What the rows alone tell."""
    yield from request_signals(sample, profile.columns if profile else {})
    slates = answered(sample)
    if len(slates):
        yield from service_signals(slates)
        yield from prediction_signals(slates, profile.scores if profile else {})
        if profile is not None:
            yield from exposure_signals(slates, profile)


def answered(sample: Sample) -> Sample:
    """The rows with a slate, each request once."""
    is_one = pc.is_null(sample.table["error"]).to_numpy() & pc.is_valid(sample.table["item_rows"]).to_numpy()
    return sample.where(is_one & (np.asarray(sample.numbers("attempt")) == 1))
