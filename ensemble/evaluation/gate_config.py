"""The [gate] section."""

from __future__ import annotations

from workflows.core.section import Count, NonNegative, NonNegativeFloat, Section, Share

__all__ = ["GateConfig"]


class GateConfig(Section, frozen=True):
    """When a newer version may take the place of the served one; losses are relative to what the served one has.

    Attributes:
        cutoff: the k of NDCG@k; at most the longest slate of either version.
        max_loss: of NDCG, which the lower end of its 95% interval must not exceed.
        max_logloss: how much larger the log loss may be.
        max_calibration: how much larger the expected calibration error may be, as a share of the share of positives.
        max_slice_loss: of NDCG on a slice, which no slice may exceed beyond chance.
        min_slice_users: users of a slice that is looked at.
        max_age_days: a served version older than this is replaced by one that is no better; 0: never for its age.
        min_requests: logged requests that must be asked again, where there is a log.
        max_short: how much larger the share of empty and short slates may be, of 1.
        max_cpu: how much more processor time a user may take.
        min_coverage: the share that must be left of the number of distinct items in the slates.
        min_exposure: the share that must be left of the places in slates that a category has.
        category: column of the items table that says an item's category; empty: the one of that name, where there is
            one.
        expected: categories that may lose more, and comparisons of the export with the served version that may
            differ, as the gate names them: "feature:context_1_device", "eligible:items", "seen".
        num_bootstrap: resamples of users behind each interval.
        seed: of every draw.
    """

    cutoff: Count = 10
    max_loss: Share = 0.01
    max_logloss: NonNegativeFloat = 0.02
    max_calibration: NonNegativeFloat = 0.02
    max_slice_loss: Share = 0.05
    min_slice_users: Count = 500
    max_age_days: NonNegative = 30
    min_requests: Count = 5_000
    max_short: Share = 0.001
    max_cpu: NonNegativeFloat = 0.1
    min_coverage: Share = 0.9
    min_exposure: Share = 0.5
    category: str = ""
    expected: tuple[str, ...] = ()
    num_bootstrap: Count = 1_000
    seed: NonNegative = 1
