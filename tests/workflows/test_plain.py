"""A folder under a name without wildcards."""

from __future__ import annotations

import re

import pytest

from workflows.core.plain import plain


@pytest.mark.parametrize("name", ["a", "x [1] *?'\"é#%41 {b}\\ $HOME"])
def test_a_folder_has_a_second_name_while_the_body_runs(tmp_path, name):
    (tmp_path / name).mkdir()
    with plain(tmp_path / name) as folder:
        assert re.fullmatch("[a-z0-9/]+", str(folder))
        (folder / "new" / "deep").mkdir(parents=True)
        (folder / "new" / "a.txt").write_text("b")
    assert (tmp_path / name / "new" / "a.txt").read_text() == "b"
    assert not folder.exists()


def test_only_a_folder_has_one(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(NotADirectoryError), plain(tmp_path / "a"):
        pass
