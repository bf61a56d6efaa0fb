"""Without the packages that read them, Delta and Iceberg tables are refused with both ways out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from workflows.core.errors import SetupError
from workflows.tables.find import find


@pytest.mark.parametrize(
    ("format", "entry", "module"),
    [
        ("Delta", "_delta_log/00000000000000000000.json", "deltalake"),
        ("Iceberg", "metadata/00000-a.metadata.json", "pyiceberg"),
    ],
)
@pytest.mark.parametrize("version", ["", "@3"])
def test_the_extra_and_the_export_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, entry: str, module: str, version: str
) -> None:
    (tmp_path / "t" / entry).parent.mkdir(parents=True)
    (tmp_path / "t" / entry).write_text("{}")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SetupError) as caught:
        find("items", f"{tmp_path}/t{version}")
    said = str(caught.value)
    assert f"items: {tmp_path}/t is a table in {format} format; reading it needs the package {module}" in said
    assert (
        f"install the extra '{format.lower()}', or write its current rows as plain Parquet files and set data.items"
        in said
    )
