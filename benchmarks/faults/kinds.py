"""What goes wrong: in what is asked, in the files of a version, in a server's copy of them, and in its memory.

The family where a fault should be sought follows from its place, whatever the signals say of it: `requests` for what is
asked, `features` for what requests become by a version's files, `predictions` or `exposure` for what is answered, and
`operation` for what a process does beside the files of its version, since these, asked again, give something else. WHY
has a sentence for each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults import exports
from benchmarks.faults.exports import OfRun
from benchmarks.faults.serving import Answer, Slow
from benchmarks.signals.defects import DEFECTS
from runtime.request import Parsed
from runtime.spec import CHAIN_FILE, PATHS, POPULARITY
from runtime.step import Arrays

__all__ = ["ALTERED", "FAULTS", "RELEASED", "Fault"]

SLOWER_US = 20_000


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        name: in words.
        family: of the signals that should be named first.
        why: of that family.
        requests: changes what is asked.
        version: changes the chain's files, in a folder, before they are served.
        copy: changes those of a server alone: those that its version is kept with are whole.
        memory: of the chain's folder gives what the process makes of its answers.
        slow: what becomes of the time that requests take.
        num_times: how often each request comes.
        run: changes a copy of the run that is exported anew, and says with which config.
        is_released: whether the changed files are served as a version of their own, with a key of its own.
    """

    name: str
    family: str
    why: str
    requests: Callable[[Parsed], Parsed] | None = None
    version: Callable[[Path], None] | None = None
    copy: Callable[[Path], None] | None = None
    memory: Callable[[Path], Answer] | None = None
    slow: Slow = np.copy
    num_times: int = 1
    run: OfRun | None = None
    is_released: bool = False

    @property
    def pages(self) -> bool:
        """Whether somebody must be called: a process says what the files of its version do not."""
        return self.copy is not None or self.memory is not None


def _no_filter(chain: Path) -> None:
    """What users have seen is shown to them again."""
    path = chain / CHAIN_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"filter_seen": False}))


def _each(change: Callable[[Arrays], Arrays]) -> Callable[[Path], Answer]:
    return lambda chain: lambda answers: [change(answer) for answer in answers]


def _doubled(answer: Arrays) -> Arrays:
    return answer | {"score": np.minimum(answer["score"] * 2, 1).astype(np.float32)}


def _no_numbers(chain: Path) -> Answer:
    def change(answers: list[Arrays]) -> list[Arrays]:
        first, *others = answers
        return [first | {"score": np.full_like(first["score"], np.nan)}, *others]

    return change


def _swapped_ids(chain: Path) -> Answer:
    ids = np.load(chain / "ids/items.npy", allow_pickle=False)
    other = ids[np.random.default_rng(0).permutation(len(ids))]

    def change(answer: Arrays) -> Arrays:
        at = np.searchsorted(ids, answer["item_id"])
        known = ids[np.minimum(at, len(ids) - 1)] == answer["item_id"]
        return answer | {"item_id": np.where(known, other[np.minimum(at, len(ids) - 1)], answer["item_id"])}

    return lambda answers: [change(answer) for answer in answers]


def _popular(chain: Path) -> Answer:
    """Everybody is given the most popular items, and the path says so."""
    ids = np.load(chain / "ids/items.npy", allow_pickle=False)
    rows = np.load(chain / "popular.npy", allow_pickle=False)
    scores = np.load(chain / "popular_scores.npy", allow_pickle=False)

    def change(answer: Arrays) -> Arrays:
        width = answer["item_id"].shape[1]
        given = {"item_id": ids[rows[None, :width]], "score": scores[None, :width].astype(np.float32)}
        full = {"num_items": np.full_like(answer["num_items"], width)}
        return answer | given | full | {"path": np.full_like(answer["path"], PATHS[POPULARITY].encode())}

    return lambda answers: [change(answer) for answer in answers]


def _of_another(chain: Path) -> Answer:
    """Each request of a batch gets the answer of the one before it."""
    return lambda answers: [answers[-1], *answers[:-1]]


def _without_a_device(requests: Parsed) -> Parsed:
    """No request comes from a tablet: as many more come from elsewhere."""
    devices: NDArray = requests.context["device"].copy()
    others = devices[devices != b"tablet"]
    gone = devices == b"tablet"
    devices[gone] = others[np.arange(int(gone.sum())) % len(others)]
    return Parsed(**{**vars(requests), "context": {**requests.context, "device": devices}})


def _slow_node(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """One of four nodes takes ten times as long."""
    is_slow = np.arange(len(times)) % 4 == 0
    return np.where(is_slow, times + SLOWER_US, times)


ASKED = "what is asked has changed: a share or the distribution of a column, or how often requests come"
BECOMES = "the requests are as ever, and a feature that they become by the version's files is another one"
FEW = "requests and features are as ever; slates are short, which is told of what is answered"
SHOWN = "requests, features and the slates' sizes are as ever; which items are shown is not"
PROCESS = "the files of the version, asked again, give another answer than the process did"
SEARCHED = "requests and features are as ever; what search and ranker know of the items is not what was trained"
SCALE = "requests, features and the order of the items are as ever; the scores are not"
UNIT = "the events themselves are of another time"
TIME = "nothing that is asked or answered has changed, but the time it takes"
WHY = {"requests": ASKED, "features": BECOMES, "predictions": FEW, "exposure": SHOWN, "operation": PROCESS}


def _in(family: str, name: str, **place: Any) -> Fault:
    return Fault(name, family, WHY[family], **place)


# In what is asked, and in a process beside its files.
FAULTS = (
    *(_in(d.family, d.name, requests=d.requests) for d in DEFECTS if d.requests is not None),
    _in("requests", "no request comes from a tablet any more", requests=_without_a_device),
    _in("requests", "a proxy sends each request twice", num_times=2),
    _in("operation", "the process does not leave out what users have seen", copy=_no_filter),
    _in("operation", "the process has lost half of its index", copy=exports.half_index),
    _in("operation", "the process ranks by the items of another version", copy=exports.other_items),
    _in("operation", "the process gives an answer to the wrong request", memory=_of_another),
    _in("operation", "the process swaps the ids of its answers", memory=_swapped_ids),
    _in("operation", "the process gives everybody what is popular", memory=_popular),
    _in("operation", "the process doubles the scores", memory=_each(_doubled)),
    _in("operation", "one slate in sixteen has scores that are no numbers", memory=_no_numbers),
    Fault("one of four nodes is ten times as slow", "service", TIME, slow=_slow_node),
)
# In the files of a version: as a version of its own, as an export that went wrong would be released.
IN_FILES = (
    *(_in(d.family, d.name, version=d.files) for d in DEFECTS if d.files is not None),
    _in("exposure", "the stock lacks the items that were new", version=exports.no_new_items),
)
RELEASED = tuple(
    replace(fault, is_released=True)
    for fault in (
        *IN_FILES,
        Fault("half of the export's index is lost", "predictions", SEARCHED, version=exports.half_index),
        Fault("the export ranks by the items of another version", "predictions", SEARCHED, version=exports.other_items),
        Fault("vectors are one row off their ids", "predictions", SEARCHED, version=exports.off_by_one),
        Fault("embeddings are cut to one bit a number", "predictions", SEARCHED, version=exports.coarse_index),
        Fault("every logit is too large by 1.5", "predictions", SCALE, version=exports.other_scale),
        _in("exposure", "exported with the config of an experiment", run=exports.other_config),
        _in("exposure", "exported with a config without the stock", run=exports.without_stock),
        _in("exposure", "exported with the items table of three weeks ago", run=exports.old_stock),
        _in("features", "the items' tags come in another language", run=exports.other_texts),
        Fault("timestamps are read a thousand times too early", "requests", UNIT, run=exports.other_unit),
    )
)
# The same files under the key of the whole version, whose limits they are judged by: more is found than in a release.
ALTERED = IN_FILES
