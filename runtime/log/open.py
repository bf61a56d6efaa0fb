"""From what Triton tells a model's process to its recorder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.blocked import BlockedItems
from runtime.chain import Sampled, Shown
from runtime.errors import BadRequest
from runtime.log.folder import check_columns, log_settings, make_log
from runtime.log.identity import served_chain
from runtime.log.recorder import Recorder
from runtime.plan import PLAN_FILE, WIDTH, Plan
from runtime.request import Parsed
from runtime.spec import ChainSpec
from runtime.standard import standard_plan
from runtime.step import RequestStep
from runtime.stream.log.errors import LogError
from runtime.triton import WHOLE_CHAIN

__all__ = ["open_recorder"]


def open_recorder(
    model: Path,
    number: str,
    step: str,
    folder: Path,
    say: Callable[[str], None],
    *,
    first: RequestStep | None,
    blocked: BlockedItems | None,
    parsed: Callable[[], Sequence[Parsed | BadRequest]],
    sampled: Callable[[], Sampled | None],
    shown: Callable[[], Shown | None],
) -> Recorder | None:
    """The recorder of a process that reads requests, gives answers, or both; None for one that does neither.

    Args:
        model: the model's folder in the repository.
        number: of its version.
        step: what it runs, as config.pbtxt says.
        folder: the chain's files that it has.
        say: takes a sentence when something is wrong.
        first: reads requests, where this process does.
        blocked: items that it leaves out of every request.
        parsed: gives the checked requests of the last answers.
        sampled: gives what the slates of the last answers were drawn from.
        shown: gives the rows of the slates of the last answers.

    Raises:
        LogError: the settings, the salt or the item ids cannot be read, or a column is dropped that is not there.
    """
    settings, spec = log_settings(), ChainSpec.load(folder)
    plan = Plan.load(folder) if (folder / PLAN_FILE).exists() else standard_plan(spec)
    last = plan.nodes[-1]
    is_whole = step == WHOLE_CHAIN
    answers = {tensor.name: tensor.name if is_whole else last.gives[tensor.name] for tensor in spec.response}
    gives_answer = is_whole or step == last.model
    if settings is None or not (first or gives_answer):
        return None
    # In the image of Triton alone, nobody has looked at the settings or made the folder before the server started.
    check_columns(settings, {column.name for column in spec.context_columns})
    make_log(settings.folder)
    try:
        return Recorder(
            settings,
            served_chain(model, number),
            folder,
            spec,
            request_step=first,
            blocked=blocked,
            parsed=parsed,
            sampled=sampled,
            shown=shown,
            answer_names=answers if gives_answer else {},
            wanted_name="slate_size" if is_whole else last.reads.get(WIDTH, ""),
            layout="fused" if is_whole else "ensemble",
            step=step,
            say=say,
        )
    except FileNotFoundError as error:
        raise LogError(
            f"the last step of this chain does not open ids/items.npy, which the request log needs ({error}); serve "
            "the layout fused, or serve without --log"
        ) from error
