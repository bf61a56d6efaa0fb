"""Two responses as one: what each user gets, padding, scores, and what is said of the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.drafts.answer import drafted, whole
from runtime.drafts.spec import BOTH, DraftSpec, Team, drafted_spec
from runtime.interleave import FIRST, NOBODY, SECOND
from runtime.spec import ChainSpec
from runtime.tensor import Tensor
from tests.operations.repository import publish_golden

SPEC = DraftSpec(
    "margin",
    "margin-1",
    (Team("old", "cascade", 3, ("user_id",), False), Team("new", "cascade_v4", 4, ("user_id", "hour"), True)),
)
USERS = np.array([[7], [8], [9]])


def response(slates: list[list[Any]], first_score: float, **more: np.ndarray) -> dict[str, np.ndarray]:
    """A chain's response, padded as it is there."""
    is_text = any(isinstance(item, bytes) for items in slates for item in items)
    width = max(map(len, slates))
    items = np.full((len(slates), width), b"" if is_text else -1, object if is_text else np.int64)
    scores = np.zeros(items.shape, np.float32)
    for row, slate in enumerate(slates):
        items[row, : len(slate)] = slate
        scores[row, : len(slate)] = first_score - 0.125 * np.arange(len(slate))
    counts = np.array([[len(slate)] for slate in slates], np.int32)
    paths = np.full((len(slates), 1), b"known_user", object)
    return {"item_id": items, "score": scores, "num_items": counts, "path": paths, **more}


def draft(first: list[list[Any]], second: list[list[Any]], size: int, request_id: str = "r") -> dict[str, np.ndarray]:
    sizes = np.full(len(first), size, np.int32)
    pair = response(first, 1.0), response(second, 8.0)
    return drafted(SPEC, USERS[: len(first)], request_id, sizes, pair)


@pytest.mark.parametrize("as_id", [int, lambda item: f"item-{item}".encode()], ids=["int64", "text"])
def test_each_user_has_a_draft_of_their_own_slates(as_id: Any) -> None:
    first = [[as_id(item) for item in items] for items in ([1, 2, 3], [4, 5, 6], [])]
    second = [[as_id(item) for item in items] for items in ([1, 9, 8], [7], [])]
    found = draft(first, second, 3)
    assert found["num_items"][:, 0].tolist() == [3, 3, 0] and found["variant"][:, 0].tolist() == [BOTH.encode()] * 3
    assert found["item_id"].dtype == (np.int64 if as_id is int else object)
    assert found["item_id"][0, 0] == as_id(1) and found["team"][0, 0] == NOBODY and found["score"][0, 0] == 1.0
    assert set(found["item_id"][0, 1:]) == {as_id(2), as_id(9)}
    assert set(found["item_id"][1]) == {as_id(4), as_id(5), as_id(7)}
    # The second has one item: what the first adds after it says nothing.
    assert sorted(found["team"][1].tolist()) in ([NOBODY, FIRST, SECOND], [NOBODY, NOBODY, SECOND])
    assert found["item_id"][2].tolist() == [-1 if as_id is int else b""] * 3 and set(found["team"][2]) == {NOBODY}
    for row in range(2):
        for item, score, team in zip(found["item_id"][row], found["score"][row], found["team"][row], strict=True):
            assert (score > 4.0) == (team == SECOND), (item, score, team)


def test_a_slate_is_as_long_as_was_asked_for() -> None:
    found = draft([[1, 2, 3, 4, 5]] * 2, [[9, 8, 7, 6, 5]] * 2, 2)
    assert found["item_id"].shape == found["team"].shape == found["score"].shape == (2, 2)


def test_the_same_request_of_a_user_is_the_same_slate() -> None:
    orders = [[1, 2, 3, 4, 5]] * 3, [[9, 8, 7, 6, 10]] * 3
    once, again = draft(*orders, 5), draft(*orders, 5)
    assert all((once[name] == again[name]).all() for name in once)
    assert len({tuple(draft(*orders, 5, f"r{number}")["team"][0]) for number in range(20)}) > 5
    # Users of one request are not tossed for together.
    teams = [tuple(map(tuple, draft(*orders, 5, f"r{number}")["team"])) for number in range(20)]
    assert any(len(set(users)) > 1 for users in teams)


def test_what_the_control_says_holds_and_both_know_the_events_of_a_slate() -> None:
    offsets = [np.array([[5], [9]]), np.array([[7], [4]])]
    pair = tuple(response([[1, 2], [3, 4]], 1.0, stream_offset=each) for each in offsets)
    found = drafted(SPEC, USERS[:2], "r", np.array([2, 2], np.int32), pair)  # type: ignore[arg-type]
    assert found["stream_offset"][:, 0].tolist() == [5, 4] and found["path"][0, 0] == b"known_user"


def test_one_version_alone_is_said_by_its_name_and_credits_nobody() -> None:
    answer = response([[1, 2], [3]], 1.0)
    found = whole(answer, "new")
    assert all(found[name] is answer[name] for name in answer)
    assert set(found["team"].ravel()) == {NOBODY} and found["variant"][:, 0].tolist() == [b"new"] * 2


def test_what_is_written_is_read(tmp_path: Path) -> None:
    SPEC.save(tmp_path)
    assert DraftSpec.load(tmp_path) == SPEC


def changed(spec: ChainSpec, **given: Any) -> ChainSpec:
    from dataclasses import replace

    return replace(spec, **given)


def test_a_request_that_either_takes_is_taken(tmp_path: Path) -> None:
    spec = ChainSpec.load(publish_golden(tmp_path / "repository", 1) / "chain")
    hour = (*spec.context_columns, Tensor("an_hour", "INT64", optional=True))
    made = drafted_spec(spec, changed(spec, context_columns=hour))
    assert {tensor.name for tensor in made.request} == {tensor.name for tensor in spec.request} | {"an_hour"}
    assert not made.explores
    for given, why in (
        ({"max_slate_size": spec.max_slate_size - 1}, "chain.max_slate_size is"),
        ({"item_id_dtype": "BYTES" if spec.item_id_dtype == "INT64" else "INT64"}, "item_id_dtype is"),
    ):
        with pytest.raises(ValueError, match=why):
            drafted_spec(spec, changed(spec, **given))
    other = tuple(Tensor(c.name, "FP64", c.length, c.optional) for c in hour)
    with pytest.raises(ValueError, match="an_hour is INT64 of one and FP64 of the other"):
        drafted_spec(changed(spec, context_columns=hour[-1:]), changed(spec, context_columns=other[-1:]))
