"""The catalogue benchmark: a tiny catalogue for real, slopes in closed form, pieces that are kept."""

from __future__ import annotations

import mmap

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.catalogue import measure
from benchmarks.catalogue.growth import shape_of, slope
from benchmarks.catalogue.memory import PeakMemory
from benchmarks.catalogue.piece import Piece, build_piece
from benchmarks.catalogue.world import features_of, history_of, write_embeddings
from benchmarks.document import markdown
from tests.ensemble.serving.processes import eventually


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.5])
def test_the_slope_is_the_exponent(exponent):
    sizes = [10.0, 100.0, 5000.0]
    assert slope(sizes, [3 * size**exponent for size in sizes]) == pytest.approx(exponent, abs=1e-9)
    assert slope([10.0], [1.0]) is None
    assert slope(sizes, [0.0, 1.0, 2.0]) is None


def test_slopes_have_names():
    names = [shape_of(b) for b in (None, 0.02, 0.5, 1.0, 1.5)]
    assert names[:2] == ["not measured", "does not grow"]
    assert [name.split()[1] for name in names[2:4]] == ["slower", "with"]
    assert "faster" in names[4]


@pytest.mark.parametrize("num_items", [3, 700])
def test_the_synthetic_catalogue_is_what_it_says(num_items, tmp_path):
    embeddings = write_embeddings(tmp_path / "e.npy", num_items)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    history = history_of(num_items, 50)
    assert all(len(np.unique(rows)) == len(rows) == min(20, num_items) for rows in history)
    assert 0 <= history.min() <= history.max() < num_items
    features = features_of(num_items, 50)
    for feature in features.schema.side("item"):
        values = features.items[feature.name]
        assert values.shape == ((num_items, feature.length) if feature.length else (num_items,))
        assert feature.kind == "continuous" or values.max() < feature.cardinality


def test_a_small_catalogue_is_built_served_and_kept(tmp_path, monkeypatch):
    piece = build_piece(400, tmp_path / "chain")
    assert (piece.num_items, piece.index["kind"], piece.heavy_recall) == (400, "exact", 1.0)
    assert piece.artefact_bytes == sum(p.stat().st_size for p in (tmp_path / "chain").rglob("*") if p.is_file())
    assert 0 < piece.p50_ms <= piece.p99_ms
    assert piece.private_bytes > 0 and piece.shared_bytes > 0
    asked = []

    def run(size, folder):
        asked.append(size)
        return msgspec.json.encode(msgspec.structs.replace(piece, num_items=size, p50_ms=size / 1000))

    monkeypatch.setattr(measure, "_run", run)
    done = CliRunner().invoke(app, ["catalogue", "--out", str(tmp_path), "--sizes", "900,300"])
    assert done.exit_code == 0, done.output
    result = measure.measure_catalogue(tmp_path, [300, 900, 2700])
    assert asked == [300, 900, 2700]  # each size once
    assert (tmp_path / "benchmarks/catalogue.json").is_file()
    growth = {row[0]: row[-2] for row in result.figures[0].rows}
    assert growth["one user in the local chain at p50, ms"] == pytest.approx(1.0)
    page = markdown([result])
    assert "python -m benchmarks catalogue --out RUN --sizes 300,900,2700" in page
    assert str(tmp_path) not in page


def pages(num_bytes):
    """New ones of the system: an array may get memory that this process has had before."""
    array = np.frombuffer(mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE), np.uint8)
    array[:] = 1
    return array


def test_the_peak_is_that_of_private_memory():
    with PeakMemory() as small:
        pass
    with PeakMemory() as at_the_end:
        held = pages(50_000_000)
    with PeakMemory() as on_the_way:
        more = pages(50_000_000)
        eventually(lambda: on_the_way.peak_bytes - at_the_end.peak_bytes > 0.8 * held.nbytes)
        del more
    assert at_the_end.peak_bytes - small.peak_bytes > 0.8 * held.nbytes


def test_a_size_that_is_no_number_is_refused(tmp_path):
    done = CliRunner().invoke(app, ["catalogue", "--out", str(tmp_path), "--sizes", "10,many"])
    assert done.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_a_piece_survives_its_file():
    fields = {"num_items": 1, "item_parts": "stored", "ranking_bytes": 1, "index": {"kind": "exact"}}
    numbers = {name: 1 for name in Piece.__struct_fields__ if name not in fields}
    assert msgspec.json.decode(msgspec.json.encode(Piece(**fields, **numbers)), type=Piece).index == {"kind": "exact"}
