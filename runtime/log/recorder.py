"""What a model's process does with the requests that it has answered: it counts all and logs the sampled ones."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.blocked import BlockedItems
from runtime.chain import Sampled, Shown
from runtime.errors import BadRequest, ServerFault
from runtime.ids import IdMap
from runtime.log.folder import LogSettings, read_salt
from runtime.log.identity import Served, environment
from runtime.log.record import ANSWER, ERROR, FORCED, HASH, REQUEST, SLOW, WHOLE, pack_record
from runtime.log.rows import EXPERIMENT, answer_arrays, experiments, request_arrays, user_keys
from runtime.log.sampling import LOG, NEVER, key_of, limit_of
from runtime.log.usage import FAILED, OK, REFUSED, UNNAMED, Usage
from runtime.log.writer import Writer
from runtime.request import Parsed, RequestParser
from runtime.spec import ChainSpec
from runtime.step import Arrays, RequestStep, load_array
from runtime.stream.live import at_instant

__all__ = ["Recorder"]

CONSUMERS, TRACE, FORCE = ("consumer", "x-cascade-consumer"), "traceparent", (LOG, "x-cascade-log")
EXPERIMENT_HEADER = "x-cascade-experiment"
LONGEST_NAME = 64
# What a response has of a chain with a live state: up to where it knows events, -1 where the state is away.
OFFSET = "stream_offset"
# The time that one request in a thousand takes longer than, followed by steps of this share of itself.
SLOW_SHARE, STEP = 0.001, 0.05
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NO_INSTANT: AbstractContextManager[None] = nullcontext()
NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})
Answer = Arrays | BadRequest


class Recorder:
    """The log of one process.

    Args:
        settings: how requests are logged.
        served: the version that answers.
        folder: the chain's files that this process has.
        spec: the chain's sizes.
        request_step: reads requests, where this process does.
        blocked: items that it leaves out of every request.
        parsed: gives the checked requests of the last answers, which are checked again where it does not know them.
        sampled: gives what the slates of the last answers were drawn from.
        shown: gives the rows of the slates of the last answers, which are looked up where it does not know them.
        answer_names: the response's array -> its name here, where this process gives the answer.
        wanted_name: the array here that says how many items each slate was to have, where the request says it.
        layout: "fused" or "ensemble".
        step: what this process runs, as config.pbtxt says.
        teams: of a model that drafts, whose slates it drafts from.
        say: takes a sentence when something is wrong.

    Raises:
        OSError: the salt or the item ids cannot be read.
    """

    def __init__(
        self,
        settings: LogSettings,
        served: Served,
        folder: Path,
        spec: ChainSpec,
        *,
        request_step: RequestStep | RequestParser | None,
        blocked: BlockedItems | None = None,
        parsed: Callable[[], Sequence[Parsed | BadRequest]] = tuple,
        sampled: Callable[[], Sampled | None] = lambda: None,
        shown: Callable[[], Shown | None] = lambda: None,
        answer_names: Mapping[str, str],
        wanted_name: str = "slate_size",
        layout: str,
        step: str,
        teams: Sequence[str] = (),
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._say = settings, say
        self._salt, self._limit = read_salt(settings.folder), limit_of(settings.share)
        self._request_step, self._blocked, self._answer_names = request_step, blocked, dict(answer_names)
        self._sampled, self._shown = sampled, shown
        self._parsed, self._reads, self._is_live = parsed, request_step is not None, spec.live is not None
        self._path, self._number, self._offset = (
            self._answer_names.get(name, "") for name in ("path", "num_items", OFFSET)
        )
        self._size, self._wanted_name = spec.slate_size, wanted_name
        self._kind = WHOLE if request_step and answer_names else REQUEST if request_step else ANSWER
        self._items = IdMap(load_array(folder / "ids/items.npy"), padded=True) if answer_names else None
        self._slow_us = 1e9
        self._header = {
            "chain_key": served.chain_key,
            "model_version": served.version,
            "repository": str(served.repository),
            "layout": layout,
            "step": step,
            "host": socket.gethostname(),
            "share": settings.share,
            "salt_id": self._salt.id,
            "dropped": list(settings.dropped),
            "context": [[column.name, column.dtype] for column in spec.context_columns],
            "is_live": spec.live is not None,
            **explored_by(spec),
            **({"teams": list(teams)} if teams else {}),
        }
        labels = {"model_version": str(served.version), "layout": layout, "step": step}
        self._usage = Usage(settings.folder, labels, settings.consumers, say)
        self._writer = Writer(settings.folder, self._make_header, say)

    def answer(
        self, answer: Callable[[], list[Answer]], requests: Sequence[Any], arrays: Sequence[Mapping[str, NDArray]]
    ) -> list[Answer]:
        """Have requests answered, count them, and log those of the sample.

        Args:
            answer: answers all of them.
            requests: Triton's.
            arrays: the inputs of each.

        Returns:
            What `answer` does; nothing that goes wrong here changes it.
        """
        started, now = time.monotonic_ns(), time.time_ns()
        # A chain without live events asks for no instant.
        with at_instant(now) if self._is_live else NO_INSTANT:
            answers = answer()
        self.note(requests, arrays, answers, started, now)
        return answers

    def note(
        self,
        requests: Sequence[Any],
        arrays: Sequence[Mapping[str, NDArray]],
        answers: Sequence[Answer],
        started: int,
        now: int,
    ) -> None:
        """Count requests that were answered, and log those of the sample; nothing that goes wrong here is raised.

        Args:
            requests: Triton's.
            arrays: the inputs of each.
            answers: of each.
            started: when this process had them, by the monotonic clock.
            now: the same instant, nanoseconds since 1970.
        """
        try:
            self._record(requests, arrays, answers, started, now)
        except Exception as error:  # whatever it is, the answers are there
            self._writer.counts["failed"] += 1
            self._say(f"a request could not be logged ({type(error).__name__}: {error})")

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()
        self._usage.close()

    def _record(
        self,
        requests: Sequence[Any],
        arrays: Sequence[Mapping[str, NDArray]],
        answers: Sequence[Answer],
        started: int,
        now: int,
    ) -> None:
        """Count all requests, then log those of the sample: what few of them need is not made for the others."""
        ended = time.monotonic_ns()
        service_us = (ended - started) // 1000
        if len(requests) == 1:  # the usual batch of a server that is not busy
            said = [self._use(requests[0], arrays[0], answers[0], service_us)]
            chosen = [self._chosen(requests[0], said[0], answers[0], service_us)]
        else:
            said = [self._use(*each, service_us) for each in zip(requests, arrays, answers, strict=True)]
            chosen = [self._chosen(*each, service_us) for each in zip(requests, said, answers, strict=True)]
        if not any(chosen):
            return
        self._count("sampled", len(chosen) - chosen.count(None))
        known = self._parsed()
        # Where they failed together, they were answered one by one.
        checked = known if len(known) == len(requests) else [None] * len(requests)
        at = (now + ended - started, ended, service_us, sum(len(next(iter(each.values()), ())) for each in arrays))
        drawn, shown = _of_each(self._sampled(), answers), _of_each(self._shown(), answers)
        for place, found in enumerate(chosen):
            if found is not None:
                answered = (answers[place], drawn[place], shown[place])
                self._log(found, said[place], at, arrays[place], checked[place], answered, now)

    def _use(
        self, request: Any, inputs: Mapping[str, NDArray], answered: Answer, service_us: int
    ) -> tuple[Mapping[str, Any], str]:
        """Count a request where requests are read, its slates where answers are given.

        Returns:
            Its parameters, and the name of its consumer.
        """
        usage, parameters = self._usage, _parameters(request.parameters())
        if parameters and _is_part(parameters):
            return parameters, UNNAMED
        consumer = usage.consumer(_consumer(parameters)) if parameters else UNNAMED
        took_us = service_us if self._kind == WHOLE else None
        if isinstance(answered, BadRequest):
            is_fault = isinstance(answered, ServerFault)
            if self._reads or is_fault:
                usage.request(consumer, FAILED if is_fault else REFUSED, took_us)
            return parameters, consumer
        if self._reads:
            usage.request(consumer, OK, took_us)
        if self._path:
            paths, numbers, wanted = answered[self._path], answered[self._number], inputs.get(self._wanted_name)
            if len(paths) == 1:
                size = self._size if wanted is None else wanted.item(0)
                usage.slate(consumer, paths.item(0), numbers.item(0), size)
                if self._offset:
                    usage.live((answered[self._offset].item(0),))
            else:
                sizes = repeat(self._size) if wanted is None else wanted.reshape(-1).tolist()
                for path, number, size in zip(paths[:, 0].tolist(), numbers[:, 0].tolist(), sizes, strict=False):
                    usage.slate(consumer, path, number, size)
                if self._offset:
                    usage.live(answered[self._offset].ravel().tolist())
        return parameters, consumer

    def _chosen(
        self, request: Any, said: tuple[Mapping[str, Any], str], answered: Answer, service_us: int
    ) -> tuple[str, int, int] | None:
        """The id, key and reason of a request that is logged; None of one that is not."""
        parameters = said[0]
        if parameters and _is_part(parameters):
            return None
        if self._reads:
            self._writer.counts["requests"] += 1
        request_id = request.request_id() or self._drawn_id()
        if not request_id:
            self._count("without_id")
            return None
        key = key_of(request_id)
        reason = self._reason(key, parameters, service_us, answered)
        return None if reason is None else (request_id, key, reason)

    def _log(
        self,
        chosen: tuple[str, int, int],
        said: tuple[Mapping[str, Any], str],
        at: tuple[int, int, int, int],
        inputs: Mapping[str, NDArray],
        parsed: Parsed | BadRequest | None,
        answer: tuple[Answer, Sampled | None, Shown | None],
        now: int,
    ) -> None:
        """Hand a record to the writer as bytes.

        They are copies: what waits then holds no array that a step may write to again, or that is a part of a whole
        batch, and takes no more memory than the writer counts.
        """
        (request_id, key, reason), (parameters, consumer), (answered, drawn, shown) = chosen, said, answer
        trace = str(parameters[TRACE]) if TRACE in parameters else ""
        if isinstance(answered, BadRequest):
            # One row stands for all of its users.
            arrays = experiments(_experiment(parameters).partition(",")[0], 1) if self._reads else {}
            packed = pack_record((WHOLE, key, *at, reason), (request_id, consumer, trace, str(answered)), arrays)
        else:
            arrays = self._arrays(inputs, parsed, answered, drawn, shown, now)
            if self._reads and (label := _experiment(parameters)):
                arrays |= experiments(label, len(inputs["user_id"]))
            packed = pack_record((self._kind, key, *at, reason), (request_id, consumer, trace, ""), arrays)
        self._writer.add(packed)

    def _count(self, what: str, number: int = 1) -> None:
        """Count requests, in the one process of several that reads them."""
        if self._reads:
            self._writer.counts[what] += number

    def _drawn_id(self) -> str:
        """An id for a request without one; none where another process could not know it."""
        return uuid.uuid4().hex if self._kind == WHOLE else ""

    def _reason(self, key: int, parameters: Mapping[str, Any], service_us: int, answered: Answer) -> int | None:
        """Why a request is logged; None: it is not."""
        is_slow = self._kind == WHOLE and self._is_slow(service_us)
        if key < self._limit:
            return HASH
        if isinstance(answered, BadRequest):
            return ERROR
        if parameters and any(str(parameters.get(name, "")).lower() in ("1", "true") for name in FORCE):
            return FORCED
        return SLOW if is_slow else None

    def _is_slow(self, service_us: int) -> bool:
        """Whether it took longer than all but one in a thousand lately."""
        if self._slow_us >= 1e9:
            self._slow_us = 4.0 * service_us
        is_slow = service_us > self._slow_us
        self._slow_us *= 1 + STEP * (is_slow - SLOW_SHARE)
        return is_slow

    def _arrays(
        self,
        inputs: Mapping[str, NDArray],
        parsed: Parsed | BadRequest | None,
        answered: Arrays,
        drawn: Sampled | None,
        shown: Shown | None,
        now: int,
    ) -> Arrays:
        arrays: Arrays = {}
        if self._request_step is not None:
            arrays["user_key"] = user_keys(self._salt, inputs["user_id"])
            if not isinstance(parsed, Parsed):
                parsed = self._request_step.parse(inputs)
                # As of the answer: the file has not been looked at since.
                parsed = parsed if self._blocked is None else self._blocked.leave_out(parsed)
            arrays.update(request_arrays(parsed, now, self._settings.dropped))
        if self._items is not None:
            arrays.update(answer_arrays(answered, self._answer_names, self._items, drawn, shown))
        return arrays

    def _make_header(self) -> dict[str, Any]:
        """What needs time is asked beside the requests."""
        try:
            boot = BOOT_ID.read_text().strip()
        except OSError:
            boot = ""
        return {**self._header, "boot_id": boot, "env": environment()}


def explored_by(spec: ChainSpec) -> dict[str, Any]:
    """What a segment says of a chain that explores."""
    if spec.order is None or spec.order.explore is None:
        return {}
    return {"temperature": spec.order.explore.temperature}


def _of_each(made: Sampled | Shown | None, answers: Sequence[Answer]) -> Sequence[Sampled | Shown | None]:
    """What belongs to the slates of each request; None for one of which nothing does."""
    if made is None:
        return [None] * len(answers)
    sizes = [0 if isinstance(answer, BadRequest) else len(next(iter(answer.values()))) for answer in answers]
    # Where they failed together, they were answered one by one.
    if sum(sizes) != len(made[0]):
        return [None] * len(answers)
    if len(answers) == 1:
        return [made]
    rows, values = (np.split(each, np.cumsum(sizes)[:-1]) for each in made)
    return [(own, rest) if (own >= 0).any() else None for own, rest in zip(rows, values, strict=True)]


def _parameters(given: str | None) -> Mapping[str, Any]:
    # Without parameters it is an empty object.
    if given is None or len(given) <= 2:
        return NO_PARAMETERS
    return {name.lower(): value for name, value in json.loads(given).items()}


def _is_part(parameters: Mapping[str, Any]) -> bool:
    """Whether its slate is not shown but becomes a part of one, which another process logs."""
    return parameters.get(LOG) == NEVER


def _experiment(parameters: Mapping[str, Any]) -> str:
    return str(parameters.get(EXPERIMENT) or parameters.get(EXPERIMENT_HEADER) or "")


def _consumer(parameters: Mapping[str, Any]) -> str:
    return next((str(parameters[key]) for key in CONSUMERS if parameters.get(key)), "")[:LONGEST_NAME]
