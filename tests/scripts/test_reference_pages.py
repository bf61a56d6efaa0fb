"""The reference pages say what the code says, of every command and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ensemble.config import Sections
from scripts.cli import app
from scripts.commands_page import commands_page
from scripts.configuration_page import configuration_page
from scripts.json_page import SHOWN
from scripts.reference_pages import PAGES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_page_is_what_the_code_says(path: Path) -> None:
    assert path.read_text() == PAGES[path](), "run python -m scripts.reference_pages and commit docs"


def test_every_command_has_a_section() -> None:
    names = {str(command.name) for command in app.registered_commands}
    groups = {group.typer_instance.info.name for group in app.registered_groups if group.typer_instance}
    sections = re.findall(r"^## cascade (.*)$", commands_page(), re.MULTILINE)
    assert names == {name for name in sections if " " not in name}
    assert groups == {name.split()[0] for name in sections if " " in name}


def test_every_command_with_json_has_its_keys_on_the_page() -> None:
    parts = commands_page().split("\n## cascade ")[1:]
    assert {part.partition("\n")[0] for part in parts if "- `--json`" in part} == set(SHOWN)


def test_an_option_has_its_name_type_and_default() -> None:
    page = commands_page()
    assert "- `--set` (text, repeatable): Override a key: --set shop.num_items=1000. Repeatable." in page
    assert "- `--out` (path; required): Run directory; finished stages in it are reused." in page
    assert "- `--port` (integer; default 8600): Port to listen on; 0: a free one." in page


def test_every_section_and_a_key_of_each_kind_are_there() -> None:
    page = configuration_page()
    for name in Sections.__struct_fields__:
        assert re.search(rf"^## \[{name}(\.NAME)?\]$", page, re.MULTILINE), name
    assert "- `slate_size` (integer at least 1; default `10`): S, items returned" in page
    assert '- `op` ("==" or "!=" or "<" or "<=" or ">" or ">=" or "in" or "not_in"; required)' in page
    assert "events, items and users then name a table there (schema.table) or a query" in " ".join(page.split())
    assert "## [[chain.rules]]" in page and "## [features.items.NAME]" in page
