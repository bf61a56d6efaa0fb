"""The slates of many users at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cascade_api.frames import raw
from operations.why.explain import Explainer
from operations.why.request import Names, RawRequest
from runtime.request import join

__all__ = ["slates"]

NAMES = Names("users", "context", "recent", "exclude")


def slates(
    explainer: Explainer, users: Sequence[int | str], size: int | None
) -> Iterator[tuple[int | str, int, int | str, float, str]]:
    """Each item of each slate: user, place, item, score and what the slate rests on.

    Raises:
        RequestError: a user is no id of the chain's type, or the chain refuses the size.
    """
    batch = explainer.nodes.spec.max_batch_size
    for start in range(0, len(users), batch):
        some = users[start : start + batch]
        asked = [RawRequest(user, {}, slate_size=size).checked(explainer.chain, NAMES) for user in some]
        answer = explainer.nodes.answer(explainer.run(join(asked)))
        for place, user in enumerate(some):
            count, path = int(answer["num_items"][place, 0]), answer["path"][place, 0].decode()
            items, scores = answer["item_id"][place, :count], answer["score"][place, :count]
            for at, (item, score) in enumerate(zip(items.tolist(), np.asarray(scores).tolist(), strict=True), start=1):
                yield user, at, raw(item), score, path
