"""`cascade serve --log` before a server starts: what it refuses, and what the server is told."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ensemble.serving.arguments import server_arguments
from ensemble.serving.binary import TritonBinary
from ensemble.serving.request_log import prepare_log, settings_of
from runtime.log.folder import LogSettings
from scripts.cli import app
from tests.operations.repository import publish_golden
from workflows.core.errors import ServingError

NAMES = ("http", "grpc", "metrics")


def arguments(models, **options):
    return server_arguments(
        TritonBinary(Path("triton"), None, (), ""), Path("repository"), models,
        hosts=dict.fromkeys(NAMES, "127.0.0.1"), ports=dict.fromkeys(NAMES, 1),
        shm_prefix="a", admin_key="k", **options,
    )  # fmt: skip


def patterns(*given, **options):
    return [word.partition("=")[2] for word in arguments(*given, **options) if "header-forward-pattern" in word]


def test_headers_reach_the_models_only_where_they_are_wanted():
    assert patterns(["cascade"]) == []
    (only, _) = patterns(["cascade", "cascade_events"])
    assert "x-cascade" not in only
    assert patterns(["cascade"], forwards_log_headers=True) == [r"(?i)(x-cascade-.*|traceparent)"] * 2
    (both, _) = patterns(["cascade", "cascade_events"], forwards_log_headers=True)
    assert both == f"(?i)({only.removeprefix('(?i)')}|x-cascade-.*|traceparent)"


def test_settings_of_a_command_line(tmp_path):
    assert settings_of(None, 0.05, "web", "") is None
    assert settings_of(tmp_path, 0.1, " web, app,", "device") == LogSettings(tmp_path, 0.1, ("web", "app"), ("device",))
    with pytest.raises(ServingError, match="--consumers names 51, expected at most 50"):
        settings_of(tmp_path, 0.1, ",".join(map(str, range(51))), "")


def test_what_the_images_say_by_variables_is_what_the_command_takes(tmp_path, monkeypatch):
    given = LogSettings(tmp_path, 0.25, ("web", "app"), ("device",))
    for name, value in given.variables().items():
        monkeypatch.setenv(name, value)
    found = []
    monkeypatch.setattr("ensemble.serving.server.serve", lambda *_, request_log, **others: found.append(request_log))
    CliRunner().invoke(app, ["serve", str(tmp_path)])
    assert found == [given]
    CliRunner().invoke(app, ["serve", str(tmp_path), "--log-share", "1"])
    assert found[1] == replace(given, share=1.0)
    # Compose gives what is not set as nothing.
    for name in given.variables():
        monkeypatch.setenv(name, "")
    CliRunner().invoke(app, ["serve", str(tmp_path), "--log", str(tmp_path)])
    assert found[2] == LogSettings(tmp_path)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda log: (log / "salt").chmod(0o644), r"may be read by others \(mode 644\)"),
        (lambda log: ((log / "ready/a.seg").write_bytes(b""), (log / "salt").unlink()), "salt is missing"),
    ],
)
def test_a_log_whose_secret_is_none_is_refused(tmp_path, harm, sentence):
    publish_golden(tmp_path / "published", 1)
    settings = LogSettings(tmp_path / "LOG")
    prepare_log(settings, tmp_path / "published")
    harm(settings.folder)
    with pytest.raises(ServingError, match=sentence):
        prepare_log(settings, tmp_path / "published")


def test_a_column_that_no_request_has_is_refused(tmp_path):
    publish_golden(tmp_path / "published", 1)
    with pytest.raises(ServingError, match=r"column 'devise' is not to be logged .*expected one of device, hour, temp"):
        prepare_log(LogSettings(tmp_path / "LOG", dropped=("devise",)), tmp_path / "published")


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_an_export_of_a_release_without_a_log_is_refused(tmp_path, layout):
    target = tmp_path / "published"
    publish_golden(target, 2, layout)
    prepare_log(LogSettings(tmp_path / "LOG"), target)
    for folder in target.glob("*/*/lib/runtime/log"):
        shutil.rmtree(folder)
    with pytest.raises(ServingError, match="was exported by a release that logs nothing; run `cascade export` again"):
        prepare_log(LogSettings(tmp_path / "LOG"), target)
