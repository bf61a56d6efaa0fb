"""What a model's process does with the requests that it has answered: it counts all and logs the sampled ones."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from runtime.blocked import BlockedItems
from runtime.errors import BadRequest, ServerFault
from runtime.ids import IdMap
from runtime.log.arrays import pack_array
from runtime.log.folder import LogSettings, read_salt
from runtime.log.identity import Served, environment
from runtime.log.record import ANSWER, ERROR, FORCED, HASH, REQUEST, SLOW, WHOLE, Record
from runtime.log.rows import answer_arrays, request_arrays, user_keys
from runtime.log.sampling import key_of, limit_of
from runtime.log.usage import FAILED, OK, REFUSED, Usage
from runtime.log.writer import Writer
from runtime.request import Parsed
from runtime.spec import ChainSpec
from runtime.step import Arrays, RequestStep, load_array
from runtime.stream.live import at_instant

__all__ = ["Recorder"]

CONSUMERS, TRACE, FORCE = ("consumer", "x-cascade-consumer"), "traceparent", ("log", "x-cascade-log")
LONGEST_NAME = 64
# What a response has of a chain with a live state: up to where it knows events, -1 where the state is away.
OFFSET = "stream_offset"
# The time that one request in a thousand takes longer than, followed by steps of this share of itself.
SLOW_SHARE, STEP = 0.001, 0.05
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
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
        answer_names: the response's array -> its name here, where this process gives the answer.
        wanted_name: the array here that says how many items each slate was to have, where the request says it.
        layout: "fused" or "ensemble".
        step: what this process runs, as config.pbtxt says.
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
        request_step: RequestStep | None,
        blocked: BlockedItems | None = None,
        parsed: Callable[[], Sequence[Parsed | BadRequest]] = tuple,
        answer_names: Mapping[str, str],
        wanted_name: str = "slate_size",
        layout: str,
        step: str,
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._spec, self._say = settings, spec, say
        self._salt, self._limit = read_salt(settings.folder), limit_of(settings.share)
        self._request_step, self._blocked, self._answer_names = request_step, blocked, dict(answer_names)
        self._parsed = parsed
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
        }
        self._wanted_name = wanted_name
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
        with at_instant(now):
            answers = answer()
        try:
            ended = time.monotonic_ns()
            self._count("requests", len(requests))
            service_us = (ended - started) // 1000
            batch = sum(len(next(iter(each.values()), ())) for each in arrays)
            said = [_parameters(request) for request in requests]
            names = [self._usage.consumer(_consumer(parameters)) for parameters in said]
            for consumer, inputs, answered in zip(names, arrays, answers, strict=True):
                self._use(consumer, inputs, answered, service_us)
            known = self._parsed()
            # Where they failed together, they were answered one by one.
            checked = known if len(known) == len(requests) else [None] * len(requests)
            at = (now + ended - started, ended, service_us, batch, now)
            for place, request in enumerate(requests):
                self._log(request, said[place], names[place], arrays[place], checked[place], answers[place], at)
        except Exception as error:  # whatever it is, the answers are there
            self._writer.counts["failed"] += 1
            self._say(f"a request could not be logged ({type(error).__name__}: {error})")
        return answers

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()
        self._usage.close()

    def _use(self, consumer: str, inputs: Mapping[str, NDArray], answered: Answer, service_us: int) -> None:
        """Count a request where requests are read, its slates where answers are given."""
        refused = isinstance(answered, BadRequest)
        outcome = FAILED if isinstance(answered, ServerFault) else REFUSED if refused else OK
        if self._request_step is not None or outcome == FAILED:
            self._usage.request(consumer, outcome, service_us if self._kind == WHOLE else None)
        if not isinstance(answered, BadRequest) and "path" in self._answer_names:
            paths, numbers = (answered[self._answer_names[name]][:, 0].tolist() for name in ("path", "num_items"))
            wanted = inputs.get(self._wanted_name)
            sizes = [self._spec.slate_size] * len(paths) if wanted is None else wanted.reshape(-1).tolist()
            self._usage.slates(consumer, zip(paths, numbers, sizes, strict=True))
            if OFFSET in self._answer_names:
                self._usage.live(answered[self._answer_names[OFFSET]].ravel().tolist())

    def _log(
        self,
        request: Any,
        parameters: Mapping[str, Any],
        consumer: str,
        inputs: Mapping[str, NDArray],
        parsed: Parsed | BadRequest | None,
        answered: Answer,
        at: tuple[int, int, int, int, int],
    ) -> None:
        request_id = request.request_id() or self._drawn_id()
        if not request_id:
            self._count("without_id")
            return
        key, refused = key_of(request_id), isinstance(answered, BadRequest)
        wall, mono, service_us, batch, now = at
        reason = self._reason(key, parameters, service_us, refused)
        if reason is None:
            return
        self._count("sampled")
        arrays = {} if isinstance(answered, BadRequest) else self._arrays(inputs, parsed, answered, now)
        packed = {name: pack_array(array) for name, array in arrays.items()}
        record = Record(
            *(WHOLE if refused else self._kind, key, wall, mono, service_us, batch, reason),
            request_id=request_id,
            consumer=consumer,
            trace=str(parameters.get(TRACE, "")),
            error=str(answered) if refused else "",
            arrays=packed,
        )
        self._writer.add(record.pack())

    def _count(self, what: str, number: int = 1) -> None:
        """Count requests, in the one process of several that reads them."""
        if self._request_step is not None:
            self._writer.counts[what] += number

    def _drawn_id(self) -> str:
        """An id for a request without one; none where another process could not know it."""
        return uuid.uuid4().hex if self._kind == WHOLE else ""

    def _reason(self, key: int, parameters: Mapping[str, Any], service_us: int, refused: bool) -> int | None:
        """Why a request is logged; None: it is not."""
        is_slow = self._kind == WHOLE and self._is_slow(service_us)
        if key < self._limit:
            return HASH
        if refused:
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
        self, inputs: Mapping[str, NDArray], parsed: Parsed | BadRequest | None, answered: Arrays, now: int
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
            arrays.update(answer_arrays({n: answered[name] for n, name in self._answer_names.items()}, self._items))
        return arrays

    def _make_header(self) -> dict[str, Any]:
        """What needs time is asked beside the requests."""
        try:
            boot = BOOT_ID.read_text().strip()
        except OSError:
            boot = ""
        return {**self._header, "boot_id": boot, "env": environment()}


def _parameters(request: Any) -> dict[str, Any]:
    given = request.parameters()
    # Without parameters it is an empty object.
    return {name.lower(): value for name, value in json.loads(given).items()} if len(given or "") > 2 else {}


def _consumer(parameters: Mapping[str, Any]) -> str:
    if not parameters:
        return ""
    return next((str(parameters[key]) for key in CONSUMERS if parameters.get(key)), "")[:LONGEST_NAME]
