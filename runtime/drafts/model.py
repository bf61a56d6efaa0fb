"""The Triton model of an experiment that interleaves: it asks two versions at once and drafts from their slates.

It opens no chain: what it costs is the second version's work and one more process on the way. A version that cannot
answer costs no request: the whole slate of the other is given then, and the answer says so.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime.drafts.answer import drafted, whole
from runtime.drafts.spec import NEITHER, DraftSpec, Team
from runtime.errors import BadRequest, ServerFault
from runtime.log.sampling import LOG, NEVER
from runtime.order_spec import DETERMINISTIC
from runtime.spec import FORCE_POLICY, ChainSpec
from runtime.step import Arrays
from runtime.triton import CHAIN_FOLDER, LOG_VARIABLE, Answer, arrays_of, response_of

__all__ = ["TritonPythonModel"]

USER, SIZE = "user_id", "slate_size"
# Triton's number for whichever version of a model is served.
LATEST = -1
SAY_EACH_S, MOST_SAID = 60.0, 100


class TritonPythonModel:
    """What Triton's Python backend instantiates. It keeps nothing between two requests."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read whose slates are drafted from; the versions are asked for the first time by the first request."""
        # The backend adds this module only after model.py has been imported.
        import triton_python_backend_utils as pb_utils

        self._pb: Any = pb_utils
        folder = Path(args["model_repository"]) / args["model_version"] / CHAIN_FOLDER
        self._spec, self._chain = DraftSpec.load(folder), ChainSpec.load(folder)
        self._inputs = [tensor.name for tensor in self._chain.request]
        self._outputs = self._spec.response(self._chain)
        self._asked = [tensor.name for tensor in self._chain.response]
        self._said: dict[str, float] = {}
        self._recorder: Any = None
        if os.environ.get(LOG_VARIABLE):
            from runtime.drafts.log import open_recorder

            model = Path(args["model_repository"])
            try:
                self._recorder = open_recorder(
                    model, args["model_version"], folder, self._outputs, self._spec, self._warn
                )
            except OSError as error:
                raise pb_utils.TritonModelException(str(error)) from error

    async def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Ask both versions for all requests together, then draft each."""
        started, now = time.monotonic_ns(), time.time_ns()
        given = await asyncio.gather(*(self._of_both(request) for request in requests))
        arrays = [arrays_of(self._pb, request, self._inputs) for request in requests]
        answers = [self._draft(*each) for each in zip(requests, arrays, given, strict=True)]
        if self._recorder is not None:
            self._recorder.note(requests, arrays, answers, started, now)
        return [response_of(self._pb, answer, self._outputs) for answer in answers]

    def finalize(self) -> None:
        """Write what the log still has to."""
        if self._recorder is not None:
            self._recorder.close()

    def _draft(self, request: Any, arrays: Arrays, given: Sequence[Answer | None]) -> Answer:
        """The answer to a request, of those of the control, of the other version, and of what is served now."""
        control, other, served = given
        if isinstance(served, dict):
            return whole(served, NEITHER)
        try:
            if isinstance(control, dict) and isinstance(other, dict):
                sizes = arrays.get(SIZE, np.full((len(arrays[USER]), 1), self._chain.slate_size))[:, 0]
                return drafted(self._spec, arrays[USER], request.request_id(), sizes, (control, other))
        except Exception as error:  # whatever it is, the other requests must be answered
            self._say(f"{type(error).__name__}: {error}")
        for answer, team in zip((control, other), self._spec.teams, strict=True):
            if isinstance(answer, dict):
                return whole(answer, team.name)
        assert control is not None
        return control

    async def _of_both(self, request: Any) -> tuple[Answer, Answer, Answer | None]:
        """The answers of both versions; and that of what is served, where the control is not served any more."""
        first, second = self._spec.teams
        control, other = await asyncio.gather(self._ask(request, first), self._ask(request, second))
        is_away = isinstance(control, ServerFault)
        return control, other, await self._ask(request, replace(first, version=LATEST)) if is_away else None

    async def _ask(self, request: Any, team: Team) -> Answer:
        """The slates of one version, or why it gives none: a ServerFault where it is not there to be asked."""
        try:
            answer = await self._pb.InferenceRequest(
                model_name=team.model,
                model_version=team.version,
                request_id=request.request_id(),
                inputs=self._passed(request, team),
                requested_output_names=self._asked,
                # Whose slate is shown is decided here, and what is shown is logged here.
                parameters={LOG: NEVER},
            ).async_exec()
            if not answer.has_error():
                return {tensor.name(): tensor.as_numpy() for tensor in answer.output_tensors()}
            said = answer.error()
            if said.code() == self._pb.TritonError.INVALID_ARG:
                return BadRequest(said.message())
            why = said.message()
        except Exception as error:  # a version that is not loaded
            why = str(error)
        self._say(f"{team.name}: {why}")
        return ServerFault()

    def _passed(self, request: Any, team: Team) -> list[Any]:
        """What a version is asked: the inputs that it takes, and how many items where the request leaves that open."""
        tensors = {tensor.name(): tensor for tensor in request.inputs() if tensor.name() in team.inputs}
        num_users = len(tensors[USER].as_numpy())
        if SIZE not in tensors:  # both give as many
            tensors[SIZE] = self._pb.Tensor(SIZE, np.full((num_users, 1), self._chain.slate_size, np.int32))
        if team.explores:  # a vote on what chance had put first is none
            wanted = np.full((num_users, 1), DETERMINISTIC.encode(), object)
            tensors[FORCE_POLICY] = self._pb.Tensor(FORCE_POLICY, wanted)
        return list(tensors.values())

    def _say(self, what: str) -> None:
        """Log a problem; one that lasts once in a while."""
        if time.monotonic() - self._said.get(what, -SAY_EACH_S) >= SAY_EACH_S:
            known = {} if len(self._said) > MOST_SAID else self._said
            self._said = {**known, what: time.monotonic()}
            self._pb.Logger.log_error(f"{self._spec.experiment}: {what}")

    def _warn(self, what: str) -> None:
        self._pb.Logger.log_warn(f"request log: {what}")
