"""Bad requests: one sentence each, nobody else's answer lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.export.compile import compile_chain
from runtime.chain import Chain
from runtime.errors import BadRequest, ServerFault
from runtime.ids import NO_ITEM, UNKNOWN, IdMap
from runtime.spec import ChainSpec, encoded
from runtime.steps.features import EncodeRequest
from runtime.triton import answer_all
from tests.ensemble.synthetic import item_id, make_run, user_id

CHAIN = ChainConfig(num_candidates=30, slate_size=5, max_slate_size=20, max_list_length=50)


@pytest.fixture(scope="module")
def chains(tmp_path_factory) -> dict[bool, Chain]:
    def load(root: Path, text_ids: bool) -> Chain:
        compile_chain(*make_run(root / "run", text_ids=text_ids, chain=CHAIN), root / "chain", "serve")
        return Chain.load(root / "chain")

    return {text_ids: load(tmp_path_factory.mktemp("chain"), text_ids) for text_ids in (False, True)}


USER = np.array([[user_id(3, False)]])


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({}, "user_id is missing; the inputs are user_id, device, hour, temperature, recent_item_ids, "),
        ({"user_id": USER[:0]}, "a request holds 1 to 64 users, got 0"),
        ({"user_id": np.repeat(USER, 65, 0)}, "a request holds 1 to 64 users, got 65"),
        ({"user_id": USER.astype(float)}, "user_id must be INT64, got float64"),
        ({"user_id": np.array([["7"]], object)}, "user_id must be INT64, got object"),
        ({"user_id": np.array([[1, 2]])}, "user_id must have the shape [1, 1], got [1, 2]"),
        ({"user_id": USER, "colour": USER}, "unknown input 'colour'"),
        ({"user_id": USER, "hour": np.array([[1], [2]])}, "hour must have the shape [1, 1], got [2, 1]"),
        ({"user_id": USER, "hour": np.array([["x"]], object)}, "hour must hold INT64 numbers or None"),
        (
            {"user_id": USER, "recent_item_ids": np.array([[[1]]])},
            "recent_item_ids must have the shape [1, any number]",
        ),
        ({"user_id": USER, "slate_size": np.array([[0]])}, "slate_size must be from 1 to 20, got 0"),
        ({"user_id": USER, "slate_size": np.array([[-3]])}, "slate_size must be from 1 to 20, got -3"),
        ({"user_id": USER, "slate_size": np.array([[21]])}, "slate_size must be from 1 to 20, got 21"),
        (
            {"user_id": USER, "exclude_item_ids": np.arange(51)[None]},
            "exclude_item_ids holds at most 50 items a user, got 51",
        ),
    ],
)
def test_each_bad_request_gets_a_sentence(chains, request_, sentence):
    with pytest.raises(BadRequest) as caught:
        chains[False].recommend(request_)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("user_id", b"us\0er", "user_id holds an id with a null byte"),
        ("user_id", b"user\0", "user_id holds an id with a null byte"),
        ("recent_item_ids", b"item-00001\0", "recent_item_ids holds an id with a null byte"),
        ("exclude_item_ids", b"\0", "exclude_item_ids holds an id with a null byte"),
        ("user_id", b"\xff\xfe", "user_id holds an id that is not UTF-8 text"),
        ("recent_item_ids", "é".encode()[:1], "recent_item_ids holds an id that is not UTF-8 text"),
    ],
)
def test_string_ids_must_be_text(chains, name, value, sentence):
    request = {"user_id": np.array([[user_id(1, True)]], object), name: np.array([[value]], object)}
    with pytest.raises(BadRequest, match=sentence):
        chains[True].recommend(request)


def test_a_very_long_unknown_id_is_an_unknown_user(chains):
    answer = chains[True].recommend({"user_id": np.array([[user_id(1, True) + b"x" * 100_000]], object)})
    assert answer["path"][0, 0] == b"popularity"
    assert answer["num_items"][0, 0] == 5


def test_long_lists_of_unsigned_integers_are_cut_to_their_latest(chains):
    items = np.array([[item_id(row, False) for row in range(60)]])
    answers = [chains[False].recommend({"user_id": USER, "recent_item_ids": items.astype(kind)}) for kind in "qQ"]
    assert answers[0]["item_id"].tolist() == answers[1]["item_id"].tolist()


def test_recent_lists_over_the_limit_are_cut_to_their_latest_and_padding_is_not_counted(chains):
    for text_ids, chain in chains.items():
        padding = b"" if text_ids else -1
        user = np.array([[user_id(2, text_ids)], [user_id(4, text_ids)]], object if text_ids else np.int64)
        long = [item_id(row, text_ids) for row in range(60)]
        short = [item_id(70, text_ids), *[padding] * 59]
        cut = chain.recommend({"user_id": user, "recent_item_ids": np.array([long, short], user.dtype)})
        width = [*[padding] * 49]
        by_hand = np.array([long[-50:], [short[0], *width]], user.dtype)
        expected = chain.recommend({"user_id": user, "recent_item_ids": by_hand})
        assert cut["item_id"].tolist() == expected["item_id"].tolist()


def test_nan_and_infinite_context_count_as_not_given(chains):
    plain = chains[False].recommend({"user_id": USER})
    for value in (np.nan, np.inf, -np.inf):
        answer = chains[False].recommend({"user_id": USER, "temperature": np.array([[value]], np.float32)})
        assert answer["item_id"].tolist() == plain["item_id"].tolist()


def test_an_unforeseen_fault_costs_one_request_and_is_logged_not_shown():
    def answer(requests):
        if any("poison" in request for request in requests):
            raise RuntimeError("/secret/path exploded")
        return [dict(request) for request in requests]

    log: list[str] = []
    good = {"user_id": np.array([[1]])}
    answers = answer_all(answer, [good, {"poison": np.array([[1]])}, good], log.append)
    assert answers[0] == answers[2] == good
    assert isinstance(answers[1], ServerFault)
    assert all("/secret/path" in line for line in log)


ENDS = [-(2**63), -(2**53) - 1, -2, -1, 0, 2**31, 2**32 + 1, 2**53 + 1, 2**53 + 2, 2**63 - 1]


def test_minus_one_pads_lists_of_items_and_may_be_a_user():
    items, users = (IdMap(np.array(ENDS), padded=padded) for padded in (True, False))
    assert users.rows("user_id", np.array(ENDS)).tolist() == list(range(len(ENDS)))
    assert items.rows("x", np.array(ENDS)).tolist() == [0, 1, 2, NO_ITEM, *range(4, len(ENDS))]
    assert IdMap(np.array([3, 5]), padded=True).rows("x", np.array([-1, 4, 5])).tolist() == [NO_ITEM, UNKNOWN, 1]
    assert IdMap(np.array([3, 5]), padded=False).rows("x", np.array([-1, 4, 5])).tolist() == [UNKNOWN, UNKNOWN, 1]
    texts = IdMap(np.array([b"a", b"b"]), padded=True)
    assert texts.rows("x", np.array([b"", b"b", "a", b"ab"], object)).tolist() == [-1, 1, 0, -2]


@pytest.mark.parametrize("text_ids", [False, True])
def test_a_history_of_padding_alone_is_none(chains, text_ids):
    padding, stranger = (b"", b"nobody") if text_ids else (-1, 987_654_321)
    kind = object if text_ids else np.int64
    recent = np.array([[padding, padding], [stranger, padding], [item_id(3, text_ids), padding]], kind)
    asked = {"user_id": np.array([[stranger]] * 3, kind), "recent_item_ids": recent}
    answer = chains[text_ids].recommend(asked)
    assert answer["path"][:, 0].tolist() == [b"popularity", b"popularity", b"history"]
    alone = chains[text_ids].recommend({"user_id": asked["user_id"]})
    assert answer["item_id"][0].tolist() == alone["item_id"][0].tolist()


def test_ids_without_a_gap_are_found_whatever_the_width_of_the_integers():
    ids = IdMap(np.arange(-100, 101), padded=False)
    for dtype in (np.int8, np.int32, np.int64):
        asked = np.array([[100], [-100], [7], [-1]], dtype)
        assert ids.rows("user_id", asked)[:, 0].tolist() == [200, 0, 107, 99]
    assert ids.rows("user_id", np.array([2**63 + 5, 101], np.uint64)).tolist() == [-2, -2]


@pytest.mark.parametrize("length", [1, 3])
def test_an_unknown_user_has_nothing_in_lists(tmp_path, length):
    compile_chain(*make_run(tmp_path / "run"), tmp_path / "chain", "serve")
    spec = ChainSpec.load(tmp_path / "chain")
    np.save(tmp_path / "chain/users/age_group.npy", np.full((spec.num_users, length), 7, np.int32))
    features = [replace(t, length=length) if t.name == "age_group" else t for t in spec.user_features]
    step = EncodeRequest()
    step.open(tmp_path / "chain", replace(spec, user_features=tuple(features)))
    got = step({"user_id": np.array([[10**9], [user_id(4, False)]])})
    assert got[encoded("age_group")].tolist() == [[0] * length, [7] * length]
    assert got[encoded("user_id")][0].tolist() == [2] and got[encoded("spend")][0].tolist() == [0.0]
