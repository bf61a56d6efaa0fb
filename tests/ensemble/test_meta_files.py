"""Every key of every meta.json: export refuses a run that lacks one, or has another, in one sentence."""

from __future__ import annotations

import json

import msgspec
import pytest

from ensemble.export.compile import compile_chain
from models.index.meta import IndexMeta
from models.neighbours.meta import NeighboursMeta
from models.ranking.meta import RankingMeta
from models.retrieval.meta import RetrievalMeta
from models.sources.meta import SourcesMeta
from runtime.index.settings import Settings
from tests.ensemble.synthetic import make_run
from workflows.core.errors import ArtefactError

KINDS = (RetrievalMeta, NeighboursMeta, SourcesMeta, IndexMeta, RankingMeta)
# Keys with a default are new since runs of earlier releases.
KEYS = [(kind, field.name) for kind in KINDS for field in msgspec.structs.fields(kind) if field.required]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("made") / "run", num_users=10, num_items=40)


@pytest.fixture
def altered(made):
    """Alters meta.json of a stage; it is put back after the test."""
    run, _ = made
    before = {}

    def alter(stage, change):
        path = run.folder(stage) / "meta.json"
        before[path] = path.read_bytes()
        record = json.loads(before[path])
        change(record)
        path.write_text(json.dumps(record))

    yield alter
    for path, content in before.items():
        path.write_bytes(content)


@pytest.mark.parametrize(("kind", "key"), KEYS, ids=lambda value: getattr(value, "stage", value))
def test_a_key_that_is_missing_stops_export_with_the_command_that_writes_it(tmp_path, made, altered, kind, key):
    altered(kind.stage, lambda record: record.pop(key))
    with pytest.raises(
        ArtefactError, match=rf"{kind.stage}/meta.json is not .*`{key}`.*; run cascade .* again with --force$"
    ):
        compile_chain(*made, tmp_path / "chain", "serve")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.stage)
def test_a_key_that_is_unknown_stops_export(tmp_path, made, altered, kind):
    altered(kind.stage, lambda record: record.update(colour="red"))
    with pytest.raises(ArtefactError, match=rf"{kind.stage}/meta.json has keys .* \(colour\); run cascade"):
        compile_chain(*made, tmp_path / "chain", "serve")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.stage)
def test_a_file_of_a_release_that_wrote_no_version_is_read(made, altered, kind):
    written = kind.load(made[0].folder(kind.stage))
    altered(kind.stage, lambda record: record.pop("format_version"))
    assert kind.load(made[0].folder(kind.stage)) == written


def test_the_former_name_of_the_training_examples_is_read(made, altered):
    folder = made[0].folder("ranking")
    written = RankingMeta.load(folder)
    altered("ranking", lambda record: record.update(format_version=1, training_rows=record.pop("training_examples")))
    assert RankingMeta.load(folder) == written


def test_the_server_reads_its_part_of_the_index_and_of_the_ranker(made):
    run, _ = made
    index, ranking = IndexMeta.load(run.folder("index")), RankingMeta.load(run.folder("ranking"))
    assert index.settings == Settings(
        "exact", "cpu", index.nprobe, index.ef_search, index.overfetch, index.share_eligible
    )
    spec = ranking.spec
    assert all(getattr(spec, name) == getattr(ranking, name) for name in spec.__dataclass_fields__)
