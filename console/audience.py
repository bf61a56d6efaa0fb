"""Who gets an item: the slates and candidates of a sample of users, worked out in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from console.segments import Segment, segments_of
from console.site import Open
from runtime.errors import BadRequest
from runtime.ids import NO_ITEM, IdMap
from runtime.order_spec import DETERMINISTIC
from runtime.spec import FORCE_POLICY
from runtime.step import RequestStep, load_array
from workflows.core import console
from workflows.core.errors import CascadeError

__all__ = ["Audience", "Sample"]

NUM_USERS, BATCH = 2_000, 16
# Between two batches, so that a page that waits for the chain has it.
PAUSE_S = 0.005
# What live events and blocked items have changed since then is too much to pass over.
HOLDS_S = 900.0


@dataclass
class Sample:
    """The answers of a sample of users to requests that say nothing but the user.

    Attributes:
        users: int64 [n], rows, ascending.
        slates: int32 [n, S], item rows by place; -1 where a slate is shorter.
        candidates: int32 [n, C], item rows; -1 where there are fewer.
        num_done: users whose answers are there, the first ones.
        segments: of the users.
        problem: why it ended before all were.
    """

    users: NDArray[np.int64]
    slates: NDArray[np.int32]
    candidates: NDArray[np.int32]
    num_done: int = 0
    segments: list[Segment] = field(default_factory=list)
    problem: str = ""

    @property
    def is_done(self) -> bool:
        """Whether nothing is to come."""
        return self.num_done == len(self.users) or bool(self.problem)


class Audience:
    """The sample of what is served now.

    Args:
        chain: gives the chain, for the time of a block.
    """

    def __init__(self, chain: Callable[[], AbstractContextManager[Open]]) -> None:
        self._chain = chain
        self._lock = threading.Lock()
        self._of: tuple[object, ...] = ()
        self._sample: Sample | None = None
        self._until = 0.0

    def of(self, opened: Open) -> Sample:
        """The sample of an open chain, as far as it is worked out; it begins with the first question.

        Args:
            opened: the chain, which the caller has for itself.
        """
        of = (id(opened), opened.stamp, opened.explainer.blocked.tobytes())
        with self._lock:
            if self._sample is None or self._of != of or time.monotonic() > self._until:
                self._of, self._until = of, time.monotonic() + HOLDS_S
                self._sample = _empty(opened)
                thread = threading.Thread(target=self._work, args=(self._sample, opened), daemon=True)
                thread.start()
            return self._sample

    def _work(self, sample: Sample, opened: Open) -> None:
        try:
            sample.segments = segments_of(opened, sample.users)
            while not sample.is_done and sample is self._sample:
                with self._chain() as now:
                    if now is not opened:
                        return
                    _answer(opened, sample)
                time.sleep(PAUSE_S)
        except (CascadeError, BadRequest, OSError) as error:
            sample.problem = str(error)
        except Exception as error:
            console.say(f"who gets an item: {type(error).__name__}: {error}")
            sample.problem = "this is broken; the terminal says where"


def _empty(opened: Open) -> Sample:
    spec = opened.explainer.nodes.spec
    count = min(NUM_USERS, spec.num_users)
    users = np.sort(np.random.default_rng(0).choice(spec.num_users, count, replace=False)).astype(np.int64)
    slates = np.full((count, spec.slate_size), NO_ITEM, np.int32)
    return Sample(users, slates, np.full((count, spec.num_candidates), NO_ITEM, np.int32))


def _answer(opened: Open, sample: Sample) -> None:
    """Those of the next users."""
    explainer, first = opened.explainer, sample.num_done
    spec, folder = explainer.nodes.spec, explainer.served.folder
    place = slice(first, first + min(BATCH, spec.max_batch_size))
    ids = load_array(folder / "ids/users.npy")[sample.users[place]][:, None]
    request = {"user_id": ids.astype(object) if ids.dtype.kind == "S" else ids}
    if spec.explores:
        request[FORCE_POLICY] = np.full((len(ids), 1), DETERMINISTIC.encode(), object)
    step = explainer.chain.nodes[0].step
    assert isinstance(step, RequestStep)
    arrays = explainer.run(step.parse(request))
    answer = explainer.nodes.answer(arrays)
    shown = answer["item_id"]
    rows = IdMap(explainer.ids, padded=True).rows("item_id", shown)
    rows[np.arange(rows.shape[1]) >= answer["num_items"]] = NO_ITEM
    sample.slates[place, : rows.shape[1]] = rows[:, : sample.slates.shape[1]]
    if "candidates" in arrays:
        sample.candidates[place, : arrays["candidates"].shape[1]] = arrays["candidates"]
    sample.num_done = first + len(ids)
