"""The parts of serving that need no server: addresses, ports, repositories, logs, padding."""

from __future__ import annotations

import socket
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.serving import binary
from ensemble.serving.address import parse_url
from ensemble.serving.ports import reserve_ports
from ensemble.serving.repository import find_repository
from ensemble.serving.server_log import reason
from ensemble.serving.tensors import NO_ITEM, encode_context, encode_lists
from ensemble.serving.transport import _sentence
from tests.ensemble.serving.toy import seal
from workflows.core.errors import ArtefactError, RequestError, ServingError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("localhost:8001", "grpc://localhost:8001"),
        ("localhost:8000", "http://localhost:8000"),
        ("localhost", "grpc://localhost:8001"),
        ("http://host", "http://host:8000"),
        ("http://host:8001/", "http://host:8001"),
        ("grpc://[::1]:9000", "grpc://[::1]:9000"),
    ],
)
def test_a_url_means_one_protocol_and_port(url: str, expected: str) -> None:
    assert str(parse_url(url)) == expected


@pytest.mark.parametrize("url", ["https://host:1", "host:port", "host:99999", "host:1/v2", "", "ftp://host"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ServingError):
        parse_url(url)


def test_a_contradicting_protocol_is_refused() -> None:
    with pytest.raises(ServingError, match="contradicts"):
        parse_url("http://host:8000", "grpc")


def test_chosen_ports_differ_and_given_ones_are_kept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        given_port = free.getsockname()[1]
    ports = reserve_ports("127.0.0.1", {"http": 0, "grpc": given_port, "metrics": 0})
    assert ports["grpc"] == given_port
    assert len(set(ports.values())) == 3


@pytest.mark.parametrize(
    ("host", "wanted", "said"),
    [
        ("127.0.0.1", {"http": 70_000}, "--http-port must be between 0"),
        ("192.0.2.1", {"http": 0}, "--host 192.0.2.1 cannot be listened on"),
        ("no.such.host.invalid", {"http": 0}, "--host no.such.host.invalid cannot be listened on"),
    ],
)
def test_ports_that_cannot_be_had_are_one_sentence(host: str, wanted: dict[str, int], said: str) -> None:
    with pytest.raises(ServingError) as caught:
        reserve_ports(host, wanted)
    assert said in str(caught.value)


def test_one_number_for_two_ports_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ServingError, match=f"port {port} of 127.0.0.1 is already in use"):
        reserve_ports("127.0.0.1", {"http": port, "grpc": port})


def exported(folder: Path) -> Path:
    (folder / "cascade").mkdir(parents=True)
    (folder / "cascade" / "config.pbtxt").write_text("max_batch_size: 64\n")
    return folder


def test_a_run_a_published_folder_and_a_repository_all_lead_to_it(tmp_path: Path) -> None:
    fused = exported(tmp_path / "run" / "repo" / "fused")
    ensemble = exported(tmp_path / "run" / "repo" / "ensemble")
    seal(tmp_path / "run" / "repo")
    assert find_repository(tmp_path / "run") == fused
    assert find_repository(tmp_path / "run", "ensemble") == ensemble
    assert find_repository(tmp_path / "run" / "repo", "ensemble") == ensemble
    assert find_repository(fused) == fused


def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="is not a folder"):
        find_repository(tmp_path / "nowhere")
    with pytest.raises(ArtefactError, match="neither a run directory nor a model repository"):
        find_repository(tmp_path)
    (tmp_path / "run" / "ranking").mkdir(parents=True)
    with pytest.raises(ArtefactError, match="is a run without an export; run `cascade export"):
        find_repository(tmp_path / "run")
    exported(tmp_path / "run" / "repo" / "fused")
    with pytest.raises(ArtefactError, match="has no manifest"):
        find_repository(tmp_path / "run")
    with pytest.raises(ArtefactError, match="use --layout fused"):
        find_repository(tmp_path / "run", "ensemble")
    with pytest.raises(ArtefactError, match="--layout must be one of fused, ensemble"):
        find_repository(tmp_path / "run", "flat")


def test_of_a_published_repository_only_what_is_served_is_checked(tmp_path: Path) -> None:
    (tmp_path / "cascade").mkdir()
    (tmp_path / "cascade" / "config.pbtxt").write_text("version_policy { specific { versions: [ 2 ] } }\n")
    folders = ("cascade/1", "cascade/2", "cascade/.3.withdrawn", "cascade_v1_rank", "cascade_v2_rank")
    for folder in folders:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data").write_text("whole")
        seal(tmp_path / folder)
    for folder in ("cascade/1", "cascade/.3.withdrawn", "cascade_v1_rank"):
        (tmp_path / folder / "data").write_text("worn!")
        assert find_repository(tmp_path) == tmp_path
    for folder in ("cascade/2", "cascade_v2_rank"):
        (tmp_path / folder / "data").write_text("worn!")
        with pytest.raises(ArtefactError, match=f"{folder}/data does not match"):
            find_repository(tmp_path)
        (tmp_path / folder / "data").write_text("whole")


@pytest.mark.parametrize("part", ["", "repo", "repo/fused"])
def test_an_altered_file_is_found_from_every_path(tmp_path: Path, part: str) -> None:
    fused = exported(tmp_path / "repo" / "fused")
    seal(tmp_path / "repo")
    (fused / "cascade" / "config.pbtxt").write_text("max_batch_size: 65\n")
    with pytest.raises(ArtefactError, match="does not match its checksum"):
        find_repository(tmp_path / part)


def test_no_tritonserver_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary.shutil, "which", lambda name: None)
    monkeypatch.setattr(binary, "OFFICIAL", tmp_path / "tritonserver")
    monkeypatch.setattr(binary.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServingError, match="nvidia-pytriton is not installed"):
        binary.find_triton(tmp_path)


def test_pytriton_beside_numpy_2_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "installed_triton", lambda: None)
    monkeypatch.setattr(binary.importlib.metadata, "version", lambda name: "2.3.1")
    with pytest.raises(ServingError, match=r"built for numpy 1, and its answers are empty beside numpy 2\.3\.1: serve"):
        binary.find_triton(tmp_path)
    assert "numpy 1" in str(binary.why_not_pytriton())


def test_an_installed_tritonserver_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tritonserver"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = binary.find_triton(tmp_path)
    assert (found.executable, found.backends) == (program, None)
    base = {"PATH": "/usr/bin", "OMP_NUM_THREADS": "4"}
    environment = binary.server_environment(found, base)
    assert (environment["PATH"], environment["OMP_NUM_THREADS"], environment["OPENBLAS_NUM_THREADS"]) == (
        "/usr/bin",
        "4",
        "1",
    )


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            "I x] ok\nE x] failed to load 'cascade' version 1: Internal: ValueError: bad\n\nAt:\n  /a/b.py(3): f\n",
            "model 'cascade': ValueError: bad",
        ),
        ("error: creating server: Internal - failed to load all models\n", "failed to load all models"),
        ("tritonserver: error while loading shared libraries: libz.so.1: cannot open\n", "libz.so.1: cannot open"),
        ("", "its log is empty"),
    ],
)
def test_the_reason_is_the_most_telling_line(tmp_path: Path, log: str, said: str) -> None:
    (tmp_path / "server.log").write_text(log)
    assert said in reason(tmp_path / "server.log")
    assert "\n" not in reason(tmp_path / "server.log")


@pytest.mark.parametrize(
    "message",
    [
        "[StatusCode.INTERNAL] user_id is empty",
        "in ensemble 'cascade', Failed to process the request(s) for model 'rank_0_0', message: user_id is empty",
        "Failed to process the request(s) for model instance 'cascade_0_0', message: user_id is empty\n\nAt:\n/a.py",
    ],
)
def test_only_the_words_of_the_model_are_shown(message: str) -> None:
    assert _sentence(message) == "user_id is empty"


def test_paths_of_the_server_are_not_shown() -> None:
    assert _sentence("cannot read /srv/repo/cascade/1/items.npy now") == "cannot read (a file of the server) now"
    assert _sentence("give a/b or 1/2") == "give a/b or 1/2"


@given(st.lists(st.lists(st.integers(0, 2**62), max_size=6), min_size=1, max_size=5))
def test_padding_keeps_every_list_and_adds_only_no_item(rows: list[list[int]]) -> None:
    numbers = encode_lists("recent_item_ids", rows, "INT64").array
    texts = encode_lists("recent_item_ids", [[str(item) for item in row] for row in rows], "BYTES").array
    assert numbers.dtype == np.int64
    assert numbers.shape == texts.shape == (len(rows), max(1, max(map(len, rows))))
    for row, number, text in zip(rows, numbers.tolist(), texts.tolist(), strict=True):
        assert number == row + [NO_ITEM["INT64"]] * (len(number) - len(row))
        assert text == [str(item).encode() for item in row] + [b""] * (len(number) - len(row))


@pytest.mark.parametrize(
    ("datatype", "values", "sent"),
    [
        ("INT64", [3, True, np.bool_(False), np.int8(-2), 7.0, np.float32(2**20), Decimal("12"), 2**63 - 1],
         [3, 1, 0, -2, 7, 2**20, 12, 2**63 - 1]),
        ("INT64", [None, float("nan"), pd.NA, pd.NaT, Decimal("nan"), np.float32("nan")], [-(2**63)] * 6),
        ("FP64", [0.7, 1, True, np.True_, Decimal("0.7"), Fraction(1, 4), np.float32(0.5), -np.inf],
         [0.7, 1.0, 1.0, 1.0, 0.7, 0.25, 0.5, -np.inf]),
        ("FP32", [0.7, Decimal("0.7")], [float(np.float32(0.7))] * 2),
        ("BYTES", ["é", b"\xff", np.str_("x"), "", None, pd.NA], ["é".encode(), b"\xff", b"x", b"", b"", b""]),
    ],
)  # fmt: skip
def test_context_values_of_every_sort_are_sent(datatype: str, values: list[Any], sent: list[Any]) -> None:
    for column in (values, pd.Series(values, dtype=object)):
        tensor = encode_context("x", column, datatype)
        assert tensor.array.shape == (len(values), 1)
        assert tensor.array[:, 0].tolist() == sent


@pytest.mark.parametrize("value", [None, float("nan"), pd.NA])
def test_a_float_that_is_not_known_is_nan(value: Any) -> None:
    for datatype in ("FP32", "FP64"):
        assert np.isnan(encode_context("x", [value], datatype).array).all()


@pytest.mark.parametrize(
    ("datatype", "value", "said"),
    [
        ("INT64", 7.5, r"x must be integers on this server, got 7.5 \(float\)"),
        ("INT64", "7", r"x must be integers on this server, got '7' \(str\)"),
        ("INT64", np.inf, "x must be integers on this server, got inf"),
        ("INT64", Decimal("Infinity"), "x must be integers on this server"),
        ("INT64", Decimal("0.1"), "x must be integers on this server"),
        ("INT64", 2**63, "x must fit INT64"),
        ("INT64", [1], "x must be integers on this server"),
        ("FP64", "0.7", r"x must be numbers \(FP64\) on this server, got '0.7' \(str\)"),
        ("FP64", 1j, r"x must be numbers \(FP64\)"),
        ("FP64", np.array([1.0, 2.0]), r"x must be numbers \(FP64\)"),
        ("FP64", 10**400, "x must fit FP64"),
        ("FP32", 1e39, r"x must fit FP32 \(up to 3.40282e\+38\), got 1e\+39"),
        ("BYTES", 7, r"x must be strings on this server, got 7 \(int\)"),
        ("BYTES", True, r"x must be strings on this server, got True \(bool\)"),
        ("BYTES", "\ud800", "x must be text that UTF-8 can hold"),
    ],
)
def test_a_context_value_of_another_sort_is_one_sentence(datatype: str, value: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        encode_context("x", [value], datatype)
    assert "\n" not in str(caught.value)


def test_serving_imports_nothing_heavy() -> None:
    heavy = ("tensorflow", "pandas", "faiss", "merlin", "tritonclient", "pytriton", "onnxruntime")
    code = (
        "import sys, ensemble.serving.server, ensemble.serving.client, ensemble.serving.commands\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
