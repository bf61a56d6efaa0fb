"""Where the layout `merlin` cannot be had, one sentence says so before anything heavy runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ensemble.config import Config
from ensemble.config_file import load_config
from ensemble.export.stage import export
from ensemble.merlin import needs
from ensemble.publish import publish
from ensemble.serving.repository import find_repository
from ensemble.serving.server import serve
from tests.ensemble.synthetic import make_run
from workflows.core.artefacts import Manifest, write_manifest
from workflows.core.errors import ArtefactError, CascadeError, ConfigError, ServingError
from workflows.core.run import Run

MISSING = ("tensorflow.no_such_part", "merlin.no_such_part", "no_such_package")


def asking_for_merlin(root: Path) -> tuple[Run, Config]:
    """A run without SavedModels and workflows, and a config that asks for the layout."""
    run, config = make_run(root, num_users=20, num_items=60)
    return run, with_layouts(config, "fused", "merlin")


def with_layouts(config: Config, *layouts: str) -> Config:
    """The same config with these layouts."""
    return msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, layouts=layouts))


def merlin_repository(folder: Path) -> Path:
    """What is told from the other layouts by its pickle."""
    (folder / "cascade/1/ensemble").mkdir(parents=True)
    (folder / "cascade/config.pbtxt").write_text('backend: "python"\n')
    (folder / "cascade/1/ensemble/ensemble.pkl").write_bytes(b"")
    write_manifest(folder, Manifest("repo", "0" * 64, "2024-01-01T00:00:00+00:00", {}, {}, []))
    return folder


def test_alone_it_is_refused_and_beside_another_it_is_not_what_is_published(tmp_path):
    (tmp_path / "c.toml").write_text('[data]\nsource = "shop"\ntimestamp = "timestamp"\n')
    with pytest.raises(ConfigError, match="has 'merlin' alone, which is the reference for the others; add 'fused' or"):
        load_config(tmp_path / "c.toml", ['chain.layouts=["merlin"]'])
    config = load_config(tmp_path / "c.toml", ['chain.layouts=["merlin", "ensemble", "fused"]'])
    assert config.chain.product_layouts == ("ensemble", "fused")
    with pytest.raises(ConfigError, match=r"knows the standard graph alone, but chain.graph = 'mine:chain'; drop one"):
        load_config(tmp_path / "c.toml", ['chain.layouts=["merlin", "fused"]', "chain.graph=mine:chain"])


def test_a_run_without_what_it_serves_is_refused_before_the_export(tmp_path):
    run, config = asking_for_merlin(tmp_path / "run")
    with pytest.raises(
        ArtefactError, match=r"workflows/user is missing, which the layout 'merlin' serves; run .*--force"
    ):
        export(run, config)
    assert not run.folder("repo").exists()


def test_an_export_without_its_packages_is_refused_with_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(needs, "PACKAGES", ("numpy", *MISSING))
    run, config = asking_for_merlin(tmp_path / "run")
    with pytest.raises(ServingError, match=f"needs {', '.join(MISSING)}, which this Python does not have; install"):
        export(run, config)
    assert not run.folder("repo").exists()
    assert export(run, with_layouts(config, "fused")).info["layouts"] == ["fused"]


def test_serving_without_its_packages_is_refused_and_other_layouts_are_not_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(needs, "PACKAGES", MISSING[-1:])
    with pytest.raises(ServingError, match=r"serve: the layout 'merlin' runs Merlin Systems .* needs no_such_package"):
        serve(merlin_repository(tmp_path / "merlin"), http_port=0, grpc_port=0, metrics_port=0)
    run, config = make_run(tmp_path / "run", num_users=20, num_items=60)
    export(run, config)
    assert not needs.is_merlin(run.folder("repo") / "fused") and not needs.is_merlin(run.folder("repo") / "ensemble")


def test_it_is_found_by_its_name_and_told_where_it_is_not(tmp_path):
    with pytest.raises(ArtefactError, match=r"--layout must be one of fused, ensemble, merlin, got 'stock'"):
        find_repository(tmp_path, "stock")
    found = merlin_repository(tmp_path / "repo/merlin")
    assert find_repository(tmp_path, "merlin") == found.resolve()
    with pytest.raises(ArtefactError, match="holds the layout 'merlin' only, not 'fused'; use --layout merlin"):
        find_repository(tmp_path, "fused")


def test_it_is_not_published(tmp_path):
    run, config = make_run(tmp_path / "run", num_users=20, num_items=60)
    with pytest.raises(
        CascadeError, match="'merlin' is not published: it answers one user a request and holds a pickle"
    ):
        publish(run, config, tmp_path / "target", "merlin")
    assert not (tmp_path / "target").exists()
