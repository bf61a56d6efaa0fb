"""The [stream] section: with it, a served chain takes in live events."""

from __future__ import annotations

from typing import Literal

from workflows.core.section import Count, Positive, Section, Share

__all__ = ["EMBEDDED", "StreamConfig"]

# Beside Triton, on its machine.
EMBEDDED = "embedded"


class StreamConfig(Section, frozen=True):
    """Live events: `cascade serve` also serves the model `cascade_events`, and slates know every acknowledged event.

    The labels are those of `data.labels`; an event with one of them and a value above 0 is an interaction.

    Attributes:
        ack: "log": an event is acknowledged once it is on disk; "memory": once it is written, which a crash of the
            machine may lose, and many times faster where events come one by one.
        dedupe_last: event ids that are remembered a user, to drop what is sent twice; with fewer than 64, what the
            client sends again of one busy user may count twice.
        max_future_s: an event that claims to be further ahead of its arrival than this is set to its arrival.
        segment_mb: size at which the log begins its next file.
        popular_by: a count of items in features.stream, as its column is called, such as "item_clicks_1d": users of
            whom nothing is known get what has been counted most lately, then what is popular by the tables.
        source: "embedded": the model `cascade_events` takes events in; or kafka://broker1,broker2/topic, which
            `cascade stream run` reads. ${NAME} stands for an environment variable, in which secrets belong.
        store: "embedded": the state is on the server's machine; or the URL of one that servers share:
            redis://, rediss:// (with TLS), redis+sentinel:// or rediss+sentinel://.
        max_staleness_s: a shared state that is further behind its topic gives no stream features.
        audit_share: of users in requests, from 0 to 1: of these the folder of live events keeps what they were given
            of its state, at which offset and instant, at most 32 MB; `cascade stream audit` counts them from the log.
    """

    ack: Literal["log", "memory"] = "log"
    dedupe_last: Count = 64
    max_future_s: Positive = 5.0
    segment_mb: Count = 64
    popular_by: str | None = None
    source: str = EMBEDDED
    store: str = EMBEDDED
    max_staleness_s: Positive = 60.0
    audit_share: Share = 0.0
