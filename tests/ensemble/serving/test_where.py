"""A folder of any name is served, published to and reloaded from; nothing of its name reaches a shell."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_client import CascadeClient, RequestRefused
from ensemble.export.stage import export
from ensemble.serving.reload import reload_model
from ensemble.serving.repository import find_repository
from ensemble.serving.triton import TritonServer
from ensemble.serving.workspace import PLAIN, link, make_workspace
from tests.ensemble.serving.processes import ready_urls, serving
from tests.ensemble.synthetic import make_run, user_id
from workflows.core.errors import ServingError

pytestmark = [pytest.mark.triton, pytest.mark.timeout(600)]
# All in one folder's name: each breaks a shell, a format or a glob by itself.
ODD = '-a b(1)&x\'y$HOME;"q"`touch pwned`|[z]{1,2}*?\\ü\n#$(touch pwned)'


def test_a_folder_of_any_name_is_served_and_reloaded_from(
    make_toy: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / ODD / "repository"
    shutil.copytree(make_toy(), repository)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with TritonServer(repository) as server, CascadeClient(server.grpc_url) as client:
        assert client.recommend([3], slate_size=1)[0].item_ids == [3000]
        # Python would take the first version's bytecode for the second's: same size, same second.
        without_bytecode = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository / "cascade" / "1", repository / "cascade" / "2", ignore=without_bytecode)
        model = repository / "cascade" / "2" / "model.py"
        model.write_text(model.read_text().replace("user * 1000", "user * 5000"))
        reloaded = reload_model(server.grpc_url, server.admin_key)
        assert (reloaded.version, reloaded.unloaded) == ("2", [])
        assert client.recommend([3], slate_size=1)[0].item_ids == [15000]
    assert not [path for folder in (tmp_path, repository) for path in folder.rglob("pwned")]
    assert not (Path.home() / "pwned").exists()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_an_exported_chain_answers_from_a_folder_of_any_name(tmp_path: Path, layout: str) -> None:
    run, config = make_run(tmp_path / "run", num_users=20, num_items=60)
    export(run, config)
    moved = tmp_path / "aü" / os.fsdecode(b"l\xe9")
    shutil.copytree(tmp_path / "run", moved)
    with TritonServer(find_repository(moved, layout)) as server, CascadeClient(server.grpc_url) as client:
        assert len(client.recommend([user_id(4, False)], slate_size=3)[0].item_ids) == 3
        # What fails inside a model is said, and costs no process.
        with pytest.raises(RequestRefused, match="from 1 to"):
            client.recommend([user_id(4, False)], slate_size=100_000)
        assert len(client.recommend([user_id(4, False)], slate_size=3)[0].item_ids) == 3


def test_the_command_takes_a_relative_path_that_cannot_be_written_to(
    make_toy: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "[a] b"
    shutil.copytree(make_toy(), repository)
    for folder in (repository / "cascade" / "1", repository / "cascade", repository):
        folder.chmod(0o555)
    monkeypatch.chdir(tmp_path)
    try:
        with serving(Path("[a] b")) as process:
            _, grpc_url, _ = ready_urls(process)
            with CascadeClient(grpc_url) as client:
                assert client.recommend([3], slate_size=1)[0].item_ids == [3000]
    finally:
        for folder in (repository, repository / "cascade", repository / "cascade" / "1"):
            folder.chmod(0o755)


def test_a_temporary_folder_that_a_shell_would_misread_is_not_worked_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    plain = make_workspace()
    assert plain.parent == tmp_path
    odd = tmp_path / "a b"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    other = make_workspace()
    try:
        assert PLAIN.fullmatch(str(other))
        assert other.parent != odd
    finally:
        other.rmdir()
    monkeypatch.setattr("ensemble.serving.workspace.OTHERS", ())
    with pytest.raises(ServingError, match="set TMPDIR to such a folder"):
        make_workspace()


def test_a_path_that_no_link_can_hold_is_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 250] * 17)
    assert len(os.fsencode(deep)) > 4096
    with pytest.raises(ServingError, match="cannot be served from"):
        link(tmp_path, "models", deep)
