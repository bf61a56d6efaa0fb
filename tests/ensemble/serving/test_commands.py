"""`cascade recommend`: text in, a table or JSON out, over the client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ensemble.serving.commands import recommend_command
from ensemble.serving.triton import TritonServer
from tests.client.peers import BYTES_ANSWER, http_peer
from workflows.core.errors import RequestError


@pytest.mark.triton
def test_the_command_prints_json_and_a_table(toy_server: TritonServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert recommend_command(toy_server.grpc_url, ["17", "-4"], as_json=True, slate_size=2) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [(slate["user_id"], slate["item_ids"]) for slate in answer] == [(17, [17000, 17001]), (-4, [-4000, -3999])]
    assert recommend_command(toy_server.http_url, ["17"], slate_size=2) == 0
    printed = capsys.readouterr().out
    assert "17001" in printed
    assert "0.5000" in printed
    with pytest.raises(RequestError, match="user_id must be integers on this server, got 'ann'"):
        recommend_command(toy_server.grpc_url, ["ann"])
    with pytest.raises(RequestError, match="takes no min_offset: it knows no live events"):
        recommend_command(toy_server.grpc_url, ["17"], min_offset=3)


@pytest.mark.triton
def test_the_command_reads_text_as_the_types_of_the_server(
    toy_server: TritonServer, string_server: TritonServer, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"recent_item_ids": ["7"], "exclude_item_ids": ["1000"], "context": {"hour": "4"}}
    recommend_command(toy_server.grpc_url, ["1"], slate_size=2, as_json=True, **options)
    assert json.loads(capsys.readouterr().out) == [
        {"user_id": 1, "item_ids": [7, 1001], "scores": [5.0, 4.5], "path": "known_user"}
    ]
    recommend_command(string_server.http_url, ["1"], slate_size=2, as_json=True, **options)
    assert json.loads(capsys.readouterr().out)[0]["item_ids"] == ["7", "1001"]
    for text, score in (("true", 2.0), ("False", 1.0), ("4.0", 5.0), ("", float(-(2**63)) + 1)):
        recommend_command(toy_server.grpc_url, ["1"], slate_size=1, as_json=True, context={"hour": text})
        assert json.loads(capsys.readouterr().out)[0]["scores"] == [score]
    with pytest.raises(RequestError, match=r"hour must be integers on this server, got '4\.5'"):
        recommend_command(toy_server.grpc_url, ["1"], context={"hour": "4.5"})
    with pytest.raises(RequestError, match="hour must be integers on this server, got 'late'"):
        recommend_command(toy_server.grpc_url, ["1"], context={"hour": "late"})


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[red]x[/red]", "[red]x[/red]"),
        ("[/x]", "[/x]"),
        ("[bold", "[bold"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("one\ntwo", r"one\ntwo"),
        ("日本 é", "日本 é"),
    ],
)
def test_the_command_prints_ids_and_paths_as_they_are(
    name: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = [{"name": "user_id", "datatype": "BYTES", "shape": [-1, 1]}]
    answer = json.loads(json.dumps(BYTES_ANSWER))
    answer["outputs"][0]["data"] = answer["outputs"][3]["data"] = [name]
    with http_peer((200, json.dumps({"inputs": inputs}).encode()), (200, json.dumps(answer).encode())) as url:
        recommend_command(url, [name])
        printed = capsys.readouterr().out
        recommend_command(url, [name], as_json=True)
        assert json.loads(capsys.readouterr().out) == [
            {"user_id": name, "item_ids": [name], "scores": [0.5], "path": name}
        ]
        with pytest.raises(RequestError) as caught:
            recommend_command(url, ["1"], context={name: "1"})
    assert printed.count(shown) == 3
    assert "\x1b" not in printed
    assert name in str(caught.value)
