"""Settings mean what they say: every key of every section shows an effect when it is changed, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ensemble.every_key import models, served, sources, tables
from tests.ensemble.every_key.case import Case, differs, keys

CASES = [*tables.CASES, *models.CASES, *sources.CASES, *served.CASES]


@pytest.fixture(scope="module")
def tables_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    tables.write_tables(folder)
    return folder


def test_every_key_has_a_case() -> None:
    """The structs say which keys there are: one that is added to a section fails here until it has a case."""
    assert {case.key for case in [*CASES, *models.SLOW_CASES]} == keys()


@pytest.mark.parametrize("case", CASES, ids=[case.of or case.change for case in CASES])
def test_another_value_shows_or_is_refused(
    case: Case, tables_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tables_folder)
    assert differs(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", models.SLOW_CASES, ids=[case.change for case in models.SLOW_CASES])
def test_another_value_shows_in_the_training_of_the_ranker(case: Case, tmp_path: Path) -> None:
    assert differs(case, tmp_path)


def test_a_value_that_is_the_same_does_not_show(
    tables_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is looked at is a function of the config: otherwise anything would show."""
    monkeypatch.chdir(tables_folder)
    same = {
        *(
            "data.labels=['click', 'buy']",
            "retrieval.seed=1",
            "neighbours.max_pairs=400000000",
            "index.num_queries=1000",
        ),
        *("chain.instances=0", "evaluate.num_examples=4", "evaluate.seed=1", "ranking.candidate_pool=200"),
    }
    by_key = {case.key: case for case in CASES}
    for number, change in enumerate(sorted(same)):
        case = by_key[change.partition("=")[0]]
        (folder := tmp_path / str(number)).mkdir()
        assert not differs(Case(change, case.see, case.given, case.base), folder), change
