"""What a process logs of the requests that it has answered."""

from __future__ import annotations

import json

import numpy as np
import pytest

from runtime.errors import BadRequest, ServerFault
from runtime.log.folder import LogSettings, read_salt
from runtime.log.record import ERROR, FORCED, HASH, SLOW
from runtime.log.sampling import key_of, limit_of, user_bytes
from runtime.log.segments import read_segment, ready_segments
from tests.runtime.log.made import Process, Request, ask


def logged(log, requests, **settings):
    """Answer requests, one after the other, in a process of its own; its answers, and the records by id."""
    process = Process(LogSettings(log, **{"share": 1.0, **settings}))
    answers = [process.answer([request], [arrays])[0] for request, arrays in requests]
    process.close()
    assert all("a write took" in each for each in process.said)
    return answers, {each.request_id: each for path in ready_segments(log) for each in read_segment(path).records}


def test_rows_are_logged_and_no_raw_id(tmp_path):
    device = np.array([[b"phone"]], object)
    arrays = {"user_id": np.array([[1006]]), "recent_item_ids": np.array([[16, 5, -1]]), "device": device}
    (answer,), records = logged(tmp_path, [(Request("r"), arrays)])
    found = records["r"]
    assert found.array("user_row").tolist() == [3]
    assert found.array("recent").tolist() == [[3, -2, -1]]
    assert found.array("context_device").tolist() == [b"phone"]
    assert found.array("item_rows").tolist() == ((answer["item_id"] - 7) // 3).tolist()
    assert found.array("score").tobytes() == answer["score"].tobytes()
    assert found.array("user_key").tobytes() == read_salt(tmp_path).user_key(user_bytes(1006))
    packed = b"".join(path.read_bytes() for path in tmp_path.glob("*/*.seg"))
    assert b"1006" not in packed
    assert (1006).to_bytes(4, "little") not in packed


def test_a_share_is_logged_by_the_hash_of_the_id(tmp_path):
    asked = [ask(number) for number in range(200)]
    _, records = logged(tmp_path, asked, share=0.25)
    sampled = {each.request_id for each in records.values() if each.reason == HASH}
    assert sampled == {request.id for request, _ in asked if key_of(request.id) < limit_of(0.25)}
    # What is slow comes beside it.
    assert all(each.reason != HASH or each.request_id in sampled for each in records.values())


def test_what_is_refused_or_asked_for_is_logged_beside_the_sample(tmp_path):
    forced = [Request("a", {"log": True}), Request("b", {"x-cascade-log": "true"}), Request("c", {"log": False})]
    refused = (Request("d"), {"user_id": np.array([[1]]), "slate_size": np.array([[99_999]], np.int32)})
    answers, records = logged(tmp_path, [*((request, ask(0)[1]) for request in forced), refused], share=0.0)
    assert isinstance(answers[3], BadRequest)
    # What took long is logged for that.
    reasons = {name: each.reason for name, each in records.items() if each.reason != SLOW}
    assert reasons == {"a": FORCED, "b": FORCED, "d": ERROR}
    assert records["d"].error == str(answers[3])
    assert records["d"].arrays == {}


def test_what_becomes_a_part_of_another_slate_is_neither_logged_nor_counted(tmp_path):
    asked = [(Request("a", {"log": "never"}), ask(0)[1]), (Request("b"), ask(1)[1])]
    answers, records = logged(tmp_path, asked)
    assert not isinstance(answers[0], BadRequest) and set(records) == {"b"}
    [counts] = [json.loads(path.read_text()) for path in tmp_path.glob("usage/*.json")]
    assert counts["requests"] == [["unnamed", "ok", 1]]


def test_consumers_that_are_not_named_are_others(tmp_path):
    given = {"a": {"consumer": "web"}, "b": {"X-Cascade-Consumer": "app"}, "c": {"consumer": "x" * 10**6}, "d": {}}
    given["e"] = {"consumer": 'web"\n{}'}
    _, records = logged(tmp_path, [(Request(n, g), ask(0)[1]) for n, g in given.items()], consumers=("web", "app"))
    assert {n: each.consumer for n, each in records.items()} == {
        "a": "web", "b": "app", "c": "other", "d": "unnamed", "e": "other",
    }  # fmt: skip


def test_a_request_without_an_id_gets_one(tmp_path):
    _, records = logged(tmp_path, [(Request(), ask(0)[1]), (Request(), ask(1)[1])])
    assert len(records) == 2
    assert all(len(name) == 32 for name in records)


def test_a_dropped_column_is_not_logged(tmp_path):
    arrays = {**ask(0)[1], "device": np.array([[b"secret"]], object)}
    _, records = logged(tmp_path, [(Request("a"), arrays)], dropped=("device",))
    assert "context_device" not in records["a"].arrays
    assert not [path for path in tmp_path.glob("*/*.seg") if b"secret" in path.read_bytes()]


def test_requests_of_a_batch_are_logged_each_for_itself(tmp_path):
    process = Process(LogSettings(tmp_path, 1.0))
    asked = [ask(number, users) for number, users in enumerate((1, 3, 2))]
    answers = process.answer(*map(list, zip(*asked, strict=True)))
    process.close()
    (path,) = ready_segments(tmp_path)
    records = read_segment(path).records
    assert [len(each.array("user_row")) for each in records] == [1, 3, 2]
    assert [each.batch for each in records] == [6, 6, 6]
    for each, answer in zip(records, answers, strict=True):
        assert each.array("score").tobytes() == np.ascontiguousarray(answer["score"]).tobytes()


@pytest.mark.parametrize("together", [1, 2, 6])
def test_rows_that_the_chain_knows_are_those_that_are_looked_up(tmp_path, together):
    few = {"slate_size": np.array([[2], [5], [3]], np.int32)}
    nothing_left = {"exclude_item_ids": np.arange(7, 200)[None]}
    asked = [ask(0), ask(1, 3, **few), ask(2, 1, **nothing_left), (Request("refused"), {"user_id": np.zeros((1, 2))})]
    asked += [ask(4, 2), ask(5, 1, slate_size=np.array([[4]], np.int32))]
    found = []
    for name, knows_rows in (("known", True), ("looked up", False)):
        process = Process(LogSettings(tmp_path / name, 1.0), knows_rows=knows_rows)
        for start in range(0, len(asked), together):
            process.answer(*map(list, zip(*asked[start : start + together], strict=True)))
        process.close()
        assert all("a write took" in each for each in process.said)
        (path,) = ready_segments(tmp_path / name)
        found.append([each.arrays.get("item_rows") for each in read_segment(path).records])
    assert found[0] == found[1]
    assert sum(rows is not None for rows in found[0]) == 5


def test_rows_of_a_batch_that_failed_together_are_those_of_each_answer(tmp_path):
    process = Process(LogSettings(tmp_path, 1.0))
    asked = [ask(number) for number in range(3)]

    def one_by_one():
        return [process.chain.recommend_many([arrays])[0] for _, arrays in asked]

    answers = process.recorder.answer(one_by_one, *map(list, zip(*asked, strict=True)))
    process.close()
    (path,) = ready_segments(tmp_path)
    rows = [each.array("item_rows").tolist() for each in read_segment(path).records]
    ids = [answer["item_id"] for answer in answers]
    assert rows == [np.where(each < 0, -1, (each - 7) // 3).tolist() for each in ids]


def test_a_fault_of_the_log_costs_no_answer(tmp_path, monkeypatch):
    process = Process(LogSettings(tmp_path, 1.0))
    monkeypatch.setattr(process.recorder, "_arrays", lambda *_: 1 / 0)
    (answer,) = process.answer(*map(list, zip(ask(0), strict=True)))
    process.close()
    assert answer["num_items"][0, 0] > 0
    assert process.recorder._writer.counts["failed"] == 1
    assert process.said == ["a request could not be logged (ZeroDivisionError: division by zero)"]


@pytest.mark.parametrize("size", [1 << 20, 1 << 23])
def test_a_request_larger_than_what_may_wait_is_counted(tmp_path, size):
    process = Process(LogSettings(tmp_path, 1.0))
    arrays = {**ask(0)[1], "device": np.array([[b"x" * size]], object)}
    (answer,) = process.answer([Request("a")], [arrays])
    process.close()
    assert answer["num_items"][0, 0] > 0
    assert process.recorder._writer.counts["dropped_queue" if size > 4 << 20 else "written"] == 1


def test_every_request_is_counted_whether_logged_or_not(tmp_path):
    process = Process(LogSettings(tmp_path, 0.0, consumers=("web",)))
    size = process.chain.spec.slate_size
    good = {"user_id": np.array([[1], [10**9]])}
    asked = [Request("a", {"consumer": "web"}), Request("b", {"X-Cascade-Consumer": "me"}), Request("c"), Request("d")]
    more = {**good, "slate_size": np.array([[size], [1]], np.int32)}
    process.answer(asked, [good, more, good, {}])
    process.recorder.close()
    (path,) = (tmp_path / "usage").glob("*.json")
    said = json.loads(path.read_text())
    assert sorted(said["requests"]) == [
        ["other", "ok", 1],
        ["unnamed", "ok", 1],
        ["unnamed", "refused", 1],
        ["web", "ok", 1],
    ]
    assert sum(count for *_, count in said["slates"]) == 6
    assert {path for _, path, _, _ in said["slates"]} <= {"known_user", "history", "context", "popularity"}
    assert sorted(name for name, _ in said["times"]) == ["other", "unnamed", "web"]
    assert said["labels"] == {"model_version": "1", "layout": "fused", "step": "chain"}


def test_an_answer_that_failed_is_counted_as_such(tmp_path):
    process = Process(LogSettings(tmp_path, 1.0))
    fails = process.recorder.answer(lambda: [ServerFault()], [Request("a")], [{"user_id": np.array([[1]])}])
    process.recorder.close()
    (path,) = (tmp_path / "usage").glob("*.json")
    assert json.loads(path.read_text())["requests"] == [["unnamed", "failed", 1]]
    assert "could not answer" in str(fails[0])
