"""meta.json and info: what was written is read again, and anything else is one sentence with the way out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

import msgspec
import pytest

from tests.workflows.infos import data_info
from workflows.core.errors import ArtefactError
from workflows.core.record import Meta
from workflows.core.run import Run, run_stage
from workflows.tables.info import DataInfo


class Part(msgspec.Struct, frozen=True):
    share: float


class Example(Meta, frozen=True, kw_only=True):
    """An example."""

    stage: ClassVar[str] = "index"
    version: ClassVar[int] = 2

    names: tuple[str, ...]
    part: Part
    parts: tuple[Part, ...] = ()


class Renamed(Example, frozen=True, kw_only=True):
    """The same where earlier versions had two other names."""

    version: ClassVar[int] = 3
    renamed: ClassVar[Mapping[str, str]] = {"words": "names", "piece": "part"}


EXAMPLE = Example(names=("a", "b"), part=Part(0.5), parts=(Part(1.0), Part(2.0)))
REQUIRED = [field.name for field in msgspec.structs.fields(DataInfo) if field.required]
AGAIN = "run cascade build-index again with --force$"


def test_what_was_written_is_read_again_with_its_version(tmp_path):
    EXAMPLE.save(tmp_path)
    record = json.loads((tmp_path / "meta.json").read_text())
    assert record["format_version"] == 2 and record["names"] == ["a", "b"]
    assert Example.load(tmp_path) == EXAMPLE


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda record: record.pop("names"),
            r"is not what this Cascade reads \(Object missing required field `names`\)",
        ),
        (lambda record: record.update(names="a"), r"\(Expected `array`, got `str` - at `\$.names`\)"),
        (lambda record: record["part"].update(share="x"), r"\(Expected `float`, got `str` - at `\$.part.share`\)"),
        (lambda record: record.update(colour=1, size=2), r"keys that this Cascade does not know \(colour, size\)"),
        (lambda record: record["part"].update(colour=1), r"does not know \(part.colour\)"),
        (lambda record: record["parts"][1].update(colour=1), r"does not know \(parts.1.colour\)"),
        (lambda record: record.update(format_version=3), "has format version 3, this Cascade reads 2"),
        (lambda record: record.pop("format_version"), "has format version 1, this Cascade reads 2"),
    ],
)
def test_a_file_with_other_keys_is_named_with_the_command_that_writes_it(tmp_path, change, sentence):
    EXAMPLE.save(tmp_path)
    record = json.loads((tmp_path / "meta.json").read_text())
    change(record)
    (tmp_path / "meta.json").write_text(json.dumps(record))
    with pytest.raises(ArtefactError, match=rf"^{tmp_path}/meta.json .*{sentence}; {AGAIN}"):
        Example.load(tmp_path)


@pytest.mark.parametrize("version", [{}, {"format_version": 1}, {"format_version": 2}])
def test_keys_that_have_another_name_now_are_read_from_files_of_earlier_versions(tmp_path, version):
    record = {**version, "words": ["a"], "piece": {"share": 0.5}}
    (tmp_path / "meta.json").write_text(json.dumps(record))
    assert Renamed.load(tmp_path) == Renamed(names=("a",), part=Part(0.5))


@pytest.mark.parametrize(
    ("version", "sentence"),
    [(3, "missing required field `names`"), (4, "has format version 4, this Cascade reads 3"), (0, "version 0, this")],
)
def test_former_names_are_read_from_earlier_versions_alone(tmp_path, version, sentence):
    (tmp_path / "meta.json").write_text(json.dumps({"format_version": version, "words": ["a"], "part": {"share": 1}}))
    with pytest.raises(ArtefactError, match=f"{sentence}.*; {AGAIN}"):
        Renamed.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": "\xff"}'])
def test_a_file_that_is_no_object_is_named(tmp_path, content):
    (tmp_path / "meta.json").write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"meta.json cannot be read \(.*\); {AGAIN}"):
        Example.load(tmp_path)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ArtefactError, match=rf"meta.json cannot be read \(.*No such file.*\); {AGAIN}"):
        Example.load(tmp_path)


def test_info_goes_through_the_manifest(tmp_path):
    run, info = Run(tmp_path), data_info(3, 4, labels=("click",))
    run_stage(run, "data", config={}, after=(), body=lambda folder: info)
    assert DataInfo.load(run.folder("data")) == info


@pytest.mark.parametrize("key", REQUIRED)
def test_info_that_lacks_a_key_is_named_with_the_command(tmp_path, key):
    run, info = Run(tmp_path), msgspec.to_builtins(data_info(3, 4))
    del info[key]
    run_stage(run, "data", config={}, after=(), body=lambda folder: info)
    with pytest.raises(
        ArtefactError, match=f"info in .*data/manifest.json is not .*field `{key}`.*; run cascade prepare again with"
    ):
        DataInfo.load(run.folder("data"))


def test_info_of_a_release_that_did_not_know_a_key_is_read(tmp_path):
    run, info = Run(tmp_path), msgspec.to_builtins(data_info(3, 4))
    del info["valid_given"]
    run_stage(run, "data", config={}, after=(), body=lambda folder: info)
    assert not DataInfo.load(run.folder("data")).valid_given
